"""L2 regularisation of task representations: in SPC's comparison DORA's debias loss (arXiv 2402.11317)."""

from __future__ import annotations

from torch import Tensor

from clwm_train.config import L2Config
from clwm_train.objectives.base import Objective, Representation


class L2(Objective):
    """||z||^2 of each task's mean z, averaged over the tasks of a meta-batch."""

    name = "l2"
    label = "L2 of z"

    def __init__(self, config: L2Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """Trains the context encoder to keep z near 0."""
        norm = representation.z.square().sum(-1).mean(-1)
        return self.config.weight * norm, {"norm": norm.detach()}
