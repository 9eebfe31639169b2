"""Whatever reads data verifies it: one byte is enough, on every path."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError, ConflictError, DamagedDataError
from clwm_data.opening import open_store
from clwm_data.store import Store, TaskArrays
from clwm_data.store.digest import root_sha256
from tests.conftest import Clwm, tiny_manifest
from tests.data.store.test_validate import rewritten, with_value

DAMAGED = "tasks/0012/observation/c.0.0"


def damage(store: Path, file: str = DAMAGED, byte: int = 3) -> Path:
    path = store / file
    content = bytearray(path.read_bytes())
    content[byte] ^= 0x10
    path.write_bytes(content)
    return store


READERS: dict[str, Callable[[Store], object]] = {
    "load": lambda store: store[12].load(),
    "array": lambda store: store[12].array("observation"),
    "episodes": lambda store: list(store.episodes(tasks=[12])),
    "to_arrays": lambda store: store.to_arrays(),
}
TRUSTING: dict[str, Callable[[Store], object]] = {
    "load": lambda store: store[12].load(verify=False),
    "array": lambda store: store[12].array("observation", verify=False)[...],
    "episodes": lambda store: list(store.episodes(tasks=[12], verify=False)),
    "to_arrays": lambda store: store.to_arrays(verify=False),
}


@pytest.mark.parametrize("way", READERS)
def test_one_altered_byte_is_found_on_every_path(store_path: Path, way: str) -> None:
    store = open_store(damage(store_path))
    with pytest.raises(DamagedDataError, match=rf"{DAMAGED}: .*collect or download") as caught:
        READERS[way](store)
    assert "\n" not in str(caught.value)
    TRUSTING[way](store)


@pytest.mark.parametrize("name", ["action", "terminated", "episode_start", "episode_initial_state"])
def test_every_array_is_compared(store_path: Path, name: str) -> None:
    file = next((store_path / "tasks/0012" / name).glob("c.*"))
    damage(store_path, str(file.relative_to(store_path)), -1)
    with pytest.raises(DamagedDataError, match=f"0012/{name}"):
        open_store(store_path)[12].load()


def test_altered_metadata_is_found_before_data_is_used(store_path: Path) -> None:
    text = (store_path / "zarr.json").read_text()
    (store_path / "zarr.json").write_text(text.replace('"split": "train"', '"split": "id"'))
    with pytest.raises(DamagedDataError, match=r"tiny\.zarr/zarr\.json: was altered"):
        open_store(store_path)[12].load()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: replace(a, reward=with_value(a.reward, 3, np.nan)), "reward: row 3 holds a value"),
        (lambda a: replace(a, observation=with_value(a.observation, 5, -np.inf)), "observation: row 5"),
        (lambda a: replace(a, episode_return=with_value(a.episode_return, 0, np.inf)), "episode_return"),
        (lambda a: replace(a, action=with_value(a.action, 4, 1.5)), "action: row 4 is outside"),
        (lambda a: replace(a, episode_start=a.episode_start + 2**40), "does not cover"),
        (lambda a: replace(a, episode_length=with_value(a.episode_length, 0, 2**62)), "does not cover"),
        (lambda a: replace(a, episode_behaviour=a.episode_behaviour + 9), "outside 0 to 1"),
    ],
)
def test_values_that_no_digest_vouches_for_are_refused(
    store_path: Path, change: Callable[[TaskArrays], TaskArrays], words: str
) -> None:
    """By somebody who mended all digests."""
    store = open_store(rewritten(store_path, change))
    store[12].load()
    with pytest.raises(DamagedDataError, match=words):
        store[6].load()
    store[6].load(verify=False)


def test_a_store_that_was_replaced_is_noticed_by_who_holds_it(store_path: Path) -> None:
    held = open_store(store_path)
    held[6].load()
    collect(tiny_manifest(seed=1), store_path, overwrite=True)
    for read in (
        lambda: held[6].load(),
        lambda: held[6].load(verify=False),
        lambda: held[12].array("reward"),
    ):
        with pytest.raises(ConflictError, match="open the store again"):
            read()
    assert open_store(store_path)[6].load().transitions


def test_a_store_that_grows_stays_good_for_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "tiny.zarr"
    held = collect(tiny_manifest(), path, tasks=[6])
    reward = held[6].load().reward
    collect(tiny_manifest(), path)
    np.testing.assert_array_equal(held[6].load().reward, reward)
    assert list(held.tasks) == [6]


def test_a_pickled_store_is_the_one_that_was_opened(store_path: Path) -> None:
    store = open_store(store_path)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again[6].load().reward, store[6].load().reward)
    assert root_sha256(again.root.document) == store.record.root_sha256
    task = pickle.loads(pickle.dumps(store[6]))
    collect(tiny_manifest(seed=1), store_path, overwrite=True)
    for stale in (again[6], task):
        with pytest.raises(ConflictError):
            stale.load()


@pytest.mark.parametrize(
    "command",
    [
        ("train", "{store}", "--preset", "tiny", "--steps", "2", "--out", "run"),
        ("report", "{store}", "--out", "x.html"),
        ("convert", "{store}", "x.npz", "--to", "npz"),
        ("merge", "{store}", "{other}", "--out", "m.zarr"),
        ("select", "{store}", "s.zarr", "--episodes", "0-1"),
        ("delete-episodes", "{store}", "--task", "12", "--episodes", "0"),
        ("preview", "{store}", "--tasks", "12", "--out", "x.png"),
        ("validate", "{store}"),
    ],
)
def test_commands_end_in_one_line(
    clwm: Clwm, store_path: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    other = tmp_path / "other.zarr"
    if "{other}" in command:
        collect(tiny_manifest(seed=1), other)
    damage(store_path)
    before = sorted(tmp_path.iterdir())
    result = clwm(*(part.format(store=store_path, other=other) for part in command))
    assert result.returncode == 1, result.stderr
    said = result.stdout if command[0] == "validate" else result.stderr
    assert "observation/c.0.0" in said
    assert "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before  # nothing half made
    with pytest.raises(ClwmError):
        open_store(store_path)[12].load()


def test_a_run_is_not_evaluated_on_damaged_data(clwm: Clwm, store_path: Path, tmp_path: Path) -> None:
    trained = clwm("train", store_path, "--preset", "tiny", "--steps", "2", "--out", "run")
    assert trained.returncode == 0, trained.stderr
    damage(store_path)
    for command in (
        ("eval", "run", "--episodes", "1"),
        ("analyse", "run"),
        ("train", store_path, "--out", "run", "--resume", "--steps", "3"),
    ):
        result = clwm(*command)
        assert result.returncode == 1, (command, result.stdout, result.stderr)
        assert "observation/c.0.0" in result.stderr
        assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("run/*eval*"))
    assert (tmp_path / "run/checkpoints").is_dir()
