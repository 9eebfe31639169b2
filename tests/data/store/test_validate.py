from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from clwm_data.families import Task
from clwm_data.opening import open_store
from clwm_data.store import TaskArrays
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from clwm_data.store.writer import write_task
from tests.conftest import Clwm


def every_file(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_a_collected_store_is_valid(collected: Path) -> None:
    assert validate(collected) == []


def test_a_flipped_byte_in_any_file_is_found(store_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = every_file(store_path)
    assert len(files) > 60
    for file in files:
        original = file.read_bytes()
        # The first, the last and some byte between: headers, padding and data.
        for position in {0, len(original) - 1, int(rng.integers(len(original)))}:
            damaged = bytearray(original)
            damaged[position] ^= 1 << int(rng.integers(7))
            file.write_bytes(damaged)
            if file == store_path / "zarr.json":
                continue  # its damage may also make the store unreadable: see below
            findings = validate(store_path)
            assert any(file.parent.name in str(finding) for finding in findings), (file, position)
        file.write_bytes(original)
    assert validate(store_path) == []


def test_any_change_of_the_root_is_found(store_path: Path) -> None:
    file = store_path / "zarr.json"
    original = file.read_text()
    for old, new in [('"nobody"', '"somebody"'), ('"seed": 0', '"seed": 1'), ('"train"', '"id"')]:
        assert old in original
        file.write_text(original.replace(old, new, 1))
        assert any("zarr.json" in finding.where for finding in validate(store_path))


def test_missing_and_foreign_files_are_found(store_path: Path) -> None:
    (store_path / "tasks/0006/action/c.0.0").unlink()
    (store_path / "tasks/0012/notes.txt").write_text("hello")
    (store_path / "tasks/stray").write_text("hello")
    shutil.copytree(store_path / "tasks/0000", store_path / "tasks/0001")
    found = "\n".join(map(str, validate(store_path)))
    assert "0006/action/c.0.0: is missing" in found
    assert "0012/notes.txt: is not a part" in found
    assert "stray: is not a part" in found
    assert "0001: is a copy of task 0, and not a part" in found


def test_what_a_user_puts_beside_the_tasks_is_not_a_finding(store_path: Path, clwm: Clwm) -> None:
    (store_path / "NOTES.md").write_text("mine")
    (store_path / "plots").mkdir()
    assert validate(store_path) == []
    done = clwm("validate", str(store_path))
    assert done.returncode == 0
    assert f"{store_path / 'NOTES.md'}: is not a part of the store" in done.stderr
    assert f"{store_path / 'plots'}: is not a part of the store" in done.stderr


def rewritten(path: Path, change: Callable[[TaskArrays], TaskArrays], index: int = 6) -> Path:
    """A store whose task was changed by somebody who also mended all digests."""
    store = open_store(path)
    task = store.tasks[index]
    arrays = change(task.load())
    shutil.rmtree(path / f"tasks/{index:04d}")
    described = Task(task.index, task.split, task.parameters)
    # The old statistics: those of a NaN could not even be written.
    with patch("clwm_data.store.writer.task_statistics", return_value=task.record.statistics):
        write_task(path, described, store.manifest.behaviours, arrays, store.manifest.storage)
    shutil.rmtree(path / ".collect")
    write_root(path, store.manifest, store.provenance)
    return path


def with_value(array: np.ndarray, where: object, value: object) -> np.ndarray:
    changed = array.copy()
    changed[where] = value
    return changed


def with_returns(arrays: TaskArrays, reward: np.ndarray) -> dict[str, np.ndarray]:
    returns = np.add.reduceat(reward.astype(np.float64), arrays.episode_start)
    return {"reward": reward, "episode_return": returns}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: replace(a, reward=with_value(a.reward, 3, np.nan)), "reward: row 3 holds a value"),
        (lambda a: replace(a, observation=with_value(a.observation, 5, np.inf)), "observation: row 5"),
        (lambda a: replace(a, observation=with_value(a.observation, (6, 1), -np.inf)), "observation: row 6"),
        (lambda a: replace(a, action=with_value(a.action, (2, 1), np.nan)), "action: row 2 holds a value"),
        (lambda a: replace(a, action=with_value(a.action, 4, 1.5)), "action: row 4 is outside"),
        (lambda a: replace(a, reward=a.reward + 1), "return is not the sum"),
        (lambda a: replace(a, truncated=with_value(a.truncated, 2, True)), "before its last step"),
        (lambda a: replace(a, terminated=a.truncated), "both set"),
        (lambda a: replace(a, episode_start=a.episode_start + 1), "does not cover"),
        (lambda a: replace(a, episode_length=with_value(a.episode_length, 0, 0)), "does not cover"),
        (lambda a: replace(a, episode_behaviour=a.episode_behaviour + 1), "episode_behaviour: holds"),
        (lambda a: replace(a, episode_seed=np.zeros_like(a.episode_seed)), "have the same seed"),
        (lambda a: replace(a, success=a.truncated), "has no success"),
        (lambda a: replace(a, **with_returns(a, a.reward / 2)), "statistics: differ"),
    ],
)
def test_impossible_values_are_found(
    store_path: Path, change: Callable[[TaskArrays], TaskArrays], words: str
) -> None:
    findings = validate(rewritten(store_path, change))
    assert any(words in str(finding) for finding in findings), findings
    assert all("digest" not in str(finding) for finding in findings)


def test_swapped_tasks_are_found(store_path: Path) -> None:
    group = store_path / "tasks/0006/zarr.json"
    node = json.loads(group.read_text())
    node["attributes"]["parameters"]["angle"] += 0.01
    group.write_text(json.dumps(node))
    store = open_store(store_path)
    write_root(store_path, store.manifest, store.provenance)
    assert any("parameters" in str(finding) for finding in validate(store_path))


def test_tasks_are_checked_in_order_by_several_threads(store_path: Path) -> None:
    folders = sorted(path for path in (store_path / "tasks").iterdir() if path.is_dir())
    for folder in folders[1:]:
        file = next(file for file in every_file(folder) if file.name != "zarr.json")
        file.write_bytes(file.read_bytes()[:-1])
    seen: list[int] = []
    findings = [str(finding) for finding in validate(store_path, seen.append)]
    assert seen == sorted(seen)
    assert len(seen) == len(folders)
    for folder, finding in zip(folders[1:], findings, strict=True):
        assert re.search(rf"^{re.escape(str(folder))}/.*: has [0-9,]+ bytes?, expected [0-9]+$", finding)


def test_an_interruption_ends_the_check(store_path: Path) -> None:
    seen: list[int] = []

    def interrupt(index: int) -> None:
        seen.append(index)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validate(store_path, interrupt)
    assert len(seen) == 1
