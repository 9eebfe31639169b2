"""Discrete actions: numbers in the store, one-hot for networks, the same for every reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.convert.minari import from_minari, to_minari
from clwm_data.convert.npz import npz_source, to_npz
from clwm_data.convert.parquet import to_parquet
from clwm_data.convert.target import write_converted
from clwm_data.edit.merge import merge
from clwm_data.edit.relabel import relabel
from clwm_data.edit.select import select
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.manifest import Manifest
from clwm_data.opening import open_store
from clwm_data.store.reader import Store
from clwm_data.store.replay import replay
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from clwm_data.store.writer import write_task

FAMILY = {
    "name": "carts",
    "env": "CartPole-v1",
    "apply": "tests.data.families.own_environments:change",
    "horizon": 60,
    "tasks": {"grid": {"length": [0.5, 1.0, 1.5]}, "id": "1"},
}


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "carts",
            "family": "carts",
            "declared_family": FAMILY,
            "behaviours": [{"policy": "random", "episodes": 10}],
            **changes,
        }
    )


@pytest.fixture(scope="module")
def carts(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return collect(manifest(), tmp_path_factory.mktemp("stores") / "carts.zarr", workers=1)


def numbers(store: Store) -> dict[int, list[int]]:
    return {task.index: task.load().stored_action.tolist() for task in store}


def test_the_array_holds_numbers_that_the_environment_executed(carts: Store) -> None:
    import gymnasium

    task = carts[0]
    stored = np.asarray(task.array("action"))
    assert (stored.dtype, stored.ndim, task.record.discrete_actions) == (np.dtype("int64"), 1, 2)
    assert set(stored.tolist()) == {0, 1}
    arrays = task.load()
    np.testing.assert_array_equal(arrays.action, np.eye(2, dtype=np.float32)[stored])
    # An oracle without clwm: Gymnasium's own environment, given the stored numbers.
    env = gymnasium.make("CartPole-v1")
    for episode in list(arrays)[:3]:
        seed = episode.seed or 0
        observation, _ = env.reset(seed=(seed ^ (seed >> 32)) & 0xFFFFFFFF)
        for step, number in enumerate(episode.stored_action.tolist()):
            np.testing.assert_array_equal(observation, episode.observation[step])
            observation, *_ = env.step(number)
    assert validate(carts.path) == []
    assert replay(carts.path, 3).findings == []


def test_every_reader_gives_numbers(carts: Store, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    expected = numbers(carts)
    flat = carts.to_arrays(tasks=[0])
    assert (flat["action"].dtype, flat["action"].tolist()) == (np.dtype("int64"), expected[0])
    windows = carts.torch_dataset(horizon=3, tasks=[0])
    assert windows[0]["action"].tolist() == expected[0][:3]
    assert carts.torch_dataset(tasks=[0])[1]["action"].dtype == torch.int64
    to_parquet(carts.path, tmp_path / "rows")
    import pyarrow.parquet as pq

    rows = pq.read_table(sorted((tmp_path / "rows/data").glob("train-*"))[0]).to_pylist()
    assert [row["action"] for row in rows if row["task"] == 0] == expected[0]


def test_conversions_edits_and_relabelling_keep_them(carts: Store, tmp_path: Path) -> None:
    expected = numbers(carts)
    to_minari(carts.path, tmp_path / "minari")
    again = from_minari(tmp_path / "minari/carts", tmp_path / "minari.zarr").store
    assert again.record.content_sha256 == carts.record.content_sha256
    to_npz(carts.path, tmp_path / "carts.npz")
    flat = write_converted(npz_source(tmp_path / "carts.npz"), tmp_path / "npz.zarr", "poles").store
    assert numbers(flat) == expected
    select(carts.path, tmp_path / "one.zarr", tasks=[0])
    select(carts.path, tmp_path / "two.zarr", tasks=[1, 2])
    assert numbers(merge([tmp_path / "one.zarr", tmp_path / "two.zarr"], tmp_path / "both.zarr")) == expected
    seen: list[Any] = []

    def reward(observation: Any, action: Any, following: Any, parameters: Any) -> Any:
        seen.append(action)
        return action.astype(float)

    new = relabel(carts.path, tmp_path / "new.zarr", reward)
    assert seen[0].tolist() == expected[0]
    assert new[0].load().reward.tolist() == expected[0]


def test_networks_see_them_one_hot(carts: Store) -> None:
    pytest.importorskip("torch")
    from clwm_train.config import DataConfig
    from clwm_train.data.mapped import map_task_data
    from clwm_train.data.task_data import load_task_data

    data = load_task_data(carts)
    first = int(data.first_transition[1])
    assert data.action[:first].argmax(-1).tolist() == numbers(carts)[0]
    assert (data.action.sum(-1) == 1.0).all()
    mapped = map_task_data(carts, DataConfig())
    assert mapped.action.tolist() == data.action.tolist()


def rewritten(carts: Store, folder: Path, **changes: Any) -> Path:
    """The same store with other arrays, written as any program could."""
    for task in carts:
        arrays = replace(task.load(), **changes)
        described = manifest().task_family.task(task.index)
        write_task(folder, described, task.record.behaviours, arrays, carts.manifest.storage)
    write_root(folder, carts.manifest, carts.provenance)
    return folder


def test_earlier_stores_that_hold_them_one_hot_are_read(carts: Store, tmp_path: Path) -> None:
    earlier = open_store(rewritten(carts, tmp_path / "earlier.zarr", discrete=False))
    assert np.asarray(earlier[0].array("action")).shape[1] == 2
    assert earlier[0].load().action.tolist() == carts[0].load().action.tolist()
    assert validate(earlier.path) == []
    assert replay(earlier.path, 2).findings == []
    with pytest.raises(ClwmError, match="has no discrete actions, the first store 2"):
        merge([carts.path, earlier.path], tmp_path / "both.zarr")


@pytest.mark.parametrize(
    ("count", "message"), [(1, "expected 0 to 0"), (None, "expected an array of float32, found int64")]
)
def test_numbers_that_are_no_action_are_refused(
    carts: Store, tmp_path: Path, count: int | None, message: str
) -> None:
    folder = rewritten(carts, tmp_path / "bad.zarr")
    unknown = carts.manifest.model_copy(update={"declared_family": None, "family": "poles"})
    file = folder / "tasks/0000/zarr.json"
    group = json.loads(file.read_text())
    if count is None:
        del group["attributes"]["discrete_actions"]
    else:
        group["attributes"]["discrete_actions"] = count
    file.write_text(json.dumps(group))
    write_root(folder, unknown, carts.provenance)
    with pytest.raises(DamagedDataError, match=message):
        Store(folder, open_store(folder).root)[0].load()
