"""torch.compile for updates: whether it pays off and is possible, and functions as one graph each.

During tracing, modules that are hand-written sequences of operations on CPU switch to a formula that the
compiler can fuse (``torch.compiler.is_compiling()``).
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
import sysconfig
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

import torch
from filelock import FileLock, Timeout

from clwm_data.bounded import open_file
from clwm_data.errors import UnavailableError
from clwm_data.file_state import file_state
from clwm_data.store.digest import json_sha256

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: Number of updates from which runs are compiled. From about there on even the first run of a configuration
#: gains at `tiny`, the size that gains least (docs/benchmarks.md); shorter first runs would take longer.
WORTHWHILE = 10_000
#: A backend of torch.compile: a name, such as eager, which only traces, or a function.
Backend = str | Callable[..., Any]
BACKEND: Backend = "inductor"
#: Lets torch keep graphs with gradients that are written by hand, too, and not only their kernels. Their code
#: is a part of the graph, and so of the cache's key (tests/train/training/test_compiler.py).
CACHE_OWN_GRADIENTS = {"autograd_cache_allow_custom_autograd_functions": True}
#: Of an ELF file's header: magic and class; where the section headers are, the size of one, their number.
ELF_HEADER = struct.Struct("<5s35xQ10xHH2x")
ELF_64 = b"\x7fELF\x02"


def known(config: object, settings: Mapping[str, object]) -> dict[str, object]:
    """Those of the settings that the installed torch has."""
    return {name: value for name, value in settings.items() if hasattr(config, name)}


@cache
def check_compiler(device: torch.device) -> None:
    """Compile a trivial function; once that has worked with a compiler, it is not repeated.

    Raises:
        UnavailableError: it fails: there is no compiler for this device.
    """
    marker = kept_folder() / f"compiler-{_compiler_sha256()}" if device.type == "cpu" else None
    if marker is not None and marker.exists():
        return
    try:
        with_sound_cache(torch.compile(torch.neg))(torch.zeros(2, device=device))
    except Exception as error:  # torch passes on any error of its compiler and the system's
        reason = one_line(error)
        raise UnavailableError(
            f"nothing can be compiled here: {reason}: {_remedy(reason)}say --no-compile"
        ) from error
    if marker is not None:
        with suppress(OSError):  # then it is checked again
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()


def _remedy(reason: str) -> str:
    if "InvalidCxxCompiler" in reason or "No working C++ compiler" in reason:
        return "install g++ (or set CXX), or "
    if "Python.h" in reason:
        return "install the headers of this Python (on Debian and Ubuntu python3-dev), or "
    if "working triton installation" in reason or "No module named 'triton" in reason:
        return "install triton, or "
    return ""


def _compiler_sha256() -> str:
    """Digest of what decides which C++ compiler torch calls, and whether it finds what it needs."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    path = shutil.which(name)
    headers = Path(sysconfig.get_path("include"))
    compiler = [name, path, path and file_state(Path(path).resolve())]
    return json_sha256([torch.__version__, *compiler, str(headers), (headers / "Python.h").is_file()])


def decide(
    requested: bool | None,
    steps: int,
    device: torch.device,
    note: Callable[[str], object] = warnings.warn,
    begun: bool | None = None,
    worthwhile: int = WORTHWHILE,
) -> bool:
    """Whether the update of a run is compiled. What has been compiled before has no say, so that the same
    command gives the same result.

    Args:
        requested: yes or no; ``None``: as the run was begun, or else if it pays off and is possible.
        steps: total number of updates of the run.
        device: device to train on.
        note: called with a message if it would pay off but is not possible, and if a run goes on otherwise
            than it was begun.
        begun: whether it was compiled when the run was begun; ``None``: a new run.
        worthwhile: number of updates from which it pays off.

    Raises:
        UnavailableError: it is requested, or the run was begun with it, but it is not possible.
    """
    if begun is not None and requested is not None and requested != begun:
        states = "not compiled", "compiled"
        note(
            f"the run was begun {states[begun]} and goes on {states[requested]}: its sums round differently "
            "from here on"
        )
    if requested is None:
        requested = begun
    if requested is None and steps >= worthwhile:
        try:
            check_compiler(device)
        except UnavailableError as error:
            note(f"training goes slower than it could: {error}")
            return False
        return True
    if requested:
        check_compiler(device)
    return bool(requested)


def compiled(
    function: Callable[Arguments, Result], backend: Backend = BACKEND
) -> Callable[Arguments, Result]:
    """The function as one graph, compiled at its first call for the sizes that it is called with. torch keeps
    on disk what it compiled.

    A call raises UnavailableError where the compiler fails.
    """
    import torch._dynamo  # takes a second
    import torch._functorch.config

    own = with_own_code(function)
    graph = with_sound_cache(torch.compile(own, backend=backend, dynamic=False, fullgraph=True))

    @wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        with torch._functorch.config.patch(known(torch._functorch.config, CACHE_OWN_GRADIENTS)):
            try:
                return graph(*arguments, **options)
            except torch._dynamo.exc.TorchDynamoException as error:
                reason = one_line(error)
                raise UnavailableError(
                    f"the update cannot be compiled: {reason}: {_remedy(reason)}say --no-compile"
                ) from error

    return call


def with_own_code(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, or method, with a copy of its code.

    torch.compile keeps its graphs with the code, which the methods of several modules share, and tells them
    apart by guards. Those of torch 2.6 do not see that a list of layers is empty, and run another's graph.
    """
    plain = getattr(function, "__func__", function)
    if not isinstance(plain, FunctionType):
        return function
    copy = FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
    )
    copy.__kwdefaults__ = plain.__kwdefaults__
    return MethodType(copy, function.__self__) if isinstance(function, MethodType) else copy


@cache
def remove_unfinished_libraries() -> None:
    """Remove libraries from torch's cache that are empty or cut short, which a killed compilation left.

    Where torch only tries what the processor can do, it takes them for an answer and compiles for
    another processor from then on. Those that another process is writing stay: it holds torch's lock on them.
    """
    from torch._inductor.codecache import get_lock_dir

    for path in cache_folder().rglob("*.so"):
        with suppress(OSError, Timeout):
            if is_cut_short(path):
                key = path.name.partition(".")[0]
                with FileLock(Path(get_lock_dir()) / f"{key}.lock", timeout=0):
                    if is_cut_short(path):
                        path.unlink()


def is_cut_short(library: Path) -> bool:
    """Whether a shared library is empty, or is an ELF file without its end: linkers put the section headers
    there, and the file's own header says where (System V ABI, "ELF Header", 64 bit).
    """
    size = library.stat().st_size
    with open_file(library) as stream:
        header = stream.read(ELF_HEADER.size)
    if len(header) < ELF_HEADER.size:
        return True
    magic, sections, section_size, count = ELF_HEADER.unpack(header)
    return bool(magic == ELF_64 and size < sections + section_size * count)


def with_sound_cache(graph: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A compiled function whose call removes libraries that a killed compilation left unfinished in torch's
    cache, and compiles them anew.
    """

    @wraps(graph)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        remove_unfinished_libraries()
        removed: set[Path] = set()
        while True:
            try:
                return graph(*arguments, **options)
            except Exception as error:
                unfinished = _unfinished_library(error)
                if unfinished is None or unfinished in removed:
                    raise
                unfinished.unlink(missing_ok=True)
                removed.add(unfinished)
                torch._dynamo.reset()

    return call


def _unfinished_library(error: BaseException | None) -> Path | None:
    """The library in torch's cache that could not be loaded, if that is why something failed."""
    while error is not None:
        for match in re.finditer(
            r"(/\S+\.so): (?:file too short|invalid ELF header|cannot read)", str(error)
        ):
            path = Path(match[1])
            if path.is_relative_to(cache_folder()):
                return path
        error = getattr(error, "inner_exception", None) or error.__cause__
    return None


def cache_folder() -> Path:
    """Where torch keeps what it compiled."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir  # takes long

    return Path(cache_dir())


def kept_folder() -> Path:
    """Where clwm keeps what belongs to it: it is deleted together with it."""
    return cache_folder() / "clwm"


def one_line(error: BaseException) -> str:
    """What the compiler says is wrong, in one line; torch puts lines of its own before it."""
    first: BaseException | None = error
    last = error
    while first is not None:
        last = first
        for line in str(first).splitlines():
            if re.search(r"\berror: ", line):
                return line.strip()[:300]
        first = getattr(first, "inner_exception", None) or first.__cause__
    lines = [line.strip() for line in str(last).splitlines() if line.strip()]
    return f"{type(last).__name__}: {lines[0][:300]}" if lines else type(last).__name__
