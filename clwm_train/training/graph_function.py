"""A module's function that is compiled once, kept on disk, and called as a graph from then on."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from clwm_data.compiler import (
    BACKEND,
    CACHE_OWN_GRADIENTS,
    Backend,
    compiled,
    kept_folder,
    known,
    one_line,
    with_sound_cache,
)
from clwm_train.training import kept_graph
from clwm_train.training.kept_graph import CompiledGraph, Graph, Signature, Traced, flatten, signature

logger = logging.getLogger(__name__)

#: Lets torch compile the backward pass at once, and into a form that can be serialised, as its own
#: torch._dynamo.aot_compile does.
SERIALISABLE = {
    "strict_autograd_cache": True,
    "bypass_autograd_cache_key": True,
    "bundled_autograd_cache": True,
    "force_non_lazy_backward_lowering": True,
    "force_autograd_cache": True,
}

#: Where the graphs that run during a trace are recorded.
_traces: ContextVar[list[Traced]] = ContextVar("traces")


class GraphFunction:
    """A function of a module and of tensors, as one compiled graph.

    The first call with tensors of some sizes takes the graph that an earlier process kept, or else traces and
    compiles the function and keeps the graph. Later ones run the graph. So the function must have no effects
    but those on the module's buffers, and must depend on nothing but the module's parameters and buffers, its
    arguments, and ``settings``. Graphs are kept on CPU with the backend that generates code; on other
    devices, torch.compile does it all.

    Args:
        module: the module whose method it is.
        function: the method.
        settings: everything that the module was made from, as JSON.
        backend: backend of torch.compile.
    """

    def __init__(
        self, module: nn.Module, function: Callable[..., Any], settings: object, backend: Backend = BACKEND
    ) -> None:
        self._module = module
        self._name = function.__qualname__
        self._settings = settings
        self._backend = backend
        self._plain = compiled(function, backend)
        self._traced = compiled(function, partial(_compile, backend))
        self._graphs: dict[Signature, Graph | None] = {}
        self._state: dict[str, tuple[dict[str, Any], str]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The function's result.

        Raises:
            UnavailableError: it cannot be compiled.
        """
        tensors, others = flatten(arguments)
        if tensors[0].device.type != "cpu" or not keeps_graphs():
            return self._plain(*arguments)
        called = signature(tensors, others)
        if called not in self._graphs:
            kept = self._file(called) if self._backend == BACKEND else None
            found = None if kept is None else _loaded(kept)
            if found is None:
                return self._trace(arguments, tensors, called, kept)
            self._graphs[called] = found
        graph = self._graphs[called]
        return self._traced(*arguments) if graph is None else graph(self._tensor, tensors)

    def _trace(
        self, arguments: tuple[Any, ...], tensors: list[Tensor], called: Signature, kept: Path | None
    ) -> Any:
        """The result of the first call, which makes the graph."""
        traces: list[Traced] = []
        before = _traces.set(traces)
        try:
            result = self._traced(*arguments)
        finally:
            _traces.reset(before)
        (trace,) = traces
        graph = self._graphs[called] = trace.graph(self._module, tensors, result)
        if graph is not None and kept is not None:
            try:
                kept_graph.save(kept, graph)
            except Exception as error:  # of the disk, or of torch, where it cannot serialise the graph
                logger.warning("%s cannot be written (%s): the graph is not kept", kept, one_line(error))
        return result

    def _file(self, called: Signature) -> Path:
        key = kept_graph.key(self._name, self._settings, self._module, called)
        return kept_folder() / key

    def _tensor(self, name: str) -> Tensor:
        """The module's parameter or buffer of a name, as it is now."""
        if name not in self._state:
            path, _, last = name.rpartition(".")
            owner = self._module.get_submodule(path)
            self._state[name] = (owner._parameters if last in owner._parameters else owner._buffers), last
        owners, last = self._state[name]
        return cast(Tensor, owners[last])


@cache
def keeps_graphs() -> bool:
    """Whether the installed torch has what keeping a graph takes, which is not public: torch 2.13 has it."""
    import torch._functorch.config
    import torch._inductor.config

    try:
        from torch._functorch._aot_autograd.aot_autograd_result import (  # noqa: F401
            deserialize_bundled_cache_entry,
        )
    except ImportError:
        return False
    needed = {**SERIALISABLE, **CACHE_OWN_GRADIENTS}
    return (
        known(torch._functorch.config, needed) == needed
        and hasattr(torch._inductor.config, "enable_autograd_for_aot")
        and all(hasattr(config, "get_hash") for config in (torch._functorch.config, torch._inductor.config))
        and hasattr(torch.cpu, "get_capabilities")
    )


def _compile(backend: Backend, graph: Any, inputs: Any) -> Callable[..., Any]:
    """A backend of torch.compile that compiles as another one does, and records what is called."""
    from torch._dynamo.backends.registry import lookup_backend

    function: Any = lookup_backend(backend) if isinstance(backend, str) else backend
    if backend == BACKEND:
        import torch._functorch.config

        with torch._functorch.config.patch(SERIALISABLE):
            function = _Serialisable(function(graph, inputs))
    else:
        function = function(graph, inputs)

    def call(*inputs: Tensor) -> Any:
        outputs = function(*inputs)
        if (traces := _traces.get(None)) is not None:
            traces.append(Traced(function, inputs, outputs))
        return outputs

    return call


class _Serialisable:
    """A compiled graph with its bytes."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *inputs: Tensor) -> Any:
        return self._function(*inputs)

    def serialize(self) -> bytes:
        import torch._functorch.config

        with torch._functorch.config.patch("bundled_autograd_cache", True):
            return pickle.dumps(self._function.serialize())


def _loaded(kept: Path) -> Graph | None:
    """A kept graph; ``None`` if there is none, or (with a warning) none that can be used."""
    try:
        return with_sound_cache(kept_graph.load)(kept, _restored)
    except Exception as error:  # torch passes on any error of its compiler and the system's
        logger.warning("%s cannot be used (%s): its graph is compiled anew", kept, one_line(error))
        return None


def _restored(data: bytes) -> CompiledGraph:
    """A compiled graph that was kept as bytes."""
    import torch._functorch.config
    import torch._inductor.config
    from torch._functorch._aot_autograd.aot_autograd_result import deserialize_bundled_cache_entry

    with (
        torch._functorch.config.patch(CACHE_OWN_GRADIENTS),
        torch._inductor.config.patch(enable_autograd_for_aot=True),
    ):
        return cast(CompiledGraph, deserialize_bundled_cache_entry(pickle.loads(data)))
