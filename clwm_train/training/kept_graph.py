"""Compiled graphs that are kept on disk, where they are found without tracing.

torch keeps what it compiled, but finds it by the graph, and so traces every function in every process: a
dozen seconds. Here a graph is found by what it was traced from, and kept with the addresses of its inputs and
outputs: a parameter or buffer by its name, an argument's tensor by its place. A call then gathers the inputs
and runs the graph.

What a graph is found by: torch and its settings, the processor, the number of threads, the source files of
this package, the settings that the caller names, and shape, strides, type and identity of every tensor.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import clwm_train
from clwm_data import compiler
from clwm_data.bounded import read_bounded
from clwm_data.store.atomic import replacing
from clwm_data.store.digest import json_sha256

logger = logging.getLogger(__name__)

#: Increased when the file of a graph changes its meaning.
VERSION = 1

#: What a graph depends on: of every tensor its size and so on, and what else is set in this process.
Signature = tuple[object, ...]


class CompiledGraph(Protocol):
    """A graph's compiled function of flat inputs."""

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The graph's outputs."""

    def serialize(self) -> bytes:
        """The function as bytes, for those that are kept."""


@dataclass(frozen=True)
class Addresses:
    """Where the inputs of a graph come from and where its outputs go.

    Attributes:
        inputs: name of a parameter or buffer, or place among the arguments' tensors.
        outputs: for each tensor of the result, place among the graph's outputs; or, if the function returns a
            tensor of its arguments, -1 - place among these.
        structure: of the result.
    """

    inputs: tuple[str | int, ...]
    outputs: tuple[int, ...]
    structure: pytree.TreeSpec


@dataclass(frozen=True)
class Graph:
    """A compiled graph, called with a function's arguments."""

    compiled: CompiledGraph
    addresses: Addresses

    def __call__(self, state: Callable[[str], Tensor], tensors: Sequence[Tensor]) -> Any:
        """The function's result.

        Args:
            state: the module's parameter or buffer of a name.
            tensors: those of the arguments.
        """
        inputs = (
            tensors[address] if isinstance(address, int) else state(address)
            for address in self.addresses.inputs
        )
        results = self.compiled(*inputs)
        found = [results[place] if place >= 0 else tensors[-1 - place] for place in self.addresses.outputs]
        return pytree.tree_unflatten(found, self.addresses.structure)


@dataclass
class Traced:
    """A graph's first call, seen from inside."""

    compiled: CompiledGraph
    inputs: tuple[Tensor, ...]
    outputs: Sequence[Tensor]

    def graph(self, module: nn.Module, tensors: Sequence[Tensor], result: Any) -> Graph | None:
        """The graph with its addresses, found by identity; ``None`` if it has an input that is neither of the
        module nor of the arguments.
        """
        places: dict[int, str | int] = {id(tensor): name for name, tensor in state_of(module)}
        places |= {id(tensor): place for place, tensor in enumerate(tensors)}
        returned = {id(tensor): -1 - place for place, tensor in enumerate(tensors)}
        returned |= {id(tensor): place for place, tensor in enumerate(self.outputs)}
        leaves, structure = pytree.tree_flatten(result)
        if not all(id(tensor) in places for tensor in self.inputs):
            return None
        if not all(id(leaf) in returned for leaf in leaves):
            return None
        inputs = tuple(places[id(tensor)] for tensor in self.inputs)
        outputs = tuple(returned[id(leaf)] for leaf in leaves)
        return Graph(self.compiled, Addresses(inputs, outputs, structure))


def state_of(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Names and tensors of a module's parameters and buffers."""
    return [*module.named_parameters(), *module.named_buffers()]


def flatten(arguments: object) -> tuple[list[Tensor], list[object]]:
    """The tensors in a function's arguments, and everything else.

    Raises:
        TypeError: there is something that is neither a tensor, a number, a text, a sequence, nor an object
            with attributes of these kinds.
    """
    tensors: list[Tensor] = []
    others: list[object] = []
    pending = [arguments]
    while pending:
        value = pending.pop()
        if isinstance(value, Tensor):
            tensors.append(value)
        elif value is None or isinstance(value, bool | int | float | str):
            others.append(value)
        elif isinstance(value, tuple | list):
            others.append(len(value))
            pending.extend(reversed(value))
        elif hasattr(value, "__dict__"):
            others.append(type(value).__qualname__)
            pending.extend(reversed(vars(value).values()))
        else:
            raise TypeError(f"a graph cannot depend on {type(value).__qualname__}")
    return tensors, others


def signature(tensors: Sequence[Tensor], others: Sequence[object]) -> Signature:
    """What of arguments and process a graph depends on, and what may change while the process runs."""
    first: dict[int, int] = {}
    same = tuple(first.setdefault(id(tensor), place) for place, tensor in enumerate(tensors))
    return (
        tuple(map(_described, tensors)),
        same,
        tuple(others),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.is_grad_enabled(),
    )


def key(name: str, settings: object, module: nn.Module, called: Signature) -> str:
    """By what a graph is found.

    Args:
        name: the function's.
        settings: everything else that the module was made from, as JSON.
        module: whose parameters and buffers the function uses.
        called: the call's signature.
    """
    state = [(title, *_described(tensor)) for title, tensor in state_of(module)]
    return json_sha256([VERSION, name, settings, repr(state), repr(called), *_environment()])


def load(path: Path, deserialize: Callable[[bytes], CompiledGraph]) -> Graph | None:
    """A kept graph; ``None`` if there is none, or (with a warning) none that can be read."""
    try:
        content = read_bounded(path)
    except FileNotFoundError:
        return None
    digest, data = content[:32], content[32:]
    if hashlib.sha256(data).digest() != digest:
        logger.warning("%s is damaged: its graph is compiled anew", path)
        return None
    inputs, outputs, structure, compiled = pickle.loads(data)  # from the user's own cache, as torch does
    addresses = Addresses(inputs, outputs, pytree.treespec_loads(structure))
    return Graph(deserialize(compiled), addresses)


def save(path: Path, graph: Graph) -> None:
    """Keep a graph."""
    addresses = graph.addresses
    structure = pytree.treespec_dumps(addresses.structure)
    data = pickle.dumps((addresses.inputs, addresses.outputs, structure, graph.compiled.serialize()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)


def _described(tensor: Tensor) -> tuple[object, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device, tensor.requires_grad


@cache
def _environment() -> list[str]:
    """What graphs depend on and what stays as it is while a process runs."""
    import torch._functorch.config
    import torch._inductor.config

    settings = [torch._inductor.config, torch._functorch.config]
    return [
        torch.__version__,
        str(torch.version.git_version),
        *(config.get_hash().hex() for config in settings),
        repr(sorted(torch.cpu.get_capabilities().items())),
        os.environ.get("ATEN_CPU_CAPABILITY", ""),
        _sources(),
    ]


def _sources() -> str:
    """Digest of all source files of this package, and of what compiles them."""
    folder = Path(clwm_train.__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(folder.rglob("*.py")), Path(compiler.__file__)]:
        content = read_bounded(path)
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    return digest.hexdigest()
