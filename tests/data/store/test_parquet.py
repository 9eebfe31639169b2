from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clwm_data.families import Task
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store import Episode, Store, TaskArrays
from clwm_data.store.parquet import write_parquet
from clwm_data.store.provenance import current_provenance
from clwm_data.store.root_writer import write_root
from clwm_data.store.writer import write_task


def expected_rows(store: Store, split: str) -> list[dict[str, Any]]:
    """The rows of a split, episode by episode and step by step."""
    rows = []
    for index in sorted(store.tasks):
        task = store.tasks[index]
        if task.split != split:
            continue
        for number, episode in enumerate(task.load()):
            for step in range(len(episode.reward)):
                row: dict[str, Any] = {"task": index, "episode": number, "step": step}
                for name in ("observation", "action", "reward", "terminated", "truncated"):
                    row[name] = getattr(episode, name)[step].tolist()
                for name in ("success", "dense_reward"):
                    if getattr(episode, name) is not None:
                        row[name] = getattr(episode, name)[step].tolist()
                row["behaviour"] = task.record.behaviours[episode.behaviour].label
                for name, value in task.record.parameters.items():
                    row[f"parameter.{name}"] = value
                rows.append(row)
    return rows


def read(files: list[Path]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
    return rows


def test_rows_are_the_transitions_and_columns_have_types(collected: Path, tmp_path: Path) -> None:
    store = open_store(collected)
    steps: list[tuple[int, int]] = []
    files = write_parquet(store, tmp_path, on_progress=lambda done, total: steps.append((done, total)))
    assert {split: [file.name for file in paths] for split, paths in files.items()} == {
        split: [f"{split}-00000.parquet"] for split in ("train", "id", "ood")
    }
    for split, paths in files.items():
        assert read(paths) == expected_rows(store, split)
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    types = {field.name: str(field.type) for field in pq.read_schema(files["id"][0])}
    assert types == {
        **dict.fromkeys(("task", "episode", "step"), "int64"),
        "observation": "fixed_size_list<element: float>[2]",
        "action": "fixed_size_list<element: float>[2]",
        "reward": "float",
        "terminated": "bool",
        "truncated": "bool",
        "behaviour": "string",
        "parameter.angle": "double",
        "parameter.goal": "fixed_size_list<element: double>[2]",
    }


def test_the_same_store_gives_the_same_bytes(collected: Path, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files = write_parquet(open_store(collected), tmp_path / name)
        written.append({split: [file.read_bytes() for file in paths] for split, paths in files.items()})
    assert written[0] == written[1]


@pytest.fixture
def invented(tmp_path: Path) -> Store:
    """Random numbers, with success and dense reward, and parameters of many shapes."""
    rng = np.random.default_rng(0)
    behaviours = [BehaviourEntry(policy="mine", episodes=2), BehaviourEntry(policy="yours", episodes=1)]
    parameters = [
        {"mass": 1.0, "goal": (1.0, 2.0), "pair": (1.0, 2.0), "mixed": (1.0, 2.0)},
        {"mass": 2.0, "goal": (3.0,), "mixed": 3.0},
        {"wind": 3.0, "goal": (), "mixed": (4.0, 5.0)},
    ]

    def episode(behaviour: int) -> Episode:
        n = int(rng.integers(150, 250))
        last = np.arange(n) == n - 1
        return Episode(
            observation=rng.normal(size=(n + 1, 5)).astype(np.float32),
            action=rng.uniform(-1, 1, (n, 3)).astype(np.float32),
            reward=rng.normal(size=n).astype(np.float32),
            terminated=last & (behaviour == 1),
            truncated=last & (behaviour == 0),
            success=rng.random(n) < 0.5,
            initial_state=None,
            seed=None,
            behaviour=behaviour,
            dense_reward=rng.normal(size=n).astype(np.float32),
        )

    path = tmp_path / "invented.zarr"
    manifest = Manifest(name="invented", family="my-robot", behaviours=behaviours, tasks=[0, 1, 2])
    for index, values in enumerate(parameters):
        arrays = TaskArrays.from_episodes([episode(behaviour) for behaviour in (0, 0, 1)])
        write_task(path, Task(index, "train", values), behaviours, arrays, manifest.storage)  # type: ignore[arg-type]
    write_root(path, manifest, current_provenance())
    return open_store(path)


def test_a_split_is_cut_into_files_and_row_groups(invented: Store, tmp_path: Path) -> None:
    """However it is cut, no row is lost, doubled or moved, and no file is larger than was asked for."""
    whole = read(write_parquet(invented, tmp_path)["train"])
    for file_bytes, group_bytes in ((40_000, 8_000), (10**9, 8_000), (1, 1_000), (40_000, 10**9)):
        folder = tmp_path / f"{file_bytes}-{group_bytes}"
        folder.mkdir()
        files = write_parquet(invented, folder, file_bytes=file_bytes, group_bytes=group_bytes)["train"]
        assert read(files) == whole
        groups = [pq.ParquetFile(file).metadata.num_row_groups for file in files]
        if file_bytes == 10**9:
            assert len(files) == 1
            assert groups[0] > 5
        elif group_bytes < file_bytes:
            assert len(files) > 1
            footer = 20_000
            assert all(file.stat().st_size <= file_bytes + footer for file in files)
        else:
            assert set(groups) == {1}


def test_what_only_some_tasks_have(invented: Store, tmp_path: Path) -> None:
    """Columns that a task lacks are null; parameters that are lists in one task are lists in all."""
    files = write_parquet(invented, tmp_path)["train"]
    rows, expected = read(files), expected_rows(invented, "train")
    assert len(rows) == len(expected)
    for row, want in zip(rows, expected, strict=True):
        if isinstance(want["parameter.mixed"], float):
            want["parameter.mixed"] = [want["parameter.mixed"]]
        assert row == {**dict.fromkeys(("parameter.mass", "parameter.wind", "parameter.pair")), **want}
    assert {row["behaviour"] for row in rows} == {"mine", "yours"}
    types = {field.name: str(field.type) for field in pq.read_schema(files[0])}
    assert types["parameter.goal"] == types["parameter.mixed"] == "list<element: double>"
    # Only some tasks have it, and PyArrow before 26 cannot read missing lists of a fixed length.
    assert types["parameter.pair"] == "list<element: double>"
    loaded = datasets.load_dataset("parquet", data_files=str(files[0]), cache_dir=str(tmp_path / "hf"))
    assert loaded["train"].to_list() == rows
    assert (types["success"], types["dense_reward"]) == ("bool", "float")
