"""Where and how a training is executed: everything that the user left open is decided only here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

from clwm_data.compiler import decide
from clwm_data.store import Store
from clwm_train.data.mapped import choose_memory
from clwm_train.execution import pick_device
from clwm_train.settings import Execution


class DecidedExecution(Execution):
    """An execution that is possible here and leaves only the threads open."""

    compile: bool
    memory: Literal["ram", "mmap"]


def decide_execution(
    requested: Execution,
    store: Store,
    steps: int,
    note: Callable[[str], object] = warnings.warn,
    begun: bool | None = None,
) -> DecidedExecution:
    """Decide device, compilation and memory; an execution that is already decided is returned as it is.

    Threads stay open if they were: they depend on the networks, which do not exist yet.

    Args:
        requested: the execution that the user requests.
        store: the store to train on.
        steps: total number of updates of the run.
        note: called with messages about the decision to compile.
        begun: whether the run was compiled when it was begun; ``None``: a new run.

    Raises:
        ClwmError: the device cannot be used, or nothing can be compiled for it.
    """
    if isinstance(requested, DecidedExecution):
        return requested
    device = pick_device(requested.device)
    return DecidedExecution(
        device=str(device),
        compile=decide(requested.compile, steps, device, note, begun),
        memory=choose_memory(store, device, requested.memory),
        threads=requested.threads,
    )
