"""Compiled graphs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from torch.nn import functional

from clwm_data import compiler
from clwm_data.errors import ClwmError, UnavailableError
from clwm_train.kernels import gumbel_graph
from clwm_train.kernels.norm_mish import EPSILON, norm_mish_graph
from clwm_train.model.fsq import FSQ
from clwm_train.training.graph_function import GraphFunction
from tests.conftest import ROOT
from tests.train.helpers import COMPILER, TRUSTED_PROCESSOR, distinct_methods, small_config
from tests.train.training.test_learner import make


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("members", "rows", "size"), [(1, 7, 5), (3, 640, 32), (2, 9, 256)])
def test_norm_mish_for_graphs_is_torchs(dtype: torch.dtype, members: int, rows: int, size: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=generator)

    x = random(members, rows, size).to(dtype)
    # A gain of 30 takes some entries beyond 20, where Mish is the identity, and some below -20.
    inputs = [x, random(members, 1, size), random(members, 1, size, scale=30.0), random(members, 1, size)]
    inputs = [torch.nn.Parameter(part) for part in inputs]
    ours = norm_mish_graph(*inputs)
    upstream = random(*ours.shape).to(dtype)
    found = torch.autograd.grad(ours, inputs, upstream)
    exact = [part.detach().double().requires_grad_() for part in inputs]
    normal = functional.layer_norm(exact[0] + exact[1], (size,), eps=EPSILON)
    theirs = functional.mish(normal * exact[2] + exact[3])
    expected = torch.autograd.grad(theirs, exact, upstream.double())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert ours.dtype == found[0].dtype == dtype
    for mine, its in zip((ours, *found), (theirs, *expected), strict=True):
        scale = float(its.detach().abs().max())
        torch.testing.assert_close(mine.double(), its, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("levels", [[5, 3], [2, 4], [3, 3, 3]])
def test_quantisation_for_graphs_is_the_quantisation(levels: list[int]) -> None:
    fsq = FSQ(levels)
    x = 2.0 * torch.randn(4, 50, len(levels), generator=torch.Generator().manual_seed(0))
    x[0, :5] = 0.0
    found = []
    for forward, index in (
        (fsq, fsq.index),
        tuple(torch.compile(part, backend="aot_eager") for part in (fsq, fsq.index)),
    ):
        leaf = x.clone().requires_grad_()
        code = forward(leaf)
        gradient = torch.autograd.grad(code.square().sum(), leaf)[0]
        found.append((code.detach(), gradient, index(x).long()))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("method", distinct_methods())
def test_a_compiled_run_is_the_other_one(method: str) -> None:
    found = []
    for compiles in (False, True):
        learner, sampler, streams = make(small_config(method), [3, 4], compiles=compiles, backend="eager")
        found.append([learner.update(sampler.batch(step), step, streams) for step in range(4)])
    for function in (learner._representation, learner._features, learner._backbone):
        assert isinstance(function, GraphFunction)
        assert all(graph is not None for graph in function._graphs.values())
    for plain, graph in zip(*found, strict=True):
        assert plain.keys() == graph.keys()
        for name, value in plain.items():
            torch.testing.assert_close(graph[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_graph_is_compiled_once() -> None:
    learner, sampler, streams = make(small_config(), [3], compiles=True, backend="eager")
    for step in range(2):
        learner.update(sampler.batch(step), step, streams, pace=1.0)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(2, 6):
            learner.update(sampler.batch(step), step, streams, pace=1.0 / step)


def test_modules_of_a_class_share_no_graph() -> None:
    """The guards of torch 2.6 take one with layers for one without."""
    compiled: list[object] = []

    def counting(graph: Any, _: Any) -> Any:
        compiled.append(graph)
        return graph

    class Stack(torch.nn.Module):
        def __init__(self, *factors: float) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(Scale(factor) for factor in factors)

        def call(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers[0](x) if self.layers else -x

    class Scale(torch.nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * x

    x = torch.ones(2)
    for module, expected in (Stack(), -1.0), (Stack(2.0), 2.0), (Stack(), -1.0), (Stack(3.0), 3.0):
        graph = compiler.compiled(module.call, counting)
        assert [float(graph(x)[0]) for _ in range(2)] == [expected, expected]
    assert len(compiled) == 4


def test_too_many_codes_to_unroll() -> None:
    assert gumbel_graph.MOST_UNROLLED_CODES < 40
    found = []
    for compiles in (False, True):
        learner, sampler, streams = make(
            small_config("spc", "tiny", "world_model.levels=[8,5]"),
            [3],
            compiles=compiles,
            backend="eager",
        )
        found.append(learner.update(sampler.batch(0), 0, streams))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("there_is_a_compiler", [True, False])
def test_who_decides_to_compile(there_is_a_compiler: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(device: torch.device) -> None:
        if not there_is_a_compiler:
            raise UnavailableError("no compiler")

    monkeypatch.setattr(compiler, "check_compiler", check)  # stands for what this machine has installed
    notes: list[str] = []

    def decided(wanted: bool | None, steps: int, begun: bool | None = None) -> bool:
        return compiler.decide(wanted, steps, torch.device("cpu"), notes.append, begun)

    assert not decided(False, 10**6)
    assert not decided(None, 9_999)
    assert not decided(None, 10**6, begun=False)
    assert not decided(False, 10**6, begun=False)
    assert notes == []
    assert decided(None, 10_000) == there_is_a_compiler
    assert len(notes) == (not there_is_a_compiler)
    notes.clear()
    assert not decided(False, 1, begun=True)
    (note,) = notes
    assert "begun compiled and goes on not compiled" in note
    if there_is_a_compiler:
        assert decided(True, 1)
        assert decided(None, 1, begun=True)
        assert len(notes) == 1
        assert decided(True, 1, begun=False)
        assert "begun not compiled and goes on compiled" in notes[1]
    else:
        for requested in (True, None):
            with pytest.raises(ClwmError, match="no compiler"):
                decided(requested, 1, begun=True)


def test_a_compiler_that_fails_is_one_line() -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("it has\na bug")

    with pytest.raises(
        ClwmError, match=r"^the update cannot be compiled: RuntimeError: it has: say --no-compile"
    ):
        compiler.compiled(torch.neg, fails)(torch.zeros(2))


#: torch tries the processor with a library for each set of instructions that it knows; two of them will do.
DOUBLE = """
import torch
from torch._inductor import cpu_vec_isa
from clwm_data.compiler import compiled
cpu_vec_isa.supported_vec_isa_list = [cpu_vec_isa.VecAVX512(), cpu_vec_isa.VecAVX2()]
assert compiled(lambda x: (x * 2 + 1).sum())(torch.ones(5)) == 15
"""


def compile_in_another_process(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DOUBLE],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
def test_a_library_is_cut_short_where_its_end_is_missing(tmp_path: Path) -> None:
    whole = next(Path(sysconfig.get_path("stdlib")).glob("lib-dynload/_ctypes.*.so"))
    assert not compiler.is_cut_short(whole)
    content = whole.read_bytes()
    for size in (0, 1, 63, 64, 4096, len(content) // 2, len(content) - 1):
        (tmp_path / "x.so").write_bytes(content[:size])
        assert compiler.is_cut_short(tmp_path / "x.so"), size
    (tmp_path / "x.so").write_bytes(b"not ELF" * 20)
    assert not compiler.is_cut_short(tmp_path / "x.so")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """What a compilation leaves in torch's cache and says when the system kills the compiler, for lack of
    memory, say: its driver dies of a signal.
    """
    folder = tmp_path_factory.mktemp("killed")
    driver = folder / "g++"
    real = os.environ.get("CXX") or shutil.which("g++")
    driver.write_text(f"""#!/bin/sh
case "$*" in *--version*) exec {real} "$@" ;; esac
kill -9 $$
""")
    driver.chmod(0o755)
    cache = folder / "cache"
    return cache, compile_in_another_process(cache, CXX=str(driver), **TRUSTED_PROCESSOR)


@COMPILER
def test_headers_of_python_that_are_missing_are_named(tmp_path: Path) -> None:
    """As on systems where Python and a compiler are installed, but not what compiles against Python."""
    driver, real = tmp_path / "g++", os.environ.get("CXX") or shutil.which("g++")
    message = "x.cpp:27:10: fatal error: Python.h: No such file or directory"
    driver.write_text(f"""#!/bin/sh
case "$*" in *--version*) exec {real} "$@" ;; esac
echo "{message}" >&2
exit 1
""")
    driver.chmod(0o755)
    done = compile_in_another_process(tmp_path / "cache", CXX=str(driver), **TRUSTED_PROCESSOR)
    assert done.returncode != 0
    mend = "install the headers of this Python (on Debian and Ubuntu python3-dev), or say --no-compile"
    assert done.stderr.splitlines()[-1].endswith(f"{message}: {mend}")


def test_another_python_or_its_headers_gone_is_checked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiler._compiler_sha256()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: "/nowhere")
    assert compiler._compiler_sha256() != here


@COMPILER
def test_a_compiler_that_is_killed_is_one_line(
    killed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = killed
    assert done.returncode != 0
    (line,) = [
        line for line in done.stderr.splitlines() if line.startswith("clwm_data.errors.UnavailableError")
    ]
    assert line.endswith("say --no-compile")
    assert "killed" in line.lower() or "SIGKILL" in line


@COMPILER
def test_libraries_that_a_killed_compilation_left_unfinished_are_compiled_anew(
    killed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Empty ones and those that are cut short, by turns, also where torch only tries the processor."""
    cache, _ = killed
    assert compile_in_another_process(cache).returncode == 0  # nothing that it left stands in the way
    sizes = {path: path.stat().st_size for path in sorted(cache.rglob("*.so"))}
    assert len(sizes) > 1
    for number, (path, size) in enumerate(sizes.items()):
        path.write_bytes(path.read_bytes()[: size // 2 * (number % 2)])
    done = compile_in_another_process(cache)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_size == size for path, size in sizes.items() if path.exists())


@COMPILER
@pytest.mark.slow
def test_a_cached_gradient_is_that_of_its_code(tmp_path: Path) -> None:
    """Not of another one with the same forward pass, which was compiled before."""
    code = """
import torch
from torch._dynamo.utils import counters
from clwm_data.compiler import compiled

def gradient(inner, factor):
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, gradient):
            return gradient * inner(*ctx.saved_tensors) * factor

    torch._dynamo.reset()  # what remains is on the disk
    x = torch.ones(5, requires_grad=True)
    compiled(lambda x: Scaled.apply(x).sum())(x).backward()
    return float(x.grad[0])

print(gradient(torch.exp2, 2.0), gradient(torch.exp2, 3.0), gradient(torch.neg, 3.0), end=" ")
hits = counters["aot_autograd"]["autograd_cache_hit"]
print(hits, gradient(torch.exp2, 2.0), counters["aot_autograd"]["autograd_cache_hit"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **TRUSTED_PROCESSOR, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4.0", "6.0", "-3.0", "0", "4.0", "1"]


def test_the_cause_is_named_where_compiling_fails() -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("C++ compile error\n\nOutput:\nx.cpp:1: fatal error: omp.h: No such file\nmore")

    message = (
        r"^the update cannot be compiled: x\.cpp:1: fatal error: omp\.h: No such file: say --no-compile$"
    )
    with pytest.raises(UnavailableError, match=message):
        compiler.compiled(torch.neg, fails)(torch.zeros(3))
