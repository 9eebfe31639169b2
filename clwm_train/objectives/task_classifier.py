"""Supervised task inference, UNICORN-SUP in its own paper (Li et al. 2024, arXiv 2402.02429)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from clwm_train.config import NetworkConfig, TaskClassifierConfig
from clwm_train.kernels.streams import Purpose
from clwm_train.model.nn import MLP, Initialiser
from clwm_train.objectives.base import Objective, Representation, Sizes


class TaskClassifier(Objective):
    """Cross-entropy of the train task's index given z, over all train tasks.

    A task that occurs twice in a meta-batch has two contexts, and so counts as two examples.

    Args:
        config: weight and network.
        network: style of the MLP.
        sizes: sizes of seeds, train tasks M and z.
    """

    name = "task_classifier"
    label = "task classification"

    def __init__(self, config: TaskClassifierConfig, network: NetworkConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        initialiser = Initialiser(sizes.seeds, network.init, Purpose.OBJECTIVE_INITIALISATION)
        self.network = MLP(initialiser, [sizes.z], config.hidden, sizes.tasks, style=network.style)

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Adam of the classifier."""
        return torch.optim.Adam(self.network.parameters(), lr=self.config.learning_rate, fused=True)

    def forward(self, representation: Representation) -> tuple[Tensor, dict[str, Tensor]]:
        """Trains the context encoder and the classifier."""
        task = representation.batch.task
        logits = self.network(representation.z)
        error = functional.cross_entropy(logits.flatten(0, 1), task.flatten(), reduction="none")
        loss = error.view_as(task).mean(-1)
        accuracy = (logits.argmax(-1) == task).float().mean(-1)
        return self.config.weight * loss, {"loss": loss.detach(), "accuracy": accuracy.detach()}
