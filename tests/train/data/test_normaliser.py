from __future__ import annotations

import numpy as np
import pytest
import torch

from clwm_train.config import DataConfig
from clwm_train.data.normaliser import Normaliser
from clwm_train.data.task_data import load_task_data
from tests.train.helpers import MemoryTask, random_task

#: Entries: a usual one, jitter around 1, jitter around 0, a constant.
MEANS = np.array([0.3, 1.0, 0.0, 0.0])
STDS = np.array([0.8, 2.5e-6, 2.5e-6, 0.0])


@pytest.fixture
def tasks() -> dict[int, MemoryTask]:
    tasks = {index: random_task(index, [400, 600], observation_size=4) for index in (0, 1)}
    for task in tasks.values():
        task.arrays.observation[...] = task.arrays.observation * STDS + MEANS
    return tasks


def config(**keys: float) -> DataConfig:
    return DataConfig(standardise_observation=True, **keys)  # type: ignore[arg-type]


def test_without_a_floor_jitter_has_unit_variance(tasks: dict[int, MemoryTask]) -> None:
    """The published behaviour. (Around 1 single precision rounds what is that small.)"""
    scaled = load_task_data(tasks, config()).observation.std(0)
    assert scaled[:3].tolist() == pytest.approx([1, 1, 1], abs=0.05)


def test_a_floor_keeps_jitter_small_beside_the_entry_or_beside_the_others(
    tasks: dict[int, MemoryTask],
) -> None:
    rows = np.concatenate([task.arrays.observation for task in tasks.values()]).astype(np.float64)
    sizes = np.sqrt((rows**2).mean(0))
    floor = 1e-3 * np.maximum(sizes, np.median(sizes[:3]))
    data = load_task_data(tasks, config(std_floor=1e-3))
    expected = np.maximum(np.where(rows.std(0) < 1e-6, 1.0, rows.std(0)), floor)
    assert data.normaliser.std.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    scaled = data.observation.std(0)
    assert scaled[0] == pytest.approx(1.0, abs=0.01)
    assert scaled[1:].max() < 0.01


def test_a_touch_is_clipped_in_the_data_and_when_acting(tasks: dict[int, MemoryTask]) -> None:
    tasks[1].arrays.observation[7, 2] = 0.4
    loose = load_task_data(tasks, config(clip_observation=1e9))
    data = load_task_data(tasks, config(clip_observation=10.0))
    assert loose.observation.abs().max() > 10.0
    assert data.observation.abs().max() == 10.0
    assert torch.equal(data.observation, loose.observation.clamp(-10.0, 10.0))
    raw = torch.from_numpy(np.concatenate([task.arrays.observation for task in tasks.values()]))
    before = raw.clone()
    acting = Normaliser(4, 10.0)
    acting.load_state_dict(data.normaliser.state_dict())
    assert torch.equal(acting.observation(raw), data.observation)
    assert torch.equal(raw, before)
