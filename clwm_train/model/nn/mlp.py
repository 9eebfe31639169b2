"""The multi-layer perceptron that every part of the method uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from clwm_train.config import NetworkStyle
from clwm_train.kernels.inference import only_acts, perceptron
from clwm_train.model.nn.initialise import Initialiser
from clwm_train.model.nn.linear import Linear, NormMish


class MLP(nn.Module):
    """Hidden layers Linear -> LayerNorm -> Mish (or Linear -> ReLU), then a plain Linear.

    Args:
        initialiser: draws the weights, for S seeds.
        inputs: sizes of the parts that the input joins, such as [c, a, z].
        hidden: entries of each hidden layer.
        outputs: entries of the output.
        style: ``layernorm-mish`` (published for SPC) or ``relu`` (published for the plain baselines).
        copies: independent networks per seed (twin critics: 2).
    """

    def __init__(
        self,
        initialiser: Initialiser,
        inputs: Sequence[int],
        hidden: Sequence[int],
        outputs: int,
        *,
        style: NetworkStyle,
        copies: int = 1,
    ) -> None:
        super().__init__()
        self.members = len(initialiser.seeds) * copies
        self.copies = copies
        parts = [inputs, *([size] for size in hidden)]
        self.layers = nn.ModuleList(
            Linear(initialiser, into, size, copies=copies) for into, size in zip(parts, hidden, strict=False)
        )
        self.norms = nn.ModuleList(NormMish(self.members, size) for size in hidden if style != "relu")
        self.head = Linear(initialiser, parts[-1], outputs, copies=copies, hidden=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [S, ..., inputs] -> [S, ..., outputs]; with C > 1 copies -> [S, C, ..., outputs]."""
        y = self._flat(x)
        if only_acts(y) and not self._rounds:
            linears = cast(list[Linear], [*self.layers, self.head])
            norms = cast(list[NormMish], [*self.norms])
            y = perceptron(
                y,
                [(linear.weight, linear.bias) for linear in linears],
                [(norm.weight, norm.bias) for norm in norms],
            )
        else:
            for index in range(len(self.layers)):
                y = self._hidden_layer(index, y)
            y = self.head(y)
        copies = (self.copies,) if self.copies > 1 else ()
        result: Tensor = y.view(len(x), *copies, *x.shape[1:-1], y.shape[-1])
        return result

    def hidden(self, x: Tensor) -> list[Tensor]:
        """Activations of every hidden layer for x [S, ..., inputs]: each [S * copies, N, size]."""
        layers, y = [], self._flat(x)
        for index in range(len(self.layers)):
            y = self._hidden_layer(index, y)
            layers.append(y.float())
        return layers

    @property
    def _rounds(self) -> bool:
        """Whether it is trained with products in bfloat16."""
        return any(layer.bf16 for layer in (*self.layers, self.head))

    def _flat(self, x: Tensor) -> Tensor:
        """[S, ..., inputs] -> [S, N, inputs], the input that all copies share."""
        return x.reshape(len(x), -1, x.shape[-1])

    def _hidden_layer(self, index: int, y: Tensor) -> Tensor:
        layer = cast(Linear, self.layers[index])
        if not self.norms:
            return functional.relu(layer(y))
        norm = cast(NormMish, self.norms[index])
        if torch.compiler.is_compiling():
            return norm.graph(layer.product(y), layer.bias)
        result: Tensor = norm(layer(y))
        return result
