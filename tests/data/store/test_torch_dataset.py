"""Windows and transitions for PyTorch."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.extras import MissingExtraError
from clwm_data.opening import open_store
from clwm_data.recording import Recorder
from clwm_data.store.stored_task import StoredTask


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Episodes of lengths 1 to 5 in two tasks; every number in them is another."""
    path = tmp_path / "uneven.zarr"
    counter = iter(range(1, 10_000))
    for task, split in ((2, "train"), (5, "id")):
        with Recorder(path, task=task, split=split) as r:  # type: ignore[arg-type]
            for steps in (2, 5, 1, 3):
                observation = [[next(counter), next(counter)] for _ in range(steps + 1)]
                action = [[next(counter) / 10_000] for _ in range(steps)]
                r.add_episode(
                    observation, action, [next(counter) for _ in range(steps)], terminated=task == 2
                )
    return path


def expected(path: Path, horizon: int) -> list[dict[str, Any]]:
    """An oracle that walks over the episodes."""
    items = []
    numbers: dict[int, int] = {}
    for task, episode in open_store(path).episodes():
        number = numbers[task] = numbers.get(task, -1) + 1
        for step in range(len(episode.reward) - horizon + 1):
            rows = range(step, step + horizon)
            items.append(
                {
                    "observation": np.array([episode.observation[row] for row in [*rows, step + horizon]]),
                    **{
                        name: np.array([getattr(episode, name)[row] for row in rows])
                        for name in ("action", "reward", "terminated", "truncated")
                    },
                    "task": task,
                    "episode": number,
                    "step": step,
                }
            )
    return items


@pytest.mark.parametrize("horizon", [1, 2, 3, 5])
def test_windows(horizon: int, uneven: Path) -> None:
    dataset = open_store(uneven).torch_dataset(horizon=horizon)
    items = expected(uneven, horizon)
    assert len(dataset) == len(items)
    for number, item in enumerate(items):
        given = dataset[number]
        assert given.keys() == item.keys()
        for name, value in item.items():
            np.testing.assert_array_equal(given[name].numpy(), value)
    assert torch.equal(dataset[-1]["observation"], dataset[len(items) - 1]["observation"])
    for outside in (len(items), -len(items) - 1):
        with pytest.raises(IndexError):
            dataset[outside]


def test_transitions(uneven: Path, collected: Path) -> None:
    for path in (uneven, collected):
        store = open_store(path)
        dataset, flat = store.torch_dataset(), store.to_arrays()
        assert len(dataset) == len(flat["reward"])
        for number in range(len(dataset)):
            for name in flat.keys() - {"behaviour"}:
                np.testing.assert_array_equal(dataset[number][name].numpy(), flat[name][number])
        assert dataset[0]["reward"].dtype == torch.float32


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_what_one_process_gives(context: str, uneven: Path) -> None:
    dataset = open_store(uneven).torch_dataset(horizon=2)
    dataset[0]  # something is loaded before workers begin
    alone = list(DataLoader(dataset, batch_size=3))  # type: ignore[arg-type,var-annotated]
    loader: Any = DataLoader(dataset, batch_size=3, num_workers=2, multiprocessing_context=context)  # type: ignore[arg-type]
    shared = list(loader)
    assert len(alone) == len(shared)
    for one, other in zip(alone, shared, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert alone[0]["observation"].shape == (3, 3, 2)


def test_what_is_not_asked_for_is_not_read(uneven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_store(uneven).torch_dataset(horizon=2)
    full = len(pickle.dumps(dataset))
    read: list[int] = []
    load = StoredTask.load

    def counted(self: StoredTask, **options: Any) -> Any:
        read.append(self.index)
        return load(self, **options)

    monkeypatch.setattr(StoredTask, "load", counted)
    for number in range(3):
        dataset[number]
    assert read == [2]
    again = pickle.loads(pickle.dumps(dataset))
    assert abs(len(pickle.dumps(dataset)) - full) < 2000  # the data is not in it
    assert torch.equal(again[0]["observation"], dataset[0]["observation"])
    assert read == [2, 2]


def test_choices_and_refusals(uneven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(uneven)
    assert {int(item["task"]) for item in map(store.torch_dataset(split="id").__getitem__, range(11))} == {5}
    assert len(store.torch_dataset(tasks=[2])) == 11
    with pytest.raises(NotFoundError, match="holds no task 7"):
        store.torch_dataset(tasks=[7])
    with pytest.raises(NotFoundError, match="no task of the store was chosen"):
        store.torch_dataset(split="ood")
    with pytest.raises(InvalidInputError, match="no episode has 6 steps, the longest has 5"):
        store.torch_dataset(horizon=6)
    for horizon in (0, -1, True, 2.0):
        with pytest.raises(InvalidInputError, match=f"whole number of steps from 1 on, not {horizon}$"):
            store.torch_dataset(horizon=horizon)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="train"):
        store.torch_dataset()


def test_a_tensordict_holds_the_flat_arrays(uneven: Path) -> None:
    tensordict = pytest.importorskip("tensordict")
    store = open_store(uneven)
    made, flat = store.to_tensordict(split="train"), store.to_arrays(split="train")
    assert isinstance(made, tensordict.TensorDict)
    assert tuple(made.batch_size) == (11,)
    assert set(made.keys()) == flat.keys()
    for name, values in flat.items():
        np.testing.assert_array_equal(made[name].numpy(), values)
        assert made[name].numpy().dtype == values.dtype


def test_without_tensordict_the_extra_is_named(uneven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensordict", None)
    with pytest.raises(MissingExtraError, match=r"clwm\[tensordict\]"):
        open_store(uneven).to_tensordict()
