"""Regression of scalars: by squared error, or by classification among the bins of a symmetric log scale."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from clwm_train.model.nn import MLP

#: The outermost bins lie at plus and minus this on the log scale (TD-MPC2): values of up to 22,025.
LIMIT = 10.0


def symlog(value: Tensor) -> Tensor:
    """sign(x) log(1 + |x|) (Hafner et al. 2023, arXiv 2301.04104)."""
    return value.sign() * value.abs().log1p()


def symexp(value: Tensor) -> Tensor:
    """sign(x) (exp |x| - 1), the inverse of :func:`symlog`, for |x| < 88."""
    return torch.where(value < 0.0, -torch.expm1(-value), torch.expm1(value))  # the gradient at 0 is 1


class Scalar(nn.Module, ABC):
    """What a network's outputs [..., outputs] say about a scalar [...].

    Attributes:
        outputs: entries of the network's output.
    """

    outputs: int

    @abstractmethod
    def value(self, output: Tensor) -> Tensor:
        """The predicted scalar."""

    @abstractmethod
    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss against a target [...], which has no gradient."""

    def initialise(self, network: MLP) -> None:
        """Change the initial weights of a network with such outputs."""


class Squared(Scalar):
    """The output is the scalar; the error is its squared distance."""

    outputs = 1

    def value(self, output: Tensor) -> Tensor:
        """See :meth:`Scalar.value`."""
        return output.squeeze(-1)

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """See :meth:`Scalar.error`."""
        return (output.squeeze(-1) - target).square()


class TwoHot(Scalar):
    """Discrete regression: logits of bins that divide [-LIMIT, LIMIT] evenly, in the space of :func:`symlog`.

    A target is spread over its two neighbouring bins, so that their weighted mean is the target; the error is
    the cross-entropy. The prediction is the symexp of the mean over bins. The last layer starts at zero, so
    that nothing is rewarded or valued at first (TD-MPC2).

    Args:
        bins: number of bins.
    """

    support: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.outputs = bins
        self.register_buffer("support", torch.linspace(-LIMIT, LIMIT, bins), persistent=False)

    def value(self, output: Tensor) -> Tensor:
        """See :meth:`Scalar.value`."""
        return symexp((output.float().softmax(-1) * self.support).sum(-1))

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """See :meth:`Scalar.error`."""
        last = self.outputs - 1
        position = ((symlog(target).clamp(-LIMIT, LIMIT) + LIMIT) * (last / (2.0 * LIMIT))).unsqueeze(-1)
        low = position.nan_to_num(0.0).floor().clamp(0.0, last - 1)  # the error of a NaN is NaN
        share = position - low
        output = output.float()
        index = low.long().expand(*output.shape[:-1], 1)
        logit = (1.0 - share) * output.gather(-1, index) + share * output.gather(-1, index + 1)
        return output.logsumexp(-1) - logit.squeeze(-1)

    def initialise(self, network: MLP) -> None:
        """Set the weights of the last layer to zero."""
        nn.init.zeros_(network.head.weight)


def make_scalar(bins: int | None) -> Scalar:
    """Two-hot regression with a number of bins, or squared error without."""
    return Squared() if bins is None else TwoHot(bins)
