"""How many CPU threads to use: small networks are faster on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clwm_train.config import BatchConfig
from clwm_train.model.agent import Agent
from clwm_train.model.nn import Linear

#: Multiply-adds of the largest layer in one update; below, waiting for threads costs more than they bring.
WORTH_THREADS = 100_000_000


def is_large(agent: Agent, batch: BatchConfig) -> bool:
    """Whether an update is large enough for several threads to pay off."""
    layers = [module for module in agent.modules() if isinstance(module, Linear)]
    rows = batch.tasks * batch.windows * batch.horizon
    return rows * max(layer.weight.numel() for layer in layers) >= WORTH_THREADS


def best_threads(agent: Agent, batch: BatchConfig) -> int:
    """Threads for training an agent: one, or all that torch would use."""
    return torch.get_num_threads() if is_large(agent, batch) else 1


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Limit torch to ``count`` threads in this block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
