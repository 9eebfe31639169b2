from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clwm_data.errors import ClwmError
from clwm_train.config import BatchConfig, DataConfig
from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import TaskData, load_task_data
from tests.train.helpers import MemoryTask, random_task

EPISODES = st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=4)


@st.composite
def datasets(draw: st.DrawFn) -> dict[int, MemoryTask]:
    splits = draw(st.lists(st.sampled_from(["train", "id", "ood"]), min_size=0, max_size=3))
    indices = draw(st.lists(st.integers(0, 20), min_size=len(splits) + 1, max_size=4, unique=True))
    tasks = {}
    for position, index in enumerate(indices):
        lengths, ends = zip(*draw(EPISODES), strict=True)
        split: Any = "train" if position >= len(splits) else splits[position]
        tasks[index] = random_task(index, lengths, split=split, terminated=ends)
    return tasks


def data_of(tasks: dict[int, MemoryTask]) -> TaskData:
    return load_task_data(tasks, DataConfig())


def find(rows: np.ndarray[Any, Any], row: np.ndarray[Any, Any]) -> int:
    """Where a row of noise stands: it stands in one place only."""
    (places,) = np.nonzero((rows == row).all(-1))
    assert len(places) == 1
    return int(places[0])


@settings(max_examples=50, deadline=None)
@given(
    tasks=datasets(),
    horizon=st.integers(1, 5),
    following=st.booleans(),
    padded=st.booleans(),
    step=st.integers(0, 10**6),
)
def test_batches_are_what_a_slow_reading_of_the_episodes_gives(
    tasks: dict[int, MemoryTask], horizon: int, following: bool, padded: bool, step: int
) -> None:
    config = BatchConfig(tasks=3, windows=4, horizon=horizon, context=5, padded=padded)
    sampler = TaskBatchSampler(data_of(tasks), config, [1, 2], next_observation=following)
    batch = sampler.batch(step)
    train = sorted(index for index, task in tasks.items() if task.split == "train")
    assert sampler.tasks == tuple(train)
    for seed, t in np.ndindex(2, 3):
        arrays = tasks[train[int(batch.task[seed, t])]].arrays
        for b in range(4):
            window = {
                name: getattr(batch, name)[seed, t, b].numpy()
                for name in ("observation", "action", "reward", "terminated", "mask")
            }
            row = find(arrays.action, window["action"][0])
            episode = int(np.searchsorted(arrays.episode_start, row, side="right")) - 1
            within = arrays.episode(episode)
            first = row - int(arrays.episode_start[episode])
            length = len(within.reward)
            # Without padding a window starts early enough to be full, if the episode is long enough.
            assert padded or first == 0 or first + horizon <= length
            for h in range(horizon):
                inside = first + h < length
                assert window["mask"][h] == inside
                if inside:
                    np.testing.assert_array_equal(window["action"][h], within.action[first + h])
                    assert window["reward"][h] == within.reward[first + h]
                    assert window["terminated"][h] == within.terminated[first + h]
            for h in range(horizon + 1):
                np.testing.assert_array_equal(
                    window["observation"][h], within.observation[min(first + h, length)]
                )
        for transition in batch.context[seed, t].numpy():
            row = find(arrays.action, transition[2:4])
            before = int(arrays.observation_row()[row])
            expected = [arrays.observation[before], arrays.action[row], arrays.reward[row : row + 1]]
            expected += [arrays.observation[before + 1]] if following else []
            np.testing.assert_array_equal(transition, np.concatenate(expected))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    data = data_of({0: random_task(0, [9, 4]), 1: random_task(1, [6])})
    config = BatchConfig(tasks=2, windows=3, horizon=2, context=4)

    def drawn(seeds: list[int], steps: list[int]) -> Any:
        sampler = TaskBatchSampler(data, config, seeds, next_observation=False)
        return [sampler.batch(step) for step in steps][-1]

    together, alone, later = drawn([0, 7], [0, 1, 2, 3]), drawn([7], [3]), drawn([7], [4])
    for name in vars(alone):
        assert torch.equal(getattr(together, name)[1:], getattr(alone, name))
    assert not torch.equal(alone.context, later.context)
    assert not torch.equal(together.context[0], together.context[1])


def test_places_are_uniform() -> None:
    """Task 0: windows of 2 fit at 4 places in the first episode, 1 in the second; the short one gives 1."""
    data = data_of({0: random_task(0, [5, 2, 1])})
    config = BatchConfig(tasks=1, windows=30_000, horizon=2, context=30_000)
    batch = TaskBatchSampler(data, config, [0], next_observation=False).batch(0)
    arrays = data.action.numpy()
    starts = [find(arrays, row) for row in arrays[[0, 1, 2, 3, 5, 7]]]
    first = batch.action[0, 0, :, 0]
    shares = [(first == data.action[start]).all(-1).float().mean().item() for start in starts]
    assert sum(shares) == pytest.approx(1.0)
    np.testing.assert_allclose(shares, 1 / 6, atol=0.015)
    context = batch.context[0, 0, :, 2:4]
    shares = [(context == row).all(-1).float().mean().item() for row in data.action]
    np.testing.assert_allclose(shares, 1 / 8, atol=0.015)


def test_every_transition_begins_as_many_padded_windows() -> None:
    data = data_of({0: random_task(0, [5, 2, 1])})
    config = BatchConfig(tasks=1, windows=30_000, horizon=3, context=1, padded=True)
    batch = TaskBatchSampler(data, config, [0], next_observation=False).batch(0)
    first = batch.action[0, 0, :, 0]
    shares = [(first == row).all(-1).float().mean().item() for row in data.action]
    np.testing.assert_allclose(shares, 1 / 8, atol=0.015)


def test_tasks_are_drawn_uniformly_from_the_train_tasks_only() -> None:
    tasks = {i: random_task(i, [4], split="train" if i % 2 else "id") for i in range(8)}
    config = BatchConfig(tasks=40_000, windows=1, horizon=1, context=1)
    sampler = TaskBatchSampler(data_of(tasks), config, [0], next_observation=False)
    assert sampler.tasks == (1, 3, 5, 7)
    shares = torch.bincount(sampler.batch(0).task.flatten(), minlength=4) / 40_000
    np.testing.assert_allclose(shares, 0.25, atol=0.015)


def test_arrays_are_standardised_over_the_train_tasks_alone() -> None:
    tasks = {0: random_task(0, [30, 5]), 1: random_task(1, [9], split="ood"), 2: random_task(2, [40])}
    config = DataConfig(standardise_observation=True, reward_scale="auto")
    data = load_task_data(tasks, config)
    train = np.concatenate([tasks[0].arrays.observation, tasks[2].arrays.observation]).astype(np.float64)
    rewards = np.concatenate([tasks[0].arrays.reward, tasks[2].arrays.reward]).astype(np.float64)
    ood = (tasks[1].arrays.observation - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(data.observation[37:47], ood, atol=1e-5)
    np.testing.assert_allclose(data.reward[35:44], tasks[1].arrays.reward / rewards.std(), atol=1e-5)
    assert [len(data.positions(split)) for split in ("train", "id", "ood")] == [2, 0, 1]


def test_constant_entries_are_left_unscaled() -> None:
    task = random_task(0, [10])
    task.arrays.observation[:, 1] = 0.5
    data = load_task_data({0: task}, DataConfig(standardise_observation=True))
    assert torch.equal(data.observation[:, 1], torch.zeros(11))


def test_a_store_without_train_tasks_is_refused() -> None:
    with pytest.raises(ClwmError, match="holds no train task"):
        data_of({0: random_task(0, [4], split="id")})


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("lengths", [[6, 6], [6, 3, 9], [3, 3, 3], [1, 1]])
def test_quick_ways_give_what_the_general_way_gives(lengths: list[int], padded: bool) -> None:
    data = load_task_data({index: random_task(index, lengths) for index in range(3)})
    config = BatchConfig(tasks=4, windows=9, horizon=3, context=5, padded=padded)
    quick = TaskBatchSampler(data, config, [0, 1], next_observation=True)
    assert data.lengths == (min(lengths), max(lengths))
    general = TaskBatchSampler(replace(data, lengths=(0, 10**9)), config, [0, 1], next_observation=True)
    for step in range(3):
        expected = vars(general.batch(step))
        for name, part in vars(quick.batch(step)).items():
            assert part.dtype == expected[name].dtype
            assert torch.equal(part, expected[name]), name


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**53))
def test_the_greatest_number_below_one_gives_the_last_place(bound: int) -> None:
    """Products are rounded: none may be rounded up to the bound."""
    greatest = 1.0 - 2.0**-53
    assert int(np.float64(greatest) * np.float64(bound)) == bound - 1
