"""The network of a behaviour policy in plain NumPy, with results that do not depend on the batch.

A dataset must be the same, bit for bit, whichever episodes are simulated side by side; but a matrix product
of floats sums in an order that depends on its shape, the library and the processor. The products here are
therefore *exact*: inputs and weights are rounded to fixed-point numbers, fine enough to lose little (about as
much as single precision), and coarse enough that every sum of products is an integer below 2^53, which double
precision represents without error in any order of summation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_EXACT_BITS = 53  # a float64 holds integers of up to so many bits exactly
_ACTIVATION_UNIT = 2.0**20  # activations are multiples of 2^-20
_RANGE = 64.0 * _ACTIVATION_UNIT  # and clipped to +-64: normalised inputs and hidden units stay far below


class _ExactLinear:
    """``x @ weight + bias``; input and output are in units of 2^-20."""

    def __init__(self, weight: Array, bias: Array) -> None:
        # |sum of products| <= range * largest column sum of |weight|, in units of both grids.
        largest = float(np.abs(weight).sum(axis=0).max())
        places = int(np.floor(_EXACT_BITS - 1 - np.log2(_RANGE * max(largest, 1e-30))))
        self.weight = np.rint(np.ldexp(weight, places))
        self.unit = 2.0**-places
        self.bias = bias * _ACTIVATION_UNIT

    def __call__(self, activation: Array) -> Array:
        result = activation @ self.weight
        result *= self.unit
        result += self.bias
        return result


def _round(value: Array, low: float) -> Array:
    """Activations as integers in units of 2^-20, held in float64; ``value`` is overwritten."""
    np.maximum(value, low, out=value)
    np.minimum(value, _RANGE, out=value)
    return np.rint(value, out=value)


class Network:
    """Inputs normalised, then ReLU layers, then a linear one; row i of the output depends on row i alone.

    Tensors (``i`` from 0, the last layer is the linear one): ``input.mean`` [d], ``input.scale`` [d],
    ``layer.<i>.weight`` [in, out], ``layer.<i>.bias`` [out].
    """

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Prepare the exact layers.

        Raises:
            ValueError: tensors are missing, do not fit together or are not finite.
        """
        expected = {"input.mean", "input.scale"}
        weights = sum(name.endswith(".weight") for name in tensors)
        expected |= {f"layer.{i}.{part}" for i in range(weights) for part in ("weight", "bias")}
        if set(tensors) != expected or not weights:
            raise ValueError(f"tensors are {sorted(tensors)}, expected {sorted(expected)}")
        for name, tensor in tensors.items():
            if not np.isfinite(tensor).all():
                raise ValueError(f"tensor {name} holds a value that is not finite")
        wide = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
        _check_shapes(wide, weights)
        self._mean, self._scale = wide["input.mean"], wide["input.scale"] * _ACTIVATION_UNIT
        layers = [_ExactLinear(wide[f"layer.{i}.weight"], wide[f"layer.{i}.bias"]) for i in range(weights)]
        self.hidden: Sequence[_ExactLinear] = layers[:-1]
        self.head = layers[-1]
        self.inputs = len(self._mean)
        self.outputs = len(wide[f"layer.{weights - 1}.bias"])

    def __call__(self, inputs: Array) -> Array:
        """Outputs [L, out] for inputs [L, d]."""
        activation = inputs - self._mean
        activation *= self._scale
        _round(activation, -_RANGE)
        for layer in self.hidden:
            activation = _round(layer(activation), 0.0)
        result = self.head(activation)
        result /= _ACTIVATION_UNIT
        return result


def _check_shapes(tensors: Mapping[str, Array], layers: int) -> None:
    size = tensors["input.mean"].shape
    if len(size) != 1 or tensors["input.scale"].shape != size:
        raise ValueError("input.mean and input.scale must be vectors of the same length")
    for i in range(layers):
        weight, bias = tensors[f"layer.{i}.weight"], tensors[f"layer.{i}.bias"]
        if weight.ndim != 2 or weight.shape[:1] != size or bias.shape != weight.shape[1:]:
            raise ValueError(f"layer.{i}: weight {weight.shape} and bias {bias.shape} do not fit")
        size = bias.shape
