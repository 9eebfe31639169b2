"""A function of tensors as one compiled graph, called without what torch.compile does at every call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from clwm_data.compiler import BACKEND, Backend, compiled

#: Shape and type of every tensor.
Signature = tuple[tuple[object, ...], ...]


class Graph:
    """A function of tensors and tuples of them, which changes some of them in place and returns nothing.

    The first call with tensors of some sizes compiles it; later ones run the graph. torch.compile would look
    first whether anything that the function read has changed, which takes a tenth of a millisecond: so the
    function must depend on nothing but its arguments and constants.

    Args:
        function: the function.
        backend: of torch.compile.
    """

    def __init__(self, function: Callable[..., None], backend: Backend = BACKEND) -> None:
        self._traced = compiled(function, partial(self._record, backend))
        self._graphs: dict[Signature, tuple[Callable[..., Any], list[int]]] = {}
        self._traces: list[tuple[Callable[..., Any], tuple[Tensor, ...]]] = []

    def __call__(self, *arguments: Any) -> None:
        """Call the function.

        Raises:
            UnavailableError: it cannot be compiled.
        """
        tensors = flatten(arguments)
        signature = tuple((*tensor.shape, tensor.dtype) for tensor in tensors)
        if signature in self._graphs:
            graph, places = self._graphs[signature]
            graph(*[tensors[place] for place in places])
            return
        self._traces.clear()
        self._traced(*arguments)
        ((graph, inputs),) = self._traces
        place_of = {id(tensor): place for place, tensor in enumerate(tensors)}
        self._graphs[signature] = graph, [place_of[id(tensor)] for tensor in inputs]
        self._traces.clear()

    def _record(self, backend: Backend, module: Any, inputs: Any) -> Callable[..., Any]:
        """A backend of torch.compile that compiles as another one does, and records what is called."""
        from torch._dynamo.backends.registry import lookup_backend

        backend_function: Any = lookup_backend(backend) if isinstance(backend, str) else backend
        graph = backend_function(module, inputs)

        def call(*tensors: Tensor) -> Any:
            self._traces.append((graph, tensors))
            return graph(*tensors)

        return call


def flatten(arguments: tuple[Any, ...]) -> list[Tensor]:
    """All tensors in nested tuples."""
    tensors: list[Tensor] = []
    for value in arguments:
        if isinstance(value, Tensor):
            tensors.append(value)
        else:
            tensors += flatten(value)
    return tensors
