"""Checkpoints: folders that are either whole or absent.

::

    checkpoints/step-000004000/
      agent.safetensors      what evaluation needs: networks and scaling
      learner.safetensors    the rest: state of objectives and optimisers, sums of the running log interval
      checkpoint.yaml        updates done, seeds

Every tensor leads with the axis of seeds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_data.store.atomic import move_folder
from clwm_data.strict import StrictModel, build_model, read_yaml
from clwm_train.runs.run import write_model

AGENT, LEARNER, INDEX = "agent.safetensors", "learner.safetensors", "checkpoint.yaml"

MEND = "delete the checkpoint's folder, and the one before it is used"

State = dict[str, Tensor]


class CheckpointRecord(StrictModel):
    """What ``checkpoint.yaml`` says.

    Attributes:
        step: updates done.
        seeds: of the tensors' leading axis, in order.
    """

    step: int = Field(ge=0)
    seeds: list[int]


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def latest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint.

    Raises:
        ClwmError: there is none yet.
    """
    found = list_checkpoints(folder)
    if not found:
        raise ClwmError(f"{folder}: holds no checkpoint yet: train the run first")
    return found[-1]


def choose_checkpoint(folder: Path, asked: Path | None) -> Path:
    """One of a run's checkpoints: the newest, or the one that is asked for by its path or its name.

    Args:
        folder: of the run's checkpoints.
        asked: ``step-000004000``, or the path of a checkpoint in ``folder``.

    Raises:
        NotFoundError: there is none yet, or no such one.
        InvalidInputError: it belongs to another run.
    """
    if asked is None:
        return latest_checkpoint(folder)
    for path in (folder / asked, asked):
        if (path / INDEX).is_file():
            if path.resolve().parent != folder.resolve():
                raise InvalidInputError(f"{asked}: is no checkpoint of {folder.parent}: name one of its own")
            return path
    known = ", ".join(path.name for path in list_checkpoints(folder)) or "none"
    raise NotFoundError(f"{asked}: no such checkpoint of {folder.parent}; it has {known}")


def save_checkpoint(
    folder: Path,
    record: CheckpointRecord,
    agent: Mapping[str, Tensor],
    learner: Mapping[str, Tensor],
    keep: int,
) -> Path:
    """Write a checkpoint, then remove the oldest beyond ``keep``.

    Returns:
        the checkpoint's folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.partial"):
        shutil.rmtree(leftover)
    target = folder / f"step-{record.step:09d}"
    temporary = folder / f"{target.name}.partial"
    temporary.mkdir()
    save_file({name: value.detach().contiguous() for name, value in agent.items()}, temporary / AGENT)
    save_file({name: value.detach().contiguous() for name, value in learner.items()}, temporary / LEARNER)
    write_model(temporary / INDEX, record)
    if target.exists():
        shutil.rmtree(target)
    move_folder(temporary, target)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def read_record(checkpoint: Path) -> CheckpointRecord:
    """What a checkpoint says of itself.

    Raises:
        ClwmError: its index is missing or damaged.
    """
    return build_model(CheckpointRecord, read_yaml(checkpoint / INDEX))


def read_tensors(path: Path, device: torch.device | str = "cpu") -> State:
    """The tensors of one file of a checkpoint.

    Raises:
        ClwmError: it cannot be read.
    """
    try:
        return load_file(path, device=str(device))
    except (OSError, SafetensorError) as error:
        raise ClwmError(f"{path}: cannot be read: {error}: {MEND}") from error


def check_shapes(path: Path, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the names and shapes of a file's tensors, without reading the tensors.

    Raises:
        ClwmError: it cannot be read, or holds others than expected.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ClwmError(f"{path}: cannot be read: {error}: {MEND}") from error
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            what = f"{name} has shape {found.get(name)}, expected {expected.get(name)}"
            raise ClwmError(f"{path}: does not fit config.yaml: {what}: put back the config.yaml of that run")


def load_module(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Fill a module from a checkpoint's tensors.

    Raises:
        ClwmError: the tensors do not fit the configuration.
    """
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise ClwmError(
            f"{source}: does not fit config.yaml: {first}: put back the config.yaml of that run"
        ) from error
