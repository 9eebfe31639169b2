"""What a cell of a notebook ends with: one line, whatever the data's size."""

from __future__ import annotations

from pathlib import Path

import clwm_data
import clwm_train
from clwm_train.config import BatchConfig


def test_data_are_shown_by_their_shapes(collected: Path) -> None:
    store = clwm_data.open_store(collected)
    arrays = store[0].load()
    assert len(arrays) == arrays.episodes > 1
    episode = arrays[-1]
    assert episode.observation.tobytes() == arrays.observation[-len(episode.observation) :].tobytes()
    steps, observation, action = (
        len(episode.reward),
        *episode.observation.shape[1:],
        *episode.action.shape[1:],
    )
    assert repr(episode).startswith(f"<Episode: {steps} steps, return {float(episode.reward.sum()):.4g}; ")
    assert f"observation [{steps + 1}, {observation}], action [{steps}, {action}], reward" in repr(episode)
    rows = arrays.transitions
    assert repr(arrays).startswith(
        f"<TaskArrays: {len(arrays)} episodes, {rows:,} transitions; observation [{rows + len(arrays)}, "
    )
    assert repr(store.task_family) == "<PointRobot point-robot>"
    train = store.split("train")
    assert repr(store.torch_dataset(split="train", horizon=3)) == (
        f"<TorchDataset: {len(store.torch_dataset(split='train', horizon=3)):,} windows of 3 steps; "
        f"{len(train)} task{'s' * (len(train) > 1)} of {collected}>"
    )


def test_batches_are_shown_by_their_shapes(collected: Path) -> None:
    data = clwm_train.load_task_data(collected)
    assert repr(data).startswith(f"<TaskData: {len(data.tasks)} tasks; observation [")
    config = BatchConfig(tasks=3, windows=2, horizon=4, context=6)
    batch = clwm_train.TaskBatchSampler(data, config, [0, 1]).batch(0)
    assert repr(batch).startswith("<TaskBatch: task [2, 3], context [2, 3, 6, ")
    assert "observation [2, 3, 2, 5, 2], action [2, 3, 2, 4, 2], reward [2, 3, 2, 4]" in repr(batch)
