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

    Roll-outs continue with the most likely next code. The world model predicts no terminations: episodes are
    assumed to continue.

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
        """sum over t < H of gamma^t r_t + gamma^H min Q(c_H, pi(c_H)): [S, L, N] of [S, L, N, H, act]."""
        code, z = self._spread(actions.shape[2])
        total = torch.zeros(actions.shape[:3], device=actions.device)
        discount = 1.0
        for t in range(actions.shape[3]):
            code, reward = self._step(code, actions[:, :, :, t], z)
            total = total + discount * reward
            discount *= self.backbone.discount
        state = torch.cat([code, z], -1)
        last = self.backbone.policy.mode(state)
        q: Tensor = self.backbone.critics(torch.cat([state, last], -1)).squeeze(-1)
        return total + discount * q.amin(1)

    def _step(self, code: Tensor, action: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The most likely next codes, and the rewards."""
        output, reward = self.world_model.predict(code, action, z)
        return self.world_model.prediction.most_likely(output, code), reward

    def _spread(self, samples: int) -> tuple[Tensor, Tensor]:
        """Code and z, repeated for all samples: [S, L, samples, ...]."""
        code, z = (tensor.unsqueeze(2).expand(-1, -1, samples, -1) for tensor in (self.code, self.z))
        return code, z
