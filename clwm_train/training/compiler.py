"""torch.compile for the losses of an update: one graph each, forwards and backwards.

While it traces, modules whose fast way on CPU is a sequence of hand-written operations choose a formula
that the compiler can fuse (``torch.compiler.is_compiling()``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch

from clwm_data.errors import UnavailableError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: Updates from which on a compiled run is sooner at its end than another, whatever the size of its networks.
WORTHWHILE = 10_000
#: What compiles; tests choose one that only traces.
BACKEND = "inductor"
#: Of one function in a process, such as for several trainings; torch's own limit is 8.
MOST_VERSIONS = 1000


@cache
def check_compiler(device: torch.device) -> None:
    """Compile a first function; where that worked it is not done again.

    Raises:
        UnavailableError: that fails: there is no compiler for this device.
    """
    try:
        torch.compile(torch.neg)(torch.zeros(2, device=device))
    except Exception as error:  # torch raises whatever its compiler and the system's do
        remedy = "install g++ (or set CXX)" if device.type == "cpu" else "install triton"
        raise UnavailableError(
            f"nothing can be compiled here: {_reason(error)}: {remedy}, or say --no-compile"
        ) from error


def decide(
    wanted: bool | None, steps: int, device: torch.device, note: Callable[[str], object] = warnings.warn
) -> bool:
    """Whether the update of a run is compiled.

    Args:
        wanted: yes or no; ``None``: where it is worth it and possible.
        steps: updates of the run in all, however many are left: a run that is resumed decides as it did.
        device: to train on.
        note: told if it would be worth it and is not possible.

    Raises:
        UnavailableError: it is wanted and not possible.
    """
    if wanted is None and steps >= WORTHWHILE:
        try:
            check_compiler(device)
        except UnavailableError as error:
            note(f"training goes slower than it could: {error}")
            return False
        return True
    if wanted:
        check_compiler(device)
    return bool(wanted)


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function as one graph, compiled at its first call for the sizes that it is called with. torch keeps
    on disk what it compiled.

    A call raises UnavailableError where the compiler fails.
    """
    import torch._dynamo  # takes a second

    graph = torch.compile(function, backend=BACKEND, dynamic=False, fullgraph=True)

    @wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        with torch._dynamo.config.patch(
            recompile_limit=MOST_VERSIONS, accumulated_recompile_limit=MOST_VERSIONS
        ):
            try:
                return graph(*arguments, **options)
            except torch._dynamo.exc.TorchDynamoException as error:
                inner = getattr(error, "inner_exception", error)
                raise UnavailableError(
                    f"the update cannot be compiled: {_reason(inner)}: say --no-compile"
                ) from error

    return call


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
