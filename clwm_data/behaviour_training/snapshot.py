"""The learner's state on disk: only tensors and arrays, nothing that needs unpickling."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from sb3_contrib import CrossQ

from clwm_data.errors import DamagedDataError
from clwm_data.store.atomic import replacing

#: Arrays of the replay buffer [size, environments, ...]; the last one only where it relabels.
_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "rewards_across")


def save_snapshot(path: Path, learner: CrossQ, minutes: float) -> None:
    """Write networks, optimisers, counters and the replay buffer; the file is replaced atomically."""
    buffer: Any = learner.replay_buffer
    filled = buffer.buffer_size if buffer.full else buffer.pos
    state = {
        "parameters": learner.get_parameters(),
        "log_entropy_weight": learner.log_ent_coef,
        "environment_steps": learner.num_timesteps,
        "updates": learner._n_updates,
        "minutes": minutes,
        "buffer": {
            name: torch.from_numpy(getattr(buffer, name)[:filled])
            for name in _ARRAYS
            if hasattr(buffer, name)
        },
        "buffer_position": buffer.pos,
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_snapshot(path: Path, learner: CrossQ) -> float:
    """Restore what :func:`save_snapshot` wrote.

    Returns:
        the ``minutes`` that were saved.

    Raises:
        ClwmError: the file is damaged.
    """
    try:
        state = torch.load(path, weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise DamagedDataError(
            f"{path}: is damaged: restore it, or remove it, and --resume starts again from the first step"
        ) from error
    learner.set_parameters(state["parameters"])
    weight: Any = learner.log_ent_coef
    with torch.no_grad():
        weight.copy_(state["log_entropy_weight"])
    learner.num_timesteps = state["environment_steps"]
    learner._n_updates = state["updates"]
    buffer: Any = learner.replay_buffer
    for name, tensor in state["buffer"].items():
        getattr(buffer, name)[: len(tensor)] = tensor.numpy()
    buffer.pos = state["buffer_position"]
    buffer.full = len(state["buffer"]["rewards"]) == buffer.buffer_size
    return float(state["minutes"])
