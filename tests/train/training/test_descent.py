"""Steps by the kernel alone are the optimiser's own, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from clwm_train.training.descent import Descent

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

WAYS: dict[str, Make] = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.8, 0.95), eps=1e-5, fused=True),
    "adam with decay": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, fused=True),
    "two groups": lambda p: torch.optim.AdamW(
        [{"params": p[:1], "lr": 3e-3}, {"params": p[1:], "weight_decay": 0.3}], lr=1e-2, fused=True
    ),
    # What the kernel does not know.
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True, fused=True),
    "not fused": lambda p: torch.optim.Adam(p, lr=1e-2),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
}


class Pair:
    """The same parameters twice: one learns by its optimiser, the other by its descent."""

    def __init__(self, make: Make) -> None:
        torch.manual_seed(0)
        self.theirs = [nn.Parameter(torch.randn(size)) for size in [(3, 4, 5), (7,), (2, 2)]]
        self.ours = [nn.Parameter(each.detach().clone()) for each in self.theirs]
        self.optimisers = [make(self.theirs), make(self.ours)]
        self.descent = Descent(self.optimisers[1])

    def learn(self, number: int, without: tuple[int, ...] = ()) -> None:
        generator = torch.Generator().manual_seed(number)
        self.optimisers[0].zero_grad(set_to_none=True)
        self.descent.clear()
        for place, (theirs, ours) in enumerate(zip(self.theirs, self.ours, strict=True)):
            gradient = torch.randn(theirs.shape, generator=generator)
            if place not in without:
                theirs.grad, ours.grad = gradient, gradient.clone()
        self.optimisers[0].step()
        self.descent.step()

    def check(self) -> None:
        for theirs, ours in zip(self.theirs, self.ours, strict=True):
            assert torch.equal(theirs, ours)
        states = [optimiser.state_dict()["state"] for optimiser in self.optimisers]
        assert states[0].keys() == states[1].keys()
        for place, fields in states[0].items():
            assert fields.keys() == states[1][place].keys()
            for name, value in fields.items():
                assert value is None or torch.equal(value, states[1][place][name]), (place, name)


@pytest.mark.parametrize("way", WAYS)
def test_weights_and_state_are_the_optimisers(way: str) -> None:
    pair = Pair(WAYS[way])
    for number in range(5):
        for optimiser in pair.optimisers:  # as the decay of learning rates does
            for group in optimiser.param_groups:
                group["lr"] *= 0.9
        pair.learn(number)
        pair.check()


@pytest.mark.parametrize("way", ["adam", "two groups"])
def test_a_parameter_without_a_gradient_stays(way: str) -> None:
    """And its count, too, whichever way the steps around it were made."""
    pair = Pair(WAYS[way])
    for number, without in enumerate([(1,), (), (), (0, 2), (), (1,), ()]):
        pair.learn(number, without)
        pair.check()


def test_another_state_is_taken_up() -> None:
    """As resuming puts it there, tensor by tensor."""
    pair = Pair(WAYS["two groups"])
    for number in range(3):
        pair.learn(number)
    for optimiser in pair.optimisers:
        for parameter, fields in optimiser.state.items():
            changed: dict[str, Any] = copy.deepcopy(fields)
            changed["exp_avg"] += 1.0
            changed["step"] += 10.0
            optimiser.state[parameter] = changed
    for number in range(3, 6):
        pair.learn(number)
        pair.check()


def test_the_kernel_is_what_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(WAYS["adam"])
    pair.learn(0)  # makes the moments
    monkeypatch.setattr(pair.optimisers[1], "step", lambda: pytest.fail("by the optimiser"))
    pair.learn(1)
    pair.check()
