"""Agents from the checkpoints of runs."""

from __future__ import annotations

from pathlib import Path

import torch

from clwm_data.errors import ClwmError
from clwm_train.model.agent import Agent
from clwm_train.runs.checkpoint import AGENT, check_shapes, latest_checkpoint, load_module, read_tensors
from clwm_train.runs.run import Run


def load_agent(run: Run, *, checkpoint: Path | None = None, device: torch.device | str = "cpu") -> Agent:
    """The agent of a run's checkpoint, the latest unless given.

    Raises:
        ClwmError: there is no checkpoint, it is damaged, or it does not fit the run's configuration.
    """
    folder = checkpoint or latest_checkpoint(run.checkpoints)
    record = run.record
    sizes = (run.config, record.seeds, record.observation_size, record.action_size)
    # A configuration may come from anywhere: it is built only when the tensors in the file are seen to fit.
    try:
        with torch.device("meta"):
            shapes = {name: tuple(tensor.shape) for name, tensor in Agent(*sizes).state_dict().items()}
    except (RuntimeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise ClwmError(f"{run.path}: config.yaml describes no agent that can be built: {reason}") from error
    check_shapes(folder / AGENT, shapes)
    agent = Agent(*sizes)
    load_module(agent, read_tensors(folder / AGENT), folder / AGENT)
    return agent.to(device).eval()
