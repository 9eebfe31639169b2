"""A summary of the bundled methods."""

from __future__ import annotations

from dataclasses import dataclass

from clwm_train.config import TrainConfig, WorldModelConfig
from clwm_train.methods.method_file import names, read_method
from clwm_train.methods.resolve import resolve
from clwm_train.objectives import LABELS


@dataclass(frozen=True)
class MethodSummary:
    """One line of the table of methods.

    Attributes:
        name: name on the command line.
        trained_by: objectives that train the context encoder.
        backbone: what trains policy and critics.
        world_model: latent space and consistency loss, or ``none``.
        network: style of the MLPs.
        reference: the paper.
    """

    name: str
    trained_by: str
    backbone: str
    world_model: str
    network: str
    reference: str


def list_methods() -> list[MethodSummary]:
    """All bundled methods, in the order of their names, at their published constants."""
    return [_summary(name, resolve(name, "paper")) for name in names("methods")]


def _summary(name: str, config: TrainConfig) -> MethodSummary:
    return MethodSummary(
        name=name,
        trained_by=_objectives(config),
        backbone=config.backbone,
        world_model="none" if config.world_model is None else _world_model(config.world_model),
        network=config.network.style,
        reference=read_method(name).reference or "-",
    )


def _world_model(config: WorldModelConfig) -> str:
    return f"{config.latent}, {config.consistency}"


def _objectives(config: TrainConfig) -> str:
    match config.context.source:
        case "encoder":
            named = (label for name, label in LABELS.items() if getattr(config.objectives, name) is not None)
            return " + ".join(named)
        case "none":
            return "none: z = 0"
        case "parameters":
            return "none: z = the task's parameters"
