"""Task inference: the context encoder, and a lower and an upper bound for comparisons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clwm_data.errors import InvalidInputError
from clwm_train.config import ContextConfig, NetworkConfig
from clwm_train.model.nn import MLP, Initialiser


class TaskInference(nn.Module, ABC):
    """Maps a few transitions x = [s, a, r] (with s' if configured) of a task to its representation z.

    Attributes:
        size: entries of z.
    """

    size: int

    @abstractmethod
    def embed(self, transitions: Tensor) -> Tensor:
        """Embedding of each transition: [S, ..., x] -> [S, ..., z] in [-1, 1]."""

    def forward(self, context: Tensor) -> Tensor:
        """Contexts [S, ..., K, x] -> z [S, ..., z], independent of the order of the K transitions."""
        return self.embed(context).mean(-2)

    def known(self, task: Tensor) -> Tensor | None:
        """z [S, ..., z] of tasks [S, ...], by their index in the family; ``None`` if it must be inferred."""
        return None


class ContextEncoder(TaskInference):
    """z = mean over k of tanh(E(x_k)).

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of the parts of a transition x.
        config: sizes.
        network: style of the MLP E.
    """

    def __init__(
        self, initialiser: Initialiser, inputs: Sequence[int], config: ContextConfig, network: NetworkConfig
    ) -> None:
        super().__init__()
        self.size = config.dim
        self.network = MLP(initialiser, inputs, config.hidden, config.dim, style=network.style)

    def embed(self, transitions: Tensor) -> Tensor:
        """See :meth:`TaskInference.embed`."""
        return torch.tanh(self.network(transitions))


class NoContext(TaskInference):
    """z = 0, whatever the context: what can be reached without a task representation.

    Args:
        size: entries of z.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def embed(self, transitions: Tensor) -> Tensor:
        """Zeros."""
        return transitions.new_zeros(*transitions.shape[:-1], self.size)


class TaskParameters(TaskInference):
    """z = the task's parameters p, scaled to [-1, 1]: what perfect task inference would reach.

    With octaves, sin and cos of pi 2^k p for k = 0, 1, ... follow (Fourier features, Tancik et al. 2020,
    arXiv 2006.10739), with which networks tell near values apart sooner, and know less between them.

    Args:
        parameters: [tasks of the family, p].
        octaves: number of k.
    """

    told: Tensor

    def __init__(self, parameters: NDArray[np.float32], octaves: int) -> None:
        super().__init__()
        angles = [np.pi * 2.0**octave * parameters.astype(np.float64) for octave in range(octaves)]
        waves = [wave(angle) for wave in (np.sin, np.cos) for angle in angles]
        z = np.hstack([parameters, *waves]).astype(np.float32)
        self.size = z.shape[1]
        self.register_buffer("told", torch.as_tensor(z))

    def embed(self, transitions: Tensor) -> Tensor:
        """Not possible.

        Raises:
            InvalidInputError: always.
        """
        raise InvalidInputError(
            "the agent is told the parameters of its task (context.source: parameters): "
            "it infers nothing from transitions"
        )

    def known(self, task: Tensor) -> Tensor:
        """See :meth:`TaskInference.known`."""
        return self.told[task]


def make_task_inference(
    initialiser: Initialiser,
    inputs: Sequence[int],
    config: ContextConfig,
    network: NetworkConfig,
    parameters: NDArray[np.float32] | None,
) -> TaskInference:
    """The task inference that a configuration names.

    Args:
        initialiser: draws the weights of S seeds.
        inputs: sizes of the parts of a transition.
        config: source and sizes.
        network: style of the MLP.
        parameters: [tasks of the family, p], scaled; needed for ``context.source: parameters``.

    Raises:
        InvalidInputError: the tasks' parameters are needed, but there are none.
    """
    match config.source:
        case "encoder":
            return ContextEncoder(initialiser, inputs, config, network)
        case "none":
            return NoContext(config.dim)
        case "parameters":
            if parameters is None or not parameters.shape[1]:
                raise InvalidInputError(
                    "context.source: parameters: there are no task parameters to tell that vary between the "
                    "tasks: choose another method"
                )
            return TaskParameters(parameters, config.octaves)
