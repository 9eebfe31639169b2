"""Agents from the checkpoints of runs."""

from __future__ import annotations

from pathlib import Path

import torch

from clwm_data.errors import InvalidInputError
from clwm_data.families import is_family
from clwm_train.acting.adaptive import AdaptiveAgent
from clwm_train.execution import pick_device
from clwm_train.runs.checkpoint import (
    AGENT,
    check_shapes,
    choose_checkpoint,
    load_module,
    read_record,
    read_tensors,
)
from clwm_train.runs.finding import run_at
from clwm_train.runs.run import Run


def load_agent(
    run: Run | str | Path, *, checkpoint: str | Path | int | None = None, device: torch.device | str = "cpu"
) -> AdaptiveAgent:
    """The agent of a run's checkpoint.

    Args:
        run: the run, the path of its folder, or ``user/repo[@revision]`` on the Hub.
        checkpoint: see :func:`~clwm_train.runs.checkpoint.choose_checkpoint`; the latest by default.
        device: device of the agent; ``auto``: a GPU if there is one.

    Raises:
        NotFoundError: there is no such run or checkpoint.
        DamagedDataError: the checkpoint is damaged.
        InvalidInputError: the checkpoint does not fit the run's configuration, or is another run's.
        UnavailableError: the device cannot be used here.
    """
    run, device = run_at(run), pick_device(device)
    folder = choose_checkpoint(run.checkpoints, checkpoint)
    record = run.record
    read_record(folder, run)
    state = read_tensors(folder / AGENT)
    told = run.told_parameters()
    sizes = (run.config, record.seeds, record.observation_size, record.action_size, told)
    # A configuration may come from anywhere: the agent is built only if the tensors in the file fit it.
    try:
        with torch.device("meta"):
            described = AdaptiveAgent(*sizes).state_dict()
        shapes = {name: tuple(tensor.shape) for name, tensor in described.items()}
    except (RuntimeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"{run.path}: config.yaml describes no agent that can be built: {reason}"
        ) from error
    check_shapes(folder / AGENT, state, shapes)
    agent = AdaptiveAgent(*sizes)
    load_module(agent, state, folder / AGENT)
    agent.discrete = _discrete(run)
    return agent.to(device).eval()


def _discrete(run: Run) -> bool:
    """Whether actions are discrete, as far as the run or the family tells."""
    record = run.record
    if record.described_family is not None:
        return record.described_family.discrete
    return (record.declared_family is not None or is_family(record.family)) and run.task_family.discrete
