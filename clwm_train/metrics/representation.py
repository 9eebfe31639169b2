"""How much of a network's capacity its features use: feature rank, matrix rank, dormant neurons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clwm_train.model.context_encoder import ContextEncoder

#: A singular value of the features below this counts as zero (Lyle et al. 2022).
RANK_THRESHOLD = 0.01
#: A neuron whose mean activation is below this share of its layer's is dormant (Sokar et al. 2023).
DORMANT_TAU = 0.025


def feature_rank(features: Tensor, threshold: float = RANK_THRESHOLD) -> Tensor:
    """Share of the singular values of Phi / sqrt(n) that exceed ``threshold`` (Lyle et al. 2022, arXiv
    2204.09560, report their number).

    Args:
        features: Phi [S, n, d], n inputs as rows.
        threshold: absolute.

    Returns:
        [S] in [0, 1].
    """
    singular = _singular_values(features)
    return (singular > threshold).double().mean(-1)


def matrix_rank(features: Tensor) -> Tensor:
    """Numerical rank of features [S, n, d] -> [S], at the precision of their data type.

    Singular values up to max(n, d) eps times the largest count as zero, as in ``numpy.linalg.matrix_rank``.
    """
    singular = _singular_values(features)
    tolerance = max(features.shape[-2:]) * torch.finfo(features.dtype).eps
    return (singular > tolerance * singular.amax(-1, keepdim=True)).sum(-1)


def dormant_ratio(layers: Sequence[Tensor], tau: float = DORMANT_TAU) -> Tensor:
    """Share of the neurons of all hidden layers that are tau-dormant (Sokar et al. 2023, arXiv 2302.12902).

    The score of a neuron is its mean absolute activation over the inputs, divided by the mean of these over
    its layer; a neuron with a score of at most tau is dormant. All neurons of a layer that outputs only zeros
    are dormant.

    Args:
        layers: activations [S, n, neurons] of each hidden layer.
        tau: 0.025 as published.

    Returns:
        [S] in [0, 1].
    """
    dormant, neurons = torch.zeros(len(layers[0]), device=layers[0].device), 0
    for activations in layers:
        size = activations.abs().mean(-2)
        dormant += (size <= tau * size.mean(-1, keepdim=True)).sum(-1)
        neurons += size.shape[-1]
    return dormant / neurons


@torch.no_grad()
def representation_metrics(encoder: ContextEncoder, context: Tensor) -> dict[str, Tensor]:
    """Ranks of a context encoder's last hidden layer, and dormant neurons of all of its hidden layers.

    Args:
        encoder: encoder of S seeds.
        context: transitions [S, ..., x].

    Returns:
        ``feature_rank``, ``matrix_rank`` and ``dormant_ratio``, each [S].
    """
    layers = encoder.network.hidden(context)
    return {
        "feature_rank": feature_rank(layers[-1]),
        "matrix_rank": matrix_rank(layers[-1]),
        "dormant_ratio": dormant_ratio(layers),
    }


def _singular_values(features: Tensor) -> Tensor:
    """Singular values of features / sqrt(n), in double precision: [S, min(n, d)]."""
    scaled = features.double() / features.shape[-2] ** 0.5
    singular: Tensor = torch.linalg.svdvals(scaled)
    return singular
