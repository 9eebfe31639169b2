"""Elementwise kernels that torch.compile turns into single loops, where a block asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from clwm_data.errors import ClwmError

#: Lets torch's compiler make one loop of a kernel, where it would write intermediate results to memory.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {
    "realize_reads_threshold": 64,
    "realize_opcount_threshold": 512,
}
#: Of a kernel; torch's limit is 8.
MOST_VERSIONS = 64

_asked = False


@cache
def check_compiler(device: torch.device) -> None:
    """Compile a first kernel; where that worked it is not done again.

    Raises:
        ClwmError: that fails: there is no compiler for this device.
    """
    try:
        Kernel(torch.neg)(torch.zeros(2, device=device))
    except Exception as error:  # torch raises whatever its compiler and the system's do
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        mend = "install g++ (or set CXX)" if device.type == "cpu" else "install triton"
        raise ClwmError(
            f"kernels cannot be compiled here: {reason}: {mend}, or do without --compile"
        ) from error


def is_fusing() -> bool:
    """Whether kernels are compiled here."""
    return _asked


@contextmanager
def fused_kernels(asked: bool = True) -> Iterator[None]:
    """Run the kernels of this block compiled. Each is compiled at its first call (on CPU that takes a C++
    compiler and some seconds; torch keeps what it compiled on disk).
    """
    global _asked
    before, _asked = _asked, asked
    try:
        with _many_versions() if asked else nullcontext():
            yield
    finally:
        _asked = before


def _many_versions() -> AbstractContextManager[None]:
    """Beyond torch's own limit the rest would run uncompiled, many times slower, with a warning at most."""
    import torch._dynamo  # takes a second

    limits: AbstractContextManager[None] = torch._dynamo.config.patch(recompile_limit=MOST_VERSIONS)
    return limits


class Kernel:
    """A function of tensors without gradient that is compiled when it is first called, for any sizes; axes of
    size 1, types and devices have versions of their own.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """The compiled function's result."""
        if self._compiled is None:
            self._compiled = torch.compile(self.function, dynamic=True, options=OPTIONS)
        # Of a parameter it would compile a version for each shape.
        return self._compiled(*(part.detach() if isinstance(part, Tensor) else part for part in arguments))
