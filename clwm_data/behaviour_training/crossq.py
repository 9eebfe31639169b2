"""CrossQ (Bhatt et al. 2024) of sb3-contrib, made fast on a CPU, and its policy exported to plain arrays."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import CrossQ
from sb3_contrib.common.torch_layers import BatchRenorm1d
from sb3_contrib.crossq.policies import Actor, CrossQCritic, CrossQPolicy
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from clwm_data.behaviour_training.relabelling import RelabellingReplayBuffer
from clwm_data.behaviour_training.vec_env import TaskConditionedVecEnv


class _Renormalise(torch.autograd.Function):
    """y = scale * (r * (x - mean) / std + d) + bias over a batch, differentiated by hand.

    PyTorch's own kernels are made for images and slow for vectors on a CPU, and automatic differentiation of
    this expression makes more passes over the data.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centred: Tensor, std: Tensor, scale: Tensor, bias: Tensor, r: Tensor, d: Tensor
    ) -> Tensor:
        """y [B, features] of x and centred = x - mean [B, features]; everything else [features].

        Eight parameters: autograd has to receive every tensor that it differentiates by itself.
        """
        gain = scale * r / std
        ctx.save_for_backward(centred, std, gain, r, d)
        return torch.addcmul(scale * d + bias, centred, gain)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients with respect to x (also through mean and std), scale and bias."""
        gradient = gradients[0]
        centred, std, gain, r, d = ctx.saved_tensors
        total = gradient.sum(0)
        along = (gradient * centred).sum(0)
        count = len(gradient)
        inputs = torch.addcmul(total * gain / -count, gradient, gain)
        inputs.addcmul_(centred, along * gain / (std.square() * (1 - count)))
        return inputs, None, None, along * r / std + total * d, total, None, None


class FastBatchRenorm1d(BatchRenorm1d):
    """sb3-contrib's batch renormalisation (Ioffe 2017) in fewer passes over the data."""

    ra_mean: Tensor
    ra_var: Tensor
    steps: Tensor
    scale: nn.Parameter
    bias: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, features]; training mode also uses and updates the running statistics."""
        if not self.training:
            gain = self.scale / (self.ra_var + self.eps).sqrt()
            return torch.addcmul(self.bias - gain * self.ra_mean, x, gain)
        r, d = torch.ones_like(self.ra_mean), torch.zeros_like(self.ra_mean)
        with torch.no_grad():
            mean = x.mean(0)
            centred = x - mean
            var = centred.square().sum(0).div_(len(x) - 1)
            std = (var + self.eps).sqrt()
            if self.steps > self.warmup_steps:
                running_std = (self.ra_var + self.eps).sqrt()
                r = (std / running_std).clamp_(1 / self.rmax, self.rmax)
                d = ((mean - self.ra_mean) / running_std).clamp_(-self.dmax, self.dmax)
            self.ra_mean.lerp_(mean, self.momentum)
            self.ra_var.lerp_(var, self.momentum)
            self.steps += 1
        result: Tensor = _Renormalise.apply(x, centred, std, self.scale, self.bias, r, d)  # type: ignore[no-untyped-call]
        return result


class FastCrossQPolicy(CrossQPolicy):
    """Actor and critics with :class:`FastBatchRenorm1d`."""

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """See the base class."""
        return _quick(super().make_actor(features_extractor))

    def make_critic(self, features_extractor: Any = None) -> CrossQCritic:
        """See the base class."""
        return _quick(super().make_critic(features_extractor))


Net = TypeVar("Net", bound=nn.Module)

#: Environment steps of random actions that fill the replay buffer first.
LEARNING_STARTS = 2_000


def _quick(module: Net) -> Net:
    for child in module.modules():
        if type(child) is BatchRenorm1d:
            child.__class__ = FastBatchRenorm1d  # same parameters and buffers, another forward
    return module


def make_crossq(
    env: TaskConditionedVecEnv,
    *,
    seed: int,
    buffer_size: int,
    learning_rate: float,
    updates: int,
    relabelled: float,
) -> CrossQ:
    """A learner with 256 x 256 networks.

    Args:
        env: the environment to learn from.
        seed: seed of networks, replay and exploration.
        buffer_size: transitions that are kept.
        learning_rate: learning rate of all networks.
        updates: gradient steps per step of the vector environment.
        relabelled: share of a batch that is relabelled with another task; 0 unless the family can relabel.
    """
    learner = CrossQ(
        FastCrossQPolicy,
        env,
        learning_rate=learning_rate,
        buffer_size=buffer_size,
        learning_starts=LEARNING_STARTS,
        gradient_steps=updates,
        # From the usual 1.0, it takes 10k environment steps to decrease to where learning begins.
        ent_coef="auto_0.1",
        policy_kwargs={
            "net_arch": [256, 256],
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
    norms: list[FastBatchRenorm1d] = []
    linears: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for module in actor.latent_pi:
        if isinstance(module, FastBatchRenorm1d):
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
