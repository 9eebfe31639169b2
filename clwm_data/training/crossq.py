"""CrossQ (Bhatt et al. 2024) of sb3-contrib, made quick on a CPU, and its policy exported to plain arrays."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import CrossQ
from sb3_contrib.common.torch_layers import BatchRenorm1d
from sb3_contrib.crossq.policies import Actor, CrossQCritic, CrossQPolicy
from torch import Tensor, nn


class _Standardise(torch.autograd.Function):
    """x [B, features] minus the batch's mean, over its (unbiased) standard deviation; differentiated by hand.

    PyTorch's own kernels are built for images: on a CPU they take ten times as long for vectors.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """The standardised x, and the mean and variance [features] of the batch (without gradients)."""
        mean = x.mean(dim=0)
        standardised = x - mean
        var = standardised.square().sum(dim=0).div_(len(x) - 1)
        std = (var + eps).sqrt_()
        standardised.div_(std)
        ctx.save_for_backward(standardised, std)
        ctx.mark_non_differentiable(mean, var)
        return standardised, mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Through the mean and the variance as well."""
        gradient = gradients[0]
        standardised, std = ctx.saved_tensors
        along = (gradient * standardised).sum(dim=0).div_(len(gradient) - 1)
        result = torch.addcmul(gradient, standardised, along, value=-1.0)
        return result.sub_(gradient.mean(dim=0)).div_(std), None


class FastBatchRenorm1d(BatchRenorm1d):
    """sb3-contrib's batch renormalisation (Ioffe 2017) in fewer passes over the data."""

    ra_mean: Tensor
    ra_var: Tensor
    steps: Tensor
    scale: nn.Parameter
    bias: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, features]; in training mode with, and into, the running statistics."""
        if not self.training:
            gain = self.scale / (self.ra_var + self.eps).sqrt()
            return torch.addcmul(self.bias - gain * self.ra_mean, x, gain)
        standardised, mean, var = _Standardise.apply(x, self.eps)  # type: ignore[no-untyped-call]
        scale: Tensor = self.scale
        bias: Tensor = self.bias
        if self.steps > self.warmup_steps:
            with torch.no_grad():
                running_std = (self.ra_var + self.eps).sqrt()
                r = ((var + self.eps).sqrt() / running_std).clamp(1 / self.rmax, self.rmax)
                d = ((mean - self.ra_mean) / running_std).clamp(-self.dmax, self.dmax)
            scale, bias = self.scale * r, self.scale * d + self.bias
        self.ra_mean.lerp_(mean, self.momentum)
        self.ra_var.lerp_(var, self.momentum)
        self.steps += 1
        return torch.addcmul(bias, standardised, scale)


class FastCrossQPolicy(CrossQPolicy):
    """Actor and critics with :class:`FastBatchRenorm1d`."""

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """See the base class."""
        return _quick(super().make_actor(features_extractor))

    def make_critic(self, features_extractor: Any = None) -> CrossQCritic:
        """See the base class."""
        return _quick(super().make_critic(features_extractor))


Net = TypeVar("Net", bound=nn.Module)


def _quick(module: Net) -> Net:
    for child in module.modules():
        if type(child) is BatchRenorm1d:
            child.__class__ = FastBatchRenorm1d  # same parameters and buffers, another forward
    return module


def make_crossq(env: Any, *, seed: int, buffer_size: int, learning_rate: float, updates: int) -> CrossQ:
    """A learner with 256 x 256 networks.

    Args:
        env: SB3 vector environment.
        seed: of networks, replay and exploration.
        buffer_size: transitions that are kept.
        learning_rate: of all networks.
        updates: gradient steps per step of the vector environment.
    """
    return CrossQ(
        FastCrossQPolicy,
        env,
        learning_rate=learning_rate,
        buffer_size=buffer_size,
        learning_starts=2_000,
        gradient_steps=updates,
        # From the usual 1.0 it takes 10k environment steps to come down to where learning begins.
        ent_coef="auto_0.1",
        policy_kwargs={
            "net_arch": [256, 256],
            "optimizer_kwargs": {"betas": (0.5, 0.999), "fused": True},
        },
        seed=seed,
        device="cpu",
    )


def policy_tensors(actor: Actor) -> dict[str, NDArray[np.float32]]:
    """The actor's weights as :class:`clwm_data.zoo.policy.LearnedPolicy` takes them.

    Each batch norm in front of a linear layer is folded into it; of the first one, the mean and the
    deviation stay apart, as the normalisation of the inputs.
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
