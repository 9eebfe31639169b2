"""CrossQ (Bhatt et al. 2024) of sb3-contrib, made fast on a CPU, and its policy exported to plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import CrossQ
from sb3_contrib.common.torch_layers import BatchRenorm1d
from sb3_contrib.crossq.policies import Actor, CrossQPolicy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor, nn

from clwm_data.behaviour_training.relabelling import RelabellingReplayBuffer
from clwm_data.behaviour_training.renormalised import Network, actor_network, network_of
from clwm_data.behaviour_training.squashed_gaussian import Draw
from clwm_data.behaviour_training.vec_env import TaskConditionedVecEnv

#: Sizes of the hidden layers of actor and critics.
HIDDEN = (256, 256)
#: Environment steps of random actions that fill the replay buffer first.
LEARNING_STARTS = 2_000


class HandDifferentiatedCrossQ(CrossQ):
    """The same updates as sb3-contrib's, up to rounding, in less time: without autograd, and without
    gradients that nothing uses (those of the critics' parameters while the actor learns).
    """

    _kept: tuple[Network, Network] | None = None

    @torch.no_grad()
    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take ``gradient_steps`` updates on batches from the replay buffer.

        Raises:
            ValueError: the entropy coefficient is not learned, or noise depends on the state.
        """
        log_weight, weight_optimiser = self.log_ent_coef, self.ent_coef_optimizer
        if log_weight is None or weight_optimiser is None or self.use_sde or self.replay_buffer is None:
            raise ValueError("only learned entropy coefficients and independent noise are supported")
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, weight_optimiser])
        actor, critics = self._networks()
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            entropy_weight = log_weight.exp()
            self._update_critics(actor, critics, batch, entropy_weight)
            if self._n_updates % self.policy_delay == 0:
                log_prob = self._update_actor(actor, critics, batch, entropy_weight)
                log_weight.grad = -(log_prob + float(self.target_entropy)).mean().view_as(log_weight)
                weight_optimiser.step()

    def _networks(self) -> tuple[Network, Network]:
        """Actor and critics as they are trained; made anew when the modules' tensors were replaced."""
        kept = self._kept
        if kept is None or not all(network.intact() for network in kept):
            kept = self._kept = actor_network(self.actor), network_of(self.critic.q_networks)
        return kept

    def _update_critics(
        self, actor: Network, critics: Network, batch: ReplayBufferSamples, entropy_weight: Tensor
    ) -> None:
        """Both critics see a batch and its successors together, so that they share the statistics."""
        count = len(batch.rewards)
        following = Draw(actor.forward(batch.next_observations, training=False)[0])
        states = torch.cat([batch.observations, batch.next_observations])
        inputs = torch.cat([states, torch.cat([batch.actions, following.action])], 1)
        values = critics.forward(inputs, training=True)
        lowest = values[:, 0, count:].amin(0) - entropy_weight * following.log_prob
        discounts = self.gamma if batch.discounts is None else batch.discounts.squeeze(1)
        target = batch.rewards.squeeze(1) + (1 - batch.dones.squeeze(1)) * discounts * lowest
        gradient = torch.zeros_like(values)
        gradient[:, 0, :count] = (values[:, 0, :count] - target) / count  # of half the squared error
        critics.backward(gradient)
        self.critic.optimizer.step()

    def _update_actor(
        self, actor: Network, critics: Network, batch: ReplayBufferSamples, entropy_weight: Tensor
    ) -> Tensor:
        """The actor maximises the lower of the critics' values and its entropy.

        Returns:
            log densities [B] of the actions before the update.
        """
        count = len(batch.rewards)
        drawn = Draw(actor.forward(batch.observations, training=True)[0])
        inputs = torch.cat([batch.observations, drawn.action], 1)
        values = critics.forward(inputs, training=False)
        chosen = torch.zeros_like(values).scatter_(0, values.argmin(0, keepdim=True), -1 / count)
        of_inputs = critics.input_gradient(chosen).sum(0)
        of_actions = of_inputs[-drawn.action.shape[1] :].t()
        actor.backward(drawn.backward(of_actions, entropy_weight / count).unsqueeze(0))
        self.actor.optimizer.step()
        return drawn.log_prob


def make_crossq(
    env: TaskConditionedVecEnv,
    *,
    seed: int,
    buffer_size: int,
    learning_rate: float,
    updates: int,
    relabelled: float,
) -> HandDifferentiatedCrossQ:
    """A learner.

    Args:
        env: the environment to learn from.
        seed: seed of networks, replay and exploration.
        buffer_size: transitions that are kept.
        learning_rate: learning rate of all networks.
        updates: gradient steps per step of the vector environment.
        relabelled: share of a batch that is relabelled with another task; 0 unless the family can relabel.
    """
    learner = HandDifferentiatedCrossQ(
        CrossQPolicy,
        env,
        learning_rate=learning_rate,
        buffer_size=buffer_size,
        learning_starts=LEARNING_STARTS,
        gradient_steps=updates,
        # From the usual 1.0, it takes 10k environment steps to decrease to where learning begins.
        ent_coef="auto_0.1",
        policy_kwargs={
            "net_arch": list(HIDDEN),
            "optimizer_kwargs": {"betas": (0.5, 0.999), "fused": True},
        },
        seed=seed,
        device="cpu",
        replay_buffer_class=RelabellingReplayBuffer if relabelled else None,
        replay_buffer_kwargs=(
            {"conditioning": env.conditioning, "share": relabelled, "seed": seed} if relabelled else None
        ),
    )
    # Its default logger would leave an empty temporary folder behind at every call of learn.
    learner.set_logger(Logger(folder=None, output_formats=[]))
    return learner


def policy_tensors(actor: Actor) -> dict[str, NDArray[np.float32]]:
    """The actor's weights as :class:`clwm_data.zoo.policy.LearnedPolicy` takes them.

    Each batch norm in front of a linear layer is folded into it, except that the mean and the deviation of
    the first one become the normalisation of the inputs.
    """
    norms: list[Any] = []
    linears: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for module in actor.latent_pi:
        if isinstance(module, BatchRenorm1d):
            norms.append(module)
        elif isinstance(module, nn.Linear):
            linears.append((_array(module.weight), _array(module.bias)))
        elif not isinstance(module, nn.ReLU):
            raise TypeError(f"cannot export a layer {type(module).__name__}")
    heads: list[Any] = [actor.mu, actor.log_std]
    linears.append(
        (
            np.concatenate([_array(head.weight) for head in heads]),
            np.concatenate([_array(head.bias) for head in heads]),
        )
    )
    first = norms[0]
    tensors: dict[str, NDArray[np.float64]] = {
        "input.mean": _array(first.ra_mean),
        "input.scale": 1.0 / np.sqrt(_array(first.ra_var) + first.eps),
    }
    for index, (norm, (weight, bias)) in enumerate(zip(norms, linears, strict=True)):
        gain, shift = _array(norm.scale), _array(norm.bias)
        if index > 0:
            gain = gain / np.sqrt(_array(norm.ra_var) + norm.eps)
            shift = shift - gain * _array(norm.ra_mean)
        tensors[f"layer.{index}.weight"] = (weight * gain).T
        tensors[f"layer.{index}.bias"] = bias + weight @ shift
    return {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().numpy().astype(np.float64)
