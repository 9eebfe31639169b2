"""Where and how a training is executed: what the user left open is decided here, and nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

from clwm_data.store import Store
from clwm_train.data.mapped import choose_memory
from clwm_train.execution import pick_device
from clwm_train.settings import Execution
from clwm_train.training.compiler import decide


class DecidedExecution(Execution):
    """An execution that leaves nothing open but the threads, and is possible here."""

    compile: bool
    memory: Literal["ram", "mmap"]


def decide_execution(
    asked: Execution, store: Store, steps: int, note: Callable[[str], object] = warnings.warn
) -> DecidedExecution:
    """Device, compilation and memory as they will be; what was decided stays.

    Threads that were left open stay so: they depend on the networks, which are not built yet.

    Args:
        asked: what the user wants.
        store: to train on.
        steps: updates of the run in all, however many are left: a run that is resumed decides as it did.
        note: told if compiling would be worth it and is not possible.

    Raises:
        ClwmError: the device cannot be used, or nothing can be compiled for it.
    """
    if isinstance(asked, DecidedExecution):
        return asked
    device = pick_device(asked.device)
    return DecidedExecution(
        device=str(device),
        compile=decide(asked.compile, steps, device, note),
        memory=choose_memory(store, device, asked.memory),
        threads=asked.threads,
    )
