"""InfoNCE beyond the twenty tasks of the bundled datasets: exact, and as quick with thousands."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from clwm_train.config import InfoNCEConfig
from clwm_train.objectives import InfoNCE
from tests.train.objectives.test_objectives import representation, sizes

aten = torch.ops.aten
PRODUCTS = (aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default)


class Tf32(TorchDispatchMode):
    """Matrix products round their factors to the 10 bits of TF32's mantissa."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            self.products += 1
            args = tuple(rounded(x) if isinstance(x, Tensor) else x for x in args)
        return func(*args, **(kwargs or {}))


def rounded(x: Tensor) -> Tensor:
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def over_all_tasks(z: Tensor, task: Tensor, mean: Tensor, seen: Tensor, config: InfoNCEConfig) -> Tensor:
    """One seed in double precision: every task a query, those that are absent left out at the end."""
    mean = mean.clone()
    present = sorted(set(task.tolist()))
    query = torch.stack([z[task == i].mean(0) for i in present])
    for i, new in zip(present, query.detach(), strict=True):
        mean[i] = torch.lerp(mean[i], new, config.tau) if seen[i] else new
    known = sorted({*seen.nonzero().flatten().tolist(), *present})
    logits = -torch.cdist(query, mean[known], compute_mode="donot_use_mm_for_euclid_dist") / config.radius
    own = torch.tensor([known.index(i) for i in present])
    return functional.cross_entropy(logits, own)


@pytest.mark.parametrize("tasks", [5, 26, 4000])
def test_losses_and_gradients_are_those_over_all_tasks(tasks: int) -> None:
    config = InfoNCEConfig(radius=0.3, tau=0.1)
    generator = torch.Generator().manual_seed(tasks)
    objective = InfoNCE(config, sizes(seeds=2, tasks=tasks, z=5))
    for _ in range(4):
        task = torch.randint(0, tasks, (2, 16), generator=generator)
        task[:, 1] = task[:, 0]
        z = torch.randn(2, 16, 5, generator=generator).tanh().requires_grad_()
        mean, seen = objective.mean.double(), objective.seen.clone()
        loss, _ = objective(representation(z, task.tolist()))
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        exact = z.detach().double().requires_grad_()
        expected = torch.stack([over_all_tasks(exact[s], task[s], mean[s], seen[s], config) for s in (0, 1)])
        torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)
        (wanted,) = torch.autograd.grad(expected.sum(), exact)
        torch.testing.assert_close(
            gradient.double(), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())
        )


def test_the_first_meta_batch_has_finite_gradients() -> None:
    """Every query then lies on its own mean, where the distance has no derivative."""
    objective = InfoNCE(InfoNCEConfig(radius=1.0), sizes(tasks=30, z=5))
    z = torch.randn(1, 8, 5, requires_grad=True)
    loss, _ = objective(representation(z, [list(range(8))]))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert torch.isfinite(gradient).all()


def test_distances_are_exact_whatever_matrix_products_round() -> None:
    """Neighbours 0.05 apart, far from the origin: in TF32's products their distance would be anything."""
    tasks, apart = 40, 0.05
    place = torch.arange(tasks, dtype=torch.float32).unsqueeze(-1) * torch.tensor([apart, 0.0, 0.0])
    place = place + torch.tensor([0.0, 0.9, -0.9])
    with Tf32() as products:
        wrong = torch.sqrt((place.square().sum(-1, keepdim=True) * 2 - 2 * place @ place.T).clamp(min=0.0))
        assert products.products > 0
        assert abs(float(wrong[10, 10])) > 0.01, "the emulation does not round"
        objective = InfoNCE(InfoNCEConfig(radius=1.0), sizes(tasks=tasks, z=3))
        objective.mean[0], objective.seen[:] = place, True
        before = products.products
        loss, figures = objective(representation(place[None, 10:11], [[10]]))
        assert products.products == before
    distance = [apart * abs(10 - other) for other in range(tasks)]
    expected = math.log(sum(math.exp(-d) for d in distance))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(figures["accuracy"]) == 1.0


def test_an_update_touches_the_rows_of_its_tasks_alone() -> None:
    objective = InfoNCE(InfoNCEConfig(tau=0.5), sizes(tasks=1000, z=2))
    objective.mean.fill_(3.0)
    objective.seen[0, :500] = True
    objective(representation(torch.ones(1, 4, 2), [[7, 7, 600, 9]]))
    changed = (objective.mean[0] != 3.0).any(-1).nonzero().flatten().tolist()
    assert changed == [7, 9, 600]
    assert objective.mean[0, [7, 9, 600]].tolist() == [[2.0, 2.0], [2.0, 2.0], [1.0, 1.0]]
    assert objective.seen[0].sum() == 501
