"""CrossQ (Bhatt et al. 2024) of sb3-contrib, made fast on a CPU, and its policy exported to plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import CrossQ
from sb3_contrib.common.torch_layers import BatchRenorm1d
from sb3_contrib.crossq.policies import Actor, CrossQPolicy
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from clwm_data.behaviour_training.flat import Adam, Network
from clwm_data.behaviour_training.graph import Graph
from clwm_data.behaviour_training.relabelling import RelabellingReplayBuffer
from clwm_data.behaviour_training.updates import Transitions, Updates
from clwm_data.behaviour_training.vec_env import TaskConditionedVecEnv

#: Sizes of the hidden layers of actor and critics.
HIDDEN = (256, 256)
#: Environment steps of random actions that fill the replay buffer first.
LEARNING_STARTS = 2_000


class _Kept(NamedTuple):
    """The learner's tensors as they are trained, and what trains them."""

    actor: Network
    critics: Network
    entropy: Adam
    update_critics: Callable[..., None]
    update_actor: Callable[..., None]


class HandDifferentiatedCrossQ(CrossQ):
    """The same updates as sb3-contrib's, up to rounding, in less time: without autograd, and without
    gradients that nothing uses (those of the critics' parameters while the actor learns).

    Attributes:
        compiled: whether the updates are compiled first.
    """

    compiled = False
    _kept: _Kept | None = None

    @torch.no_grad()
    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take ``gradient_steps`` updates on batches from the replay buffer.

        Raises:
            ValueError: the entropy coefficient is not learned, or noise depends on the state.
        """
        actor, critics, entropy, update_critics, update_actor = self._networks()
        optimisers = self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer
        self._update_learning_rate([each for each in optimisers if each is not None])
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self._batch(batch_size)
            update_critics(
                (critics.adam.arrays, critics.statistics),
                (actor.adam.arrays.parameters, actor.statistics),
                entropy.arrays.parameters,
                batch,
                torch.randn_like(batch.actions),
                critics.adam.rates(),
            )
            if self._n_updates % self.policy_delay == 0:
                update_actor(
                    (actor.adam.arrays, actor.statistics),
                    (critics.adam.arrays.parameters, critics.statistics),
                    entropy.arrays,
                    batch,
                    torch.randn_like(batch.actions),
                    (actor.adam.rates(), entropy.rates()),
                )

    def _batch(self, size: int) -> Transitions:
        """Transitions from the replay buffer."""
        assert self.replay_buffer is not None
        sample = self.replay_buffer.sample(size, env=self._vec_normalize_env)
        discount = self.gamma if sample.discounts is None else sample.discounts
        return Transitions(
            sample.observations,
            sample.next_observations,
            sample.actions,
            sample.rewards,
            (1 - sample.dones) * discount,
        )

    def _networks(self) -> _Kept:
        """The learner's arrays as they are trained; made anew when the modules' tensors were replaced."""
        log_weight, weight_optimiser = self.log_ent_coef, self.ent_coef_optimizer
        if log_weight is None or weight_optimiser is None or self.use_sde:
            raise ValueError("only learned entropy coefficients and independent noise are supported")
        kept = self._kept
        if kept is None or not all(part.intact() for part in kept[:3]):
            actor = self.actor
            heads: list[Any] = [actor.mu, actor.log_std]
            parts = (
                Network([actor.latent_pi], actor.optimizer, heads),
                Network(self.critic.q_networks, self.critic.optimizer),
                Adam(weight_optimiser, [log_weight]),
            )
            kept = self._kept = _Kept(*parts, *self._updates(Updates(*parts, float(self.target_entropy))))
        return kept

    def _updates(self, updates: Updates) -> tuple[Callable[..., None], Callable[..., None]]:
        """The critics' and the actor's, compiled at their first call if that is asked for."""
        if self.compiled:
            return Graph(updates.update_critics), Graph(updates.update_actor)
        return updates.update_critics, updates.update_actor


def make_crossq(
    env: TaskConditionedVecEnv,
    *,
    seed: int,
    buffer_size: int,
    learning_rate: float,
    updates: int,
    relabelled: float,
    compiled: bool = False,
) -> HandDifferentiatedCrossQ:
    """A learner.

    Args:
        env: the environment to learn from.
        seed: seed of networks, replay and exploration.
        buffer_size: transitions that are kept.
        learning_rate: learning rate of all networks.
        updates: gradient steps per step of the vector environment.
        relabelled: share of a batch that is relabelled with another task; 0 unless the family can relabel.
        compiled: compile the updates first.
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
            "optimizer_kwargs": {"betas": (0.5, 0.999)},
        },
        seed=seed,
        device="cpu",
        replay_buffer_class=RelabellingReplayBuffer if relabelled else None,
        replay_buffer_kwargs=(
            {"conditioning": env.conditioning, "share": relabelled, "seed": seed} if relabelled else None
        ),
    )
    learner.compiled = compiled
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
