from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from clwm_train.config import FocalConfig, InfoNCEConfig, TemporalConsistencyConfig
from clwm_train.data.sampler import TaskBatch
from clwm_train.kernels.streams import Draws, Purpose, RandomStreams
from clwm_train.objectives import Focal, InfoNCE, Objective, Representation, Sizes, TemporalConsistency
from clwm_train.objectives.infonce import merge_by_task


def representation(z: Tensor, task: list[list[int]], **batch: Tensor) -> Representation:
    """A representation for objectives that look at z and the tasks alone."""
    empty = torch.zeros(0)
    fields = {
        name: batch.get(name, empty)
        for name in ("context", "observation", "action", "reward", "terminated", "mask")
    }
    draws = RandomStreams([0] * len(z)).at(Purpose.LATENT_NOISE)
    return Representation(TaskBatch(torch.tensor(task), **fields), z.unsqueeze(-2), z, None, None, draws)


def sizes(*, seeds: int = 1, tasks: int, z: int) -> Sizes:
    return Sizes(tuple(range(seeds)), tasks, observation=2, action=2, z=z)


def focal_by_hand(z: np.ndarray, task: list[int]) -> float:
    same, different = [], []
    for i in range(len(task)):
        for j in range(i):
            d = np.mean((z[i] - z[j]) ** 2)
            if task[i] == task[j]:
                same.append(np.sqrt(d + 1e-3))
            else:
                different.append(1.0 / (d + 0.1))
    return float((np.mean(same) if same else 0.0) + (np.mean(different) if different else 0.0))


@pytest.mark.parametrize("task", [[0, 1, 2, 3], [0, 1, 0, 1], [2, 2, 2, 2], [0, 3, 3, 1]])
def test_focal_is_the_mean_over_pairs(task: list[int]) -> None:
    z = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    loss, _ = Focal(FocalConfig(weight=2.0))(representation(z, [task, [0, 1, 2, 2]]))
    expected = [2.0 * focal_by_hand(z[0].numpy(), task), 2.0 * focal_by_hand(z[1].numpy(), [0, 1, 2, 2])]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5)


def test_focal_gradient_is_finite_where_representations_coincide() -> None:
    z = torch.zeros(1, 3, 2, requires_grad=True)
    loss, _ = Focal(FocalConfig())(representation(z, [[0, 0, 1]]))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert torch.isfinite(gradient).all()


class SlowInfoNCE:
    """One seed, dictionaries and loops."""

    def __init__(self, radius: float, tau: float) -> None:
        self.radius, self.tau = radius, tau
        self.mean: dict[int, np.ndarray] = {}

    def loss(self, z: np.ndarray, task: list[int]) -> float:
        queries = {i: np.mean([z[t] for t in range(len(task)) if task[t] == i], axis=0) for i in set(task)}
        for i, query in queries.items():
            old = self.mean.get(i, query)
            self.mean[i] = (1 - self.tau) * old + self.tau * query
        errors = []
        for i, query in queries.items():
            logit = {j: -np.linalg.norm(query - mean) / self.radius for j, mean in self.mean.items()}
            errors.append(-logit[i] + np.log(sum(np.exp(value) for value in logit.values())))
        return float(np.mean(errors))


def test_infonce_is_the_slow_one_over_several_updates() -> None:
    generator = torch.Generator().manual_seed(1)
    fast = InfoNCE(InfoNCEConfig(radius=0.5, tau=0.3, weight=1.5), sizes(seeds=2, tasks=6, z=3))
    slow = [SlowInfoNCE(0.5, 0.3), SlowInfoNCE(0.5, 0.3)]
    for _ in range(6):
        task = torch.randint(0, 6, (2, 5), generator=generator)
        z = torch.randn(2, 5, 3, generator=generator)
        loss, _ = fast(representation(z, task.tolist()))
        expected = [1.5 * s.loss(z[i].double().numpy(), task[i].tolist()) for i, s in enumerate(slow)]
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-4)
    for i, s in enumerate(slow):
        for task_index, mean in s.mean.items():
            np.testing.assert_allclose(fast.mean[i, task_index].numpy(), mean, rtol=1e-4, atol=1e-6)
        assert fast.seen[i].nonzero().flatten().tolist() == sorted(s.mean)


def test_infonce_merges_duplicates_and_counts_the_positive_once() -> None:
    """Doubling a meta-batch changes nothing; a single known task has nothing to be told from."""
    z = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0))

    def loss(z: Tensor, task: list[int]) -> float:
        objective = InfoNCE(InfoNCEConfig(radius=1.0), sizes(tasks=4, z=2))
        return float(objective(representation(z, [task]))[0])

    assert loss(torch.cat([z, z], 1), [0, 1, 3, 0, 1, 3]) == pytest.approx(loss(z, [0, 1, 3]), rel=1e-5)
    assert loss(z, [2, 2, 2]) == pytest.approx(0.0, abs=1e-6)


def test_infonce_with_the_published_radius_is_almost_flat() -> None:
    """20 tasks, z in [-1, 1]^5: between 2.95 and 3.04, as docs/methods.md says, and about log 20 for corners.

    At best the own running mean is at the query and the others are in the opposite corner; at worst the other
    way around.
    """
    corner = torch.ones(1, 1, 5)
    for own, value in ((1.0, 2.95), (-1.0, 3.04)):
        objective = InfoNCE(InfoNCEConfig(tau=1e-9), sizes(tasks=20, z=5))
        objective.mean[:] = -own
        objective.mean[:, 3] = own
        objective.seen[:] = True
        loss = float(objective(representation(corner, [[3]]))[0])
        assert loss == pytest.approx(np.log1p(19 * np.exp(-own * 2 * np.sqrt(5) / 100)), abs=1e-5)
        assert round(loss, 2) == value
    objective = InfoNCE(InfoNCEConfig(), sizes(tasks=20, z=5))
    corners = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(0)).sign()
    assert float(objective(representation(corners, [list(range(20))]))[0]) == pytest.approx(
        np.log(20), abs=0.05
    )


def test_infonce_reaches_the_queries_and_not_the_means() -> None:
    objective = InfoNCE(InfoNCEConfig(radius=1.0), sizes(tasks=3, z=2))
    z = torch.randn(1, 3, 2, requires_grad=True)
    loss, _ = objective(representation(z, [[0, 1, 2]]))
    loss.sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    assert not objective.mean.requires_grad
    assert list(objective.parameters()) == []


def test_merge_by_task() -> None:
    z = torch.tensor([[[1.0], [3.0], [10.0]]])
    mean, count = merge_by_task(z, torch.tensor([[2, 2, 0]]))
    assert mean.tolist() == [[[2.0], [2.0], [10.0]]]
    assert count.tolist() == [[2.0, 2.0, 1.0]]


class FakePrediction:
    """Codes are numbers; the dynamics add 1, so that the error of step t shows which code it started from."""

    def loss(self, output: Tensor, code: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs().mean(-1)

    def loss_and_advance(
        self, output: Tensor, code: Tensor, target: Tensor, noise: Draws
    ) -> tuple[Tensor, Tensor]:
        return self.loss(output, code, target), output


class FakeModel:
    prediction = FakePrediction()

    def encode_target(self, observation: Tensor) -> Tensor:
        return observation

    def inputs(self, code: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return code

    def dynamics(self, inputs: Tensor) -> Tensor:
        return inputs + 1.0

    def reward_error(self, inputs: Tensor, reward: Tensor) -> Tensor:
        return (inputs[..., 0] * 10.0 - reward).square()

    def termination(self, inputs: Tensor) -> None:
        return None


def test_temporal_consistency_rolls_open_loop_and_weighs_steps() -> None:
    """One window of 4 steps from code 0: codes 1, 2, 3 are predicted, targets 0; rewards 0, 10, 20 against 1.

    The termination at step 2 and the padding at step 3 carry no weight, so the average is over 2 steps.
    """
    batch = TaskBatch(
        task=torch.zeros(1, 1, dtype=torch.int64),
        context=torch.zeros(0),
        observation=torch.zeros(1, 1, 1, 5, 1),
        action=torch.zeros(1, 1, 1, 4, 1),
        reward=torch.ones(1, 1, 1, 4),
        terminated=torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 1, 4),
        mask=torch.tensor([1.0, 1.0, 1.0, 0.0]).view(1, 1, 1, 4),
    )
    draws = RandomStreams([0]).at(Purpose.LATENT_NOISE)
    z = torch.zeros(1, 1, 2)
    inputs = Representation(batch, z.unsqueeze(-2), z, FakeModel(), torch.zeros(1, 1, 1, 1), draws)  # type: ignore[arg-type]
    config = TemporalConsistencyConfig(weight=3.0, reward_weight=0.5, rho=0.9)
    loss, figures = TemporalConsistency(config)(inputs)
    consistency = (1.0 + 0.9 * 2.0) / 2
    reward = (1.0 + 0.9 * 81.0) / 2
    assert figures["consistency"].item() == pytest.approx(consistency)
    assert figures["reward"].item() == pytest.approx(reward)
    assert loss.item() == pytest.approx(3.0 * (consistency + 0.5 * reward))


def test_objectives_report_unweighted_figures_per_seed() -> None:
    z = torch.randn(3, 4, 2)
    objectives: list[Objective] = [
        Focal(FocalConfig(weight=7.0)),
        InfoNCE(InfoNCEConfig(weight=7.0), sizes(seeds=3, tasks=4, z=2)),
    ]
    for objective in objectives:
        loss, figures = objective(representation(z, [[0, 1, 2, 3]] * 3))
        assert loss.shape == (3,)
        assert all(figure.shape == (3,) and not figure.requires_grad for figure in figures.values())
