"""An update asks nothing of the host: tensors of the "meta" device stand in for a GPU's.

They have shapes and no numbers, so whatever waits for a number (``item``, ``tolist``, a condition, indices of
what is true, a copy to the host) raises; so does code that chooses what is made for CPUs alone.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import TaskData, load_task_data
from clwm_train.kernels.streams import Noise, RandomStreams
from clwm_train.methods.listing import list_methods
from clwm_train.model.agent import Agent
from clwm_train.training.clipping import clip_by_seed
from clwm_train.training.learner import Learner
from clwm_train.training.meter import Meter
from tests.train.helpers import random_task, small_config

DEVICE = torch.device("meta")
TASKS = {index: random_task(index, [4, 2, 1, 5]) for index in range(3)}


class OneDevice(TorchDispatchMode):
    """Refuses operations that touch tensors in the host's memory."""

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        result = function(*arguments, **(options or {}))
        for leaf in tree_leaves((arguments, options, result)):
            if isinstance(leaf, Tensor) and leaf.device != DEVICE:
                raise AssertionError(f"{function} touches a tensor {tuple(leaf.shape)} on {leaf.device}")
        return result


class NothingCopied(TorchFunctionMode):
    """Refuses tensors of the host's numbers, which are copied to the device one by one."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        if function in (torch.tensor, torch.as_tensor, torch.from_numpy):
            raise AssertionError(f"{function} takes numbers of the host")
        return function(*arguments, **(options or {}))


class Undrawn(Noise):
    """Numbers of the device, whose generators this build of torch may lack."""

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(2, *shape, dtype=dtype, device=DEVICE)


@pytest.fixture(autouse=True)
def without_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RandomStreams, "at", lambda *_: Undrawn())


def on_device(data: TaskData) -> TaskData:
    moved = {
        field.name: getattr(data, field.name).to(DEVICE)
        for field in fields(data)
        if isinstance(getattr(data, field.name), Tensor)
    }
    return replace(data, **moved)


def update(method: str, *overrides: str, compiles: bool = False, before_iql: Any = None) -> None:
    """Four updates of two seeds, with everything on the device."""
    config = small_config(method, "tiny", *overrides)
    data = load_task_data(TASKS, config.data)
    agent = Agent(config, [0, 1], 2, 2, np.eye(4, dtype=np.float32))
    learner = Learner(config, agent, list(TASKS), compiles=compiles, backend="aot_eager").to(DEVICE)
    for optimiser in learner.optimisers.values():  # fused ones are torch's own, and know real devices alone
        optimiser.step = lambda: None
    if before_iql is not None:
        losses = learner._backbone
        learner._backbone = lambda *inputs: (before_iql(inputs[2]), losses(*inputs))[1]
    next_observation = agent.next_observation
    sampler = TaskBatchSampler(on_device(data), config.batch, [0, 1], next_observation=next_observation)
    streams, meter = RandomStreams([0, 1], DEVICE), Meter()
    # Under torch.compile neither mode works; it refuses reads and a mixture of devices itself.
    with nullcontext() if compiles else NothingCopied(), nullcontext() if compiles else OneDevice():
        for step in range(4):
            meter.add(learner.update(sampler.batch(step), step, streams), step)


@pytest.mark.parametrize("method", [method.name for method in list_methods()])
def test_an_update_stays_on_the_device(method: str) -> None:
    update(method)


def test_clipping_stays_on_the_device() -> None:
    parameters = [torch.nn.Parameter(torch.empty(4, 1, size, device=DEVICE)) for size in (3, 5)]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    with NothingCopied(), OneDevice():
        clip_by_seed(parameters, 2, 1.0)


def test_an_update_in_bf16_stays_on_the_device() -> None:
    update("spc", "precision=bf16")


@pytest.mark.filterwarnings("ignore:.*an autograd kernel was not registered:UserWarning")
def test_a_graph_stays_on_the_device() -> None:
    update("spc", compiles=True)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda z: z.sum().item(),
        lambda z: z[z > 0],
        lambda z: z.cpu(),
        lambda z: z * torch.ones(z.shape),
        lambda z: z * torch.tensor(2.0, device=z.device),
        lambda z: torch.as_tensor([1.0], device=z.device),
        lambda z: torch.zeros(3).to(z.device),
    ],
)
def test_leaving_the_device_would_be_seen(mistake: Any) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        update("spc", before_iql=mistake)
