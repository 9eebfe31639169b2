"""Estimating the memory of a training before allocating any of it."""

from __future__ import annotations

import torch

from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_data.memory import available_memory
from clwm_data.pages.numbers import plural
from clwm_train.model.agent import Agent
from clwm_train.runs.run import Run
from clwm_train.training.learner import Learner

#: A weight has a gradient and, in Adam, two moments.
COPIES = 4


def training_bytes(run: Run) -> int:
    """Bytes of the weights of all seeds with their gradients and moments, without activations.

    Raises:
        InvalidInputError: the configuration describes no networks that can be built.
    """
    # Optimisers import it, which torch 2.6 cannot do while "meta" is the device.
    import torch._dynamo

    record = run.record
    try:
        with torch.device("meta"):
            parameters = run.told_parameters()
            agent = Agent(run.config, record.seeds, record.observation_size, record.action_size, parameters)
            learner = Learner(run.config, agent, record.train_tasks)
    except (RuntimeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(f"{run.path}: networks of these sizes cannot be built: {reason}") from error
    return COPIES * sum(parameter.numel() * parameter.element_size() for parameter in learner.parameters())


def check_fits(run: Run, device: torch.device) -> None:
    """Check that the networks of a run fit into memory.

    Raises:
        UnavailableError: they do not fit.
        InvalidInputError: as :func:`training_bytes`.
    """
    needed = training_bytes(run)
    free = available_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    if needed > free:
        raise UnavailableError(
            f"{run.path}: the networks of {plural(len(run.record.seeds), 'seed')} take "
            f"{needed / 1e9:,.1f} GB with gradients and moments, and {free / 1e9:,.1f} GB are free: train "
            "fewer seeds or smaller networks"
        )
