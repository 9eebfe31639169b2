"""torch.compile for the losses of an update: one graph each, forwards and backwards.

While it traces, modules whose fast way on CPU is a sequence of hand-written operations choose a formula
that the compiler can fuse (``torch.compiler.is_compiling()``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch

from clwm_data.errors import ClwmError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: What compiles; tests choose one that only traces.
BACKEND = "inductor"
#: Of one function in a process, such as for several trainings; torch's own limit is 8.
MOST_VERSIONS = 1000


@cache
def check_compiler(device: torch.device) -> None:
    """Compile a first function; where that worked it is not done again.

    Raises:
        ClwmError: that fails: there is no compiler for this device.
    """
    try:
        torch.compile(torch.neg)(torch.zeros(2, device=device))
    except Exception as error:  # torch raises whatever its compiler and the system's do
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        mend = "install g++ (or set CXX)" if device.type == "cpu" else "install triton"
        raise ClwmError(f"nothing can be compiled here: {reason}: {mend}, or do without --compile") from error


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function as one graph, compiled at its first call for the sizes that it is called with. torch keeps
    on disk what it compiled.
    """
    import torch._dynamo  # takes a second

    graph = torch.compile(function, backend=BACKEND, dynamic=False, fullgraph=True)

    @wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        with torch._dynamo.config.patch(
            recompile_limit=MOST_VERSIONS, accumulated_recompile_limit=MOST_VERSIONS
        ):
            return graph(*arguments, **options)

    return call
