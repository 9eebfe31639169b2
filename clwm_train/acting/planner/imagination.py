"""Action sequences in the world model: proposals of the policy, and the value of a sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clwm_train.model.backbones.base import ActorCritic
from clwm_train.model.world_model import WorldModel


@dataclass(frozen=True)
class Scene:
    """L situations of each seed from which to roll out the world model, without gradient.

    Roll-outs continue with the most likely next code. Where the world model predicts terminations, what
    follows a step counts by the probability that the episode goes on; else episodes are assumed to continue.

    Attributes:
        backbone: its policy proposes actions, and its critics value the last state.
        world_model: the agent's world model.
        code: [S, L, c].
        z: [S, L, z].
    """

    backbone: ActorCritic
    world_model: WorldModel
    code: Tensor
    z: Tensor

    def propose(self, noise: Tensor) -> Tensor:
        """Action sequences [S, L, P, H, act] of the policy, with standard normal noise [S, L, P, H, n]."""
        code, z = self._spread(noise.shape[2])
        actions = []
        for t in range(noise.shape[3]):
            actions.append(self.backbone.policy.sample(torch.cat([code, z], -1), noise[:, :, :, t]))
            code, _ = self._step(code, actions[-1], z)
        return torch.stack(actions, 3)

    def value(self, actions: Tensor) -> Tensor:
        """sum over t < H of gamma^t p_t r_t + gamma^H p_H Q(c_H, pi(c_H)): [S, L, N] of [S, L, N, H, act].

        p_t is the probability that no step before t ends the episode; Q: see ``action_value``.
        """
        code, z = self._spread(actions.shape[2])
        total = torch.zeros(actions.shape[:3], device=actions.device)
        discount = torch.ones_like(total)
        for t in range(actions.shape[3]):
            action = actions[:, :, :, t]
            goes_on = self.world_model.continuation(code, action, z)
            code, reward = self._step(code, action, z)
            total = total + discount * reward
            discount = discount * self.backbone.discount * goes_on
        state = torch.cat([code, z], -1)
        return total + discount * self.backbone.action_value(state, self.backbone.policy.mode(state))

    def _step(self, code: Tensor, action: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The most likely next codes, and the rewards."""
        output, reward = self.world_model.predict(code, action, z)
        return self.world_model.prediction.most_likely(output, code), reward

    def _spread(self, samples: int) -> tuple[Tensor, Tensor]:
        """Code and z, repeated for all samples: [S, L, samples, ...]."""
        code, z = (tensor.unsqueeze(2).expand(-1, -1, samples, -1) for tensor in (self.code, self.z))
        return code, z
