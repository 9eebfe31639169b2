"""Updates of CrossQ beside those of sb3-contrib itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import CrossQ
from sb3_contrib.common.torch_layers import BatchRenorm1d
from torch import Tensor

from clwm_data.behaviour_training import crossq
from clwm_data.behaviour_training.crossq import make_crossq
from clwm_data.behaviour_training.flat import Adam
from clwm_data.behaviour_training.graph import Graph
from clwm_data.behaviour_training.updates import adam
from clwm_data.behaviour_training.vec_env import TaskConditionedVecEnv
from clwm_data.families import get_family
from tests.train.helpers import COMPILER


def filled_learner() -> Any:
    """A learner that has not learned yet, in double precision, with what its first random actions brought."""
    env = TaskConditionedVecEnv(get_family("hopper-mass"), range(4), 4, seed=0)
    learner = make_crossq(env, seed=0, buffer_size=4_000, learning_rate=1e-3, updates=1, relabelled=0.0)
    learner.learning_starts = 600
    learner.learn(500)
    learner.policy.double()
    learner.log_ent_coef.data = learner.log_ent_coef.data.double()
    buffer: Any = learner.replay_buffer
    for name in ("observations", "next_observations", "actions", "rewards", "dones"):
        setattr(buffer, name, getattr(buffer, name).astype(np.float64))
    with torch.no_grad():
        for number, parameter in enumerate(learner.policy.parameters()):
            generator = torch.Generator().manual_seed(number)  # gains and biases that are not all 1 and 0
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return learner


def forward_of_the_paper(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Batch renormalisation in training as in Ioffe (2017), algorithm 1, for autograd."""

    def forward(module: Any, x: Tensor) -> Tensor:
        if not module.training:
            return original(module, x)
        mean, std = x.mean(0), (x.var(0) + module.eps).sqrt()
        r, d = torch.ones(()), torch.zeros(())
        if module.steps > module.warmup_steps:
            running = (module.ra_var + module.eps).sqrt()
            r = (std / running).detach().clamp(1 / module.rmax, module.rmax)
            d = ((mean - module.ra_mean) / running).detach().clamp(-module.dmax, module.dmax)
        with torch.no_grad():
            module.ra_mean += module.momentum * (mean - module.ra_mean)
            module.ra_var += module.momentum * (x.var(0) - module.ra_var)
            module.steps += 1
        return module.scale * ((x - mean) / std * r + d) + module.bias

    return forward


@pytest.mark.parametrize("warmup", [3, 100])  # of the running statistics; the library's own form within it
def test_updates_are_the_librarys(warmup: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The library rounds observations to single precision.
    monkeypatch.setattr("stable_baselines3.common.policies.preprocess_obs", lambda obs, *_, **__: obs)
    if warmup < 7:
        monkeypatch.setattr(BatchRenorm1d, "forward", forward_of_the_paper(BatchRenorm1d.forward))
    ours, theirs = filled_learner(), filled_learner()
    for learner, train in ((ours, type(ours).train), (theirs, CrossQ.train)):
        for module in learner.policy.modules():
            if hasattr(module, "warmup_steps"):
                module.warmup_steps = warmup
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (the library's replay buffer draws with it)
        train(learner, gradient_steps=7, batch_size=32)
    assert ours._n_updates == theirs._n_updates == 7
    expected = theirs.policy.state_dict()
    before = filled_learner().policy.state_dict()
    for name, value in ours.policy.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7, msg=name)
        assert "warmup" in name or not torch.equal(value, before[name]), name
    for network in ("actor", "critic"):  # the moments have the gradients' scale, which the parameters hide
        states = [getattr(learner, network).optimizer.state_dict()["state"] for learner in (ours, theirs)]
        assert states[0].keys() == states[1].keys()
        for number, moments in states[1].items():
            for name, moment in moments.items():
                torch.testing.assert_close(states[0][number][name], moment, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(ours.log_ent_coef, theirs.log_ent_coef, rtol=1e-6, atol=1e-7)
    assert not torch.equal(ours.log_ent_coef, filled_learner().log_ent_coef)


def test_training_goes_on_with_tensors_that_were_replaced() -> None:
    learner = filled_learner()
    learner.train(gradient_steps=3, batch_size=32)
    for tensor in [*learner.policy.parameters(), *learner.policy.buffers()]:
        tensor.data = tensor.data.clone()
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    learner.train(gradient_steps=3, batch_size=32)
    for name, value in learner.policy.state_dict().items():
        assert not torch.equal(value, before[name]), name


def test_adam_is_torchs() -> None:
    """Of several tensors, with a learning rate that changes, taken over from the optimiser and given back."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.ones(size)) for size in ((3, 2), (4,))] for _ in range(2))
    optimisers = [torch.optim.Adam(each, lr=1e-2, betas=(0.5, 0.999), eps=1e-3) for each in (ours, theirs)]

    def learn(optimiser: torch.optim.Adam, parameters: list[torch.nn.Parameter], scale: float) -> None:
        for parameter in parameters:
            parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
        optimiser.step()

    for each, optimiser in zip((ours, theirs), optimisers, strict=True):
        generator.manual_seed(0)
        learn(optimiser, each, 1.0)
    settings = Adam(optimisers[0], ours)
    for number in range(5):
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = 1e-2 / (1 + number)
        learn(optimisers[1], theirs, 10.0**-number)
        with torch.no_grad():
            gradients = [parameter.grad for parameter in theirs]
            adam(settings.arrays, gradients, settings.rates(), settings)
    assert settings.intact()
    for each, optimiser in zip((ours, theirs), optimisers, strict=True):
        generator.manual_seed(1)
        learn(optimiser, each, 1.0)
    states = [optimiser.state_dict()["state"] for optimiser in optimisers]
    for number, (mine, expected) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(mine, expected)
        assert not torch.equal(mine, torch.ones_like(mine))
        for name in ("step", "exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(states[0][number][name], states[1][number][name])


@pytest.mark.parametrize("options", [{"weight_decay": 0.1}, {"amsgrad": True}, {"maximize": True}])
def test_other_forms_of_adam_are_refused(options: dict[str, Any]) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="only Adam without"):
        Adam(torch.optim.Adam([parameter], **options), [parameter])


@COMPILER
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_compiled_updates_are_the_updates(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with batches of another size, which make another graph, and of the first size again."""
    monkeypatch.setattr(crossq, "Graph", partial(Graph, backend=backend))
    learners = filled_learner(), filled_learner()
    learners[1].compiled = True
    for learner in learners:
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (the library's replay buffer draws with it)
        for size in (32, 24, 32) if backend == "eager" else (32,):
            learner.train(gradient_steps=4, batch_size=size)
    plain, compiled = (learner.policy.state_dict() for learner in learners)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-6, atol=1e-9, msg=name)
    torch.testing.assert_close(learners[1].log_ent_coef, learners[0].log_ent_coef)
