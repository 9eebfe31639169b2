"""Behaviour cloning, the simplest baseline: it imitates the data, without values or a choice of actions."""

from __future__ import annotations

from torch import Tensor

from clwm_train.model.backbones.base import Backbone, Transitions


class BehaviourCloning(Backbone):
    """The policy maximises the likelihood of the data's actions: -log pi(a | s)."""

    name = "bc"

    def losses(
        self, transitions: Transitions, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean negative log likelihood."""
        loss = transitions.mean(-self.policy.log_prob(transitions.before, transitions.action))
        return loss, {"policy_loss": loss.detach()}
