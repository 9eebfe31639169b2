"""Stores that take the place of others: killed anywhere, in one step, on any file system."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from clwm_data.collection.collector import collect
from clwm_data.edit import delete_episodes, select
from clwm_data.errors import ClwmError, ConflictError
from clwm_data.opening import open_store
from clwm_data.store import exchange as exchange_module
from clwm_data.store import replacement
from clwm_data.store.exchange import exchange
from clwm_data.store.validate import validate
from tests.conftest import Clwm, tiny_manifest, tree
from tests.data.edit.editing import assert_sound


class KilledError(BaseException):
    pass


def dying(real: Callable[..., object], budget: list[int]) -> Callable[..., object]:
    """A call that kills instead of being made once the budget is used up."""

    def call(*arguments: object, **options: object) -> object:
        budget[0] -= 1
        if budget[0] < 0:
            raise KilledError
        return real(*arguments, **options)

    return call


@pytest.fixture(params=["in one step", "by two renames"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system that can exchange names, and one that cannot."""
    if request.param == "by two renames":
        monkeypatch.setattr(replacement, "exchange", lambda first, second: False)
    return request.param


def test_an_edit_that_dies_anywhere_leaves_the_old_store_or_the_new(
    store_path: Path, collected: Path, tmp_path: Path, system: str
) -> None:
    """Dies before each rename or exchange, without any cleaning up, as a killed process does."""
    expected = delete_episodes(Path(shutil.copytree(collected, tmp_path / "x/tiny.zarr")), {6: [0]})
    old = open_store(collected).record.content_sha256
    new = expected.record.content_sha256
    for fatal in range(40):
        budget = [fatal]
        with (
            patch.object(Path, "replace", dying(Path.replace, budget)),
            patch.object(replacement, "exchange", dying(replacement.exchange, budget)),
            patch("shutil.rmtree", dying(shutil.rmtree, budget)),
            patch.object(Path, "unlink", lambda path, missing_ok=False: None),
        ):
            try:
                delete_episodes(store_path, {6: [0]})
                survived = True
            except KilledError:
                survived = False
        # The door brings back what lies aside: every reader finds a store.
        found = open_store(store_path).record.content_sha256
        assert validate(store_path) == []
        assert found in ((new,) if survived else (old, new))
        if survived:
            break
        shutil.rmtree(store_path)
        shutil.copytree(collected, store_path)
        # What the dead process left beside the store is in nobody's way.
        assert delete_episodes(store_path, {6: [0]}).record.content_sha256 == new
        assert_sound(store_path)
        shutil.rmtree(store_path)
        shutil.copytree(collected, store_path)
    assert survived
    assert fatal >= 4


def test_the_path_always_names_a_store(store_path: Path) -> None:
    """A reader beside `delete-episodes`, looking without a break, never misses the store."""
    if exchange_module._renameat2() is None:
        pytest.skip("this system cannot exchange names")
    context = multiprocessing.get_context("spawn")
    stop, missed = context.Event(), context.Value("i", 0)
    ready = context.Event()
    reader = context.Process(target=look, args=(store_path, ready, stop, missed))
    reader.start()
    ready.wait(60)
    try:
        for _ in range(4):
            delete_episodes(store_path, {0: [0]})
    finally:
        stop.set()
        reader.join(60)
    assert missed.value == 0


def look(path: Path, ready: object, stop: object, missed: object) -> None:
    ready.set()
    while not stop.is_set():
        missed.value += not (path / "zarr.json").exists()


def test_exchange(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot exchange names")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "nowhere")


def test_a_store_that_cannot_be_renamed_is_replaced_inside(
    store_path: Path, collected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mount point, which this test cannot make: every rename of the folder itself fails."""
    (store_path / "NOTES.md").write_text("mine")
    real = Path.replace

    def immovable(first: Path, second: Path) -> bool:
        raise OSError(errno.EBUSY, "Device or resource busy", str(first))

    def rename(self: Path, target: Path) -> Path:
        if store_path in (self, target):
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(self))
        return real(self, target)

    monkeypatch.setattr(replacement, "exchange", immovable)
    monkeypatch.setattr(Path, "replace", rename)
    expected = tree(store_path)
    delete_episodes(store_path, {6: [0]})
    assert open_store(store_path).tasks[6].record.episodes == 4
    collect(tiny_manifest(), store_path, overwrite=True)
    files = tree(store_path)
    assert files.pop("zarr.json") != expected.pop("zarr.json")  # made at another time
    assert files == expected
    monkeypatch.setattr(os.path, "ismount", lambda path: path == store_path)
    delete_episodes(store_path, {6: [0]})
    assert open_store(store_path).tasks[6].record.episodes == 4
    collect(tiny_manifest(), store_path, overwrite=True)
    files = tree(store_path)
    del files["zarr.json"]
    assert files == expected


def test_a_replacement_inside_that_was_killed_is_completed(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: path == store_path)
    started = shutil.copytree(store_path, store_path.parent / "copy")
    for fatal in range(60):
        budget = [fatal]
        with (
            patch.object(Path, "replace", dying(Path.replace, budget)),
            patch("shutil.rmtree", dying(shutil.rmtree, budget)),
            patch.object(Path, "unlink", lambda path, missing_ok=False: None),
        ):
            try:
                delete_episodes(store_path, {6: [0]})
                break
            except KilledError:
                pass
        assert open_store(store_path).tasks[6].record.episodes in (4, 5)
        assert validate(store_path) == []
        shutil.rmtree(store_path)
        shutil.copytree(started, store_path)
    assert fatal >= 6


def test_a_real_mount_point(tmp_path: Path, collected: Path) -> None:
    """In a mount namespace of the test's own."""
    script = f"""
import shutil, sys
from pathlib import Path
from clwm_data.edit import delete_episodes
from clwm_data.collection.collector import collect
from clwm_data.opening import open_store
from clwm_data.store.validate import validate
from tests.conftest import tiny_manifest
path = Path({str(tmp_path / "m")!r})
shutil.copytree({str(collected)!r}, path, dirs_exist_ok=True)
for _ in range(2):
    delete_episodes(path, {{6: [0]}})
    assert validate(path) == [], validate(path)
    assert open_store(path).tasks[6].record.episodes == 4
    collect(tiny_manifest(), path, overwrite=True)
    assert validate(path) == []
    assert sorted(entry.name for entry in path.iterdir()) == ["tasks", "zarr.json"], list(path.iterdir())
    assert [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".m")] == []
"""
    (tmp_path / "m").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for mount in ("-t tmpfs tmpfs", f"--bind {tmp_path / 'elsewhere'}"):
        shell = f'mount {mount} {tmp_path / "m"} || exit 77; exec {sys.executable} -c "$SCRIPT"'
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell],
            env={**os.environ, "SCRIPT": script, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode in (1, 77) and "Traceback" not in done.stderr:
            pytest.skip("this system lets no ordinary user mount anything in a namespace")
        assert done.returncode == 0, done.stderr


def test_two_selections_to_one_target(collected: Path, tmp_path: Path) -> None:
    """One makes it, the other is refused; the window between the check and the last rename is widened."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    target = tmp_path / "t.zarr"
    processes = [
        context.Process(target=select_slowly, args=(collected, target, barrier, answers)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = sorted(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
    assert found[0] == ""
    assert "t.zarr: another process is writing to it" in found[1] or "t.zarr: is there already" in found[1]
    assert validate(target) == []
    assert [path.name for path in tmp_path.iterdir()] == ["t.zarr"]


def select_slowly(source: Path, target: Path, barrier: object, answers: object) -> None:
    from clwm_data.edit import building

    real = building.put_in_place

    def slowly(*arguments: object) -> None:
        time.sleep(0.5)
        real(*arguments)

    building.put_in_place = slowly
    barrier.wait(60)
    try:
        select(source, target)
        answers.put("")
    except ClwmError as error:
        answers.put(str(error))


@pytest.fixture
def linked(store_path: Path, tmp_path: Path) -> Iterator[Path]:
    """A store on another disk, behind a link."""
    (tmp_path / "disk").mkdir()
    real = store_path.rename(tmp_path / "disk/real.zarr")
    store_path.symlink_to(real)
    yield store_path
    assert store_path.is_symlink()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["real.zarr"]
    assert not list(tmp_path.glob(".*"))


def test_linked_stores_are_edited_where_they_are(linked: Path, clwm: Clwm, tmp_path: Path) -> None:
    done = clwm("delete-episodes", linked, "--task", "6", "--episodes", "0")
    assert done.returncode == 0, done.stderr
    assert open_store(tmp_path / "disk/real.zarr").tasks[6].record.episodes == 4
    assert open_store(linked).name == "tiny"
    collect(tiny_manifest(), linked, overwrite=True)
    assert open_store(tmp_path / "disk/real.zarr").tasks[6].record.episodes == 5
    assert validate(linked) == []


def test_targets_behind_links(collected: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("selected.zarr", "gathered.zarr"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)  # nothing is there yet
    assert select(collected, tmp_path / "selected.zarr").name == "selected"
    collect(tiny_manifest(), tmp_path / "gathered.zarr")
    for name in ("selected.zarr", "gathered.zarr"):
        assert (tmp_path / name).is_symlink()
        assert validate(tmp_path / "disk" / name) == []
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(ClwmError, match="links form a loop"):
        select(collected, tmp_path / "circle")


def test_a_killed_overwrite_of_the_same_manifest_does_not_bring_the_old_data_back(store_path: Path) -> None:
    """Right after the exchange the old store lies where an interrupted overwrite would."""
    sound = tree(store_path)["tasks/0006/reward/c.0"]
    file = store_path / "tasks/0006/reward/c.0"
    file.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])

    def killed(folder: Path) -> None:
        raise KilledError

    with patch.object(replacement, "_remove_if_possible", killed), pytest.raises(KilledError):
        collect(tiny_manifest(), store_path, overwrite=True)
    collect(tiny_manifest(), store_path, overwrite=True)
    assert tree(store_path)["tasks/0006/reward/c.0"] == sound
    assert_sound(store_path)


def test_a_writer_of_the_new_store_waits_until_the_old_one_is_removed(store_path: Path) -> None:
    real = replacement._remove_if_possible

    def rival(folder: Path) -> None:
        with pytest.raises(ConflictError, match="another process is writing"):
            delete_episodes(store_path, {12: [0]})
        real(folder)

    with patch.object(replacement, "_remove_if_possible", rival):
        delete_episodes(store_path, {6: [0]})
    assert_sound(store_path)
