"""Functions that are compiled once, kept on disk, and called as graphs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clwm_data.compiler import known
from clwm_train.kernels.streams import Drawn
from clwm_train.training import graph_function, kept_graph
from clwm_train.training.graph_function import GraphFunction, keeps_graphs
from clwm_train.training.kept_graph import flatten, key, signature
from tests.conftest import ROOT
from tests.train.helpers import COMPILER, TRUSTED_PROCESSOR


class Counting(nn.Module):
    """A function with an effect on a buffer, and results of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("count", torch.zeros(()))

    def run(self, x: Tensor, y: Tensor, noise: Drawn) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        self.count.add_(1)
        z = x * self.weight + noise.uniform(2)
        return z, y, {"difference": x - y, "again": z}


def made() -> tuple[Counting, Callable[..., Any], list[int]]:
    module, traces = Counting(), [0]

    def backend(graph: Any, inputs: Any) -> Any:
        traces[0] += 1
        return graph

    return module, GraphFunction(module, module.run, {}, backend), traces


def test_a_graph_is_the_function() -> None:
    module, function, traces = made()
    for number in range(4):
        x, y, noise = torch.rand(2), torch.rand(2), torch.rand(1, 2)
        z, same, more = function(x, y, Drawn([noise]))
        torch.testing.assert_close(z, x * module.weight + noise)
        assert same is y
        assert more["again"] is z
        torch.testing.assert_close(more["difference"], x - y)
        assert module.count == number + 1
        module.weight.grad = None
        z.sum().backward()
        torch.testing.assert_close(module.weight.grad, x)
        if number == 1:
            module.load_state_dict({"weight": torch.tensor([3.0, 5.0]), "count": module.count})
        if number == 2:
            module.weight = nn.Parameter(torch.tensor([-1.0, 1.0]))
    assert traces == [1]


def test_arguments_that_are_one_tensor_make_a_graph_of_their_own() -> None:
    _, function, traces = made()
    x, y = torch.rand(2), torch.rand(2)
    for first, second in ((x, x), (x, y), (y, x), (y, y)):
        *_, more = function(first, second, Drawn([torch.rand(1, 2)]))
        torch.testing.assert_close(more["difference"], first - second)
    assert traces == [2]


def test_other_sizes_make_a_graph_of_their_own() -> None:
    module = Counting()
    function = GraphFunction(module, lambda x: (x.sum(), module.weight * 2), {}, "eager")
    for size in (3, 4, 3, 4):
        assert function(torch.ones(size))[0] == size


def test_arguments_are_taken_apart_in_order() -> None:
    x, y, z = (torch.full((), float(number)) for number in range(3))
    tensors, others = flatten((x, None, Drawn([y, z]), 3))
    assert [float(tensor) for tensor in tensors] == [0.0, 1.0, 2.0]
    assert others == [4, None, "Drawn", 2, 0, 3]
    with pytest.raises(TypeError, match="cannot depend on dtype"):
        flatten((x, torch.float32))


def test_what_a_graph_depends_on_is_part_of_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Counting()
    x = torch.rand(4, 4)

    def called(*tensors: Tensor, others: list[object] | None = None) -> kept_graph.Signature:
        return signature(tensors, others or [])

    names = [key("run", {}, module, called(x, x.clone()))]
    names.append(key("other", {}, module, called(x, x.clone())))
    names.append(key("run", {"rate": 1}, module, called(x, x.clone())))
    names.append(key("run", {}, nn.Linear(1, 1), called(x, x.clone())))
    names.append(key("run", {}, module, called(x, x)))
    names.append(key("run", {}, module, called(x, x.t())))
    names.append(key("run", {}, module, called(x, x[:2])))
    names.append(key("run", {}, module, called(x, x.double())))
    names.append(key("run", {}, module, called(x, x.clone().requires_grad_())))
    names.append(key("run", {}, module, called(x, x.clone(), others=[1])))
    with torch.no_grad():
        names.append(key("run", {}, module, called(x, x.clone())))
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    names.append(key("run", {}, module, called(x, x.clone())))
    torch.set_num_threads(before)
    module.count = torch.zeros(2)
    names.append(key("run", {}, module, called(x, x.clone())))
    environment = kept_graph._environment()
    monkeypatch.setattr(kept_graph, "_environment", lambda: [*environment[:-1], "other sources"])
    names.append(key("run", {}, Counting(), called(x, x.clone())))
    assert len(set(names)) == len(names)
    monkeypatch.setattr(kept_graph, "_environment", lambda: environment)
    assert key("run", {}, Counting(), called(torch.rand(4, 4), torch.rand(4, 4))) == names[0]


#: Each session makes the function anew, as a process does. Arguments: the file of the graph, if there is one.
KEPT = """
import logging, sys, torch
from pathlib import Path
from clwm_train.kernels.streams import Drawn
from clwm_train.training.graph_function import GraphFunction
from tests.train.training.test_graph_function import Counting
from torch._dynamo.utils import counters

logging.basicConfig(format="%(message)s")

def session():
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    module = Counting()
    function = GraphFunction(module, module.run, {})
    total = torch.zeros(())
    for _ in range(3):
        x, y = torch.rand(2), torch.rand(2)
        z, same, more = function(x, y, Drawn([torch.rand(1, 2)]))
        assert same is y
        total = total + z.exp().sum() + more["difference"].sum()
    total.backward()
    print(total.item().hex(), module.weight.grad.tolist(), module.count.item(), len(counters["stats"]))
    print("--", file=sys.stderr)

session()
for kept in map(Path, sys.argv[1:]):
    kept.write_bytes(b"")
    session()
    assert kept.read_bytes()
    kept.unlink()
    kept.mkdir()  # neither can be read nor replaced
    session()
"""


@COMPILER
@pytest.mark.slow
def test_a_kept_graph_is_found_without_tracing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def run(*arguments: Path) -> tuple[list[str], list[str]]:
        """What each session prints to stdout and to stderr."""
        done = subprocess.run(
            [sys.executable, "-c", KEPT, *map(str, arguments)],
            env={
                **os.environ,
                **TRUSTED_PROCESSOR,
                "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
                "PYTHONPATH": str(ROOT),
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), [part.strip() for part in done.stderr.split("--\n")[:-1]]

    (first,), _ = run()
    (kept,) = (tmp_path / "clwm").iterdir()
    content = kept.read_bytes()
    for damaged in (content[:-1], content[:40], b""):
        kept.write_bytes(damaged)
        assert kept_graph.load(kept, pytest.fail) is None
        assert caplog.messages.pop() == f"{kept} is damaged: its graph is compiled anew"
    kept.write_bytes(content)
    (found, again, without), errors = run(kept)
    assert not first.endswith(" 0")
    assert found == first.rpartition(" ")[0] + " 0"
    assert again == without == first
    assert errors[:2] == ["", f"{kept} is damaged: its graph is compiled anew"]
    assert [line.partition(" (")[0] for line in errors[2].splitlines()] == [
        f"{kept} cannot be used",
        f"{kept} cannot be written",
    ]


def test_a_torch_without_what_keeping_takes_compiles_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_function, "keeps_graphs", lambda: False)
    module, function, traces = made()
    for _ in range(3):
        x, y, noise = torch.rand(2), torch.rand(2), torch.rand(1, 2)
        torch.testing.assert_close(function(x, y, Drawn([noise]))[0], x * module.weight + noise)
    assert traces == [1]
    assert not function._graphs  # type: ignore[attr-defined]


def test_settings_that_a_torch_does_not_have_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._functorch.config

    assert keeps_graphs.__wrapped__()
    assert known(torch._functorch.config, {"strict_autograd_cache": True, "of_tomorrow": 1}) == {
        "strict_autograd_cache": True
    }
    monkeypatch.setitem(graph_function.SERIALISABLE, "of_tomorrow", True)
    assert not keeps_graphs.__wrapped__()


def test_a_graph_that_cannot_be_kept_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path, graph: object) -> None:
        raise TypeError("cannot pickle this")

    monkeypatch.setattr(kept_graph, "save", fail)
    module, function, _ = made()
    noise = torch.rand(1, 2)
    arguments = torch.rand(2), torch.rand(2), Drawn([noise])
    tensors, others = flatten(arguments)
    result = function._trace(arguments, tensors, signature(tensors, others), tmp_path / "graph")  # type: ignore[attr-defined]
    torch.testing.assert_close(result[0], arguments[0] * module.weight + noise)
    assert "cannot be written (TypeError: cannot pickle this): the graph is not kept" in caplog.text
