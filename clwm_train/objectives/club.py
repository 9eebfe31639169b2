"""CLUB (Cheng et al. 2020, arXiv 2006.12013) as CSRO minimises it (Gao et al. 2023, arXiv 2311.03695)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clwm_train.config import ClubConfig, NetworkConfig
from clwm_train.kernels.streams import Purpose
from clwm_train.model.nn import MLP, Initialiser
from clwm_train.objectives.base import Objective, Representation, Sizes

#: Lower bound of the variance: z is in (-1, 1), and the gradient of the bound grows as 1 / variance.
SMALLEST_VARIANCE = 1e-2


class Club(Objective):
    """Contrastive log-ratio upper bound of I(z; (s, a)): z must not tell who collected the context.

    A variational Gaussian q(z | s, a) with mean m and variance v maximises the likelihood of the embeddings
    z_k of the context's transitions, held constant. With m and v held constant, the context encoder minimises

        mean over k of [ mean over j of (z_j - m_k)^2 - (z_k - m_k)^2 ] / v_k,

    averaged over entries of z and without the factor 1/2, as in CSRO; j runs over the transitions of k's own
    task (published), or over the whole meta-batch (``negatives: batch``). The mean over j is exact: it needs
    only the first two moments of the z_j. Both use the networks as they were before the update.

    Args:
        config: weights, negatives, network.
        network: style of the MLP.
        sizes: sizes of seeds, observation, action and z.
    """

    name = "club"
    label = "CLUB bound of I(z; s, a)"

    def __init__(self, config: ClubConfig, network: NetworkConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        self._inputs = sizes.observation + sizes.action
        initialiser = Initialiser(sizes.seeds, network.init, Purpose.OBJECTIVE_INITIALISATION)
        inputs = [sizes.observation, sizes.action]
        self.network = MLP(initialiser, inputs, config.hidden, 2 * sizes.z, style=network.style)

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Adam of the variational network."""
        return torch.optim.Adam(self.network.parameters(), lr=self.config.learning_rate, fused=True)

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """weight * bound (trains the context encoder) + negative log-likelihood (trains the network)."""
        votes = representation.votes
        mean, raw = self.network(representation.batch.context[..., : self._inputs]).chunk(2, -1)
        variance = functional.softplus(raw) + SMALLEST_VARIANCE
        error = (votes.detach() - mean).square()
        likelihood = (0.5 * (error / variance + variance.log())).mean((1, 2, 3))
        bound = self._bound(votes, mean.detach(), variance.detach())
        metrics = {"bound": bound.detach(), "negative_log_likelihood": likelihood.detach()}
        return self.config.weight * bound + likelihood, metrics

    def _bound(self, votes: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """The bound [S] from arguments [S, T, K, z]."""
        over = (2,) if self.config.negatives == "task" else (1, 2)
        first, second = votes.mean(over, keepdim=True), votes.square().mean(over, keepdim=True)
        # mean over j of (z_j - m)^2 = E[z^2] - 2 m E[z] + m^2; m^2 cancels in the difference.
        negatives = second - 2.0 * mean * first
        positive = votes.square() - 2.0 * mean * votes
        return ((negatives - positive) / variance).mean((1, 2, 3))
