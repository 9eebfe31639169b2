"""Nothing is lost: collections killed at any moment, on a full disk, and two at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.manifest import load_manifest
from clwm_data.store.format import METADATA, STAGING
from clwm_data.store.validate import validate
from tests.conftest import tree

MANIFEST = """
name: crash
family: point-robot
tasks: [3, 36]
behaviours:
  - {policy: random, episodes: 5}
  - {policy: scripted, noise: 0.5, episodes: 4}
seed: 5
"""
SEGMENT_TRANSITIONS = 80  # two episodes of point-robot: five segments per task
DIED = -9


class Answer(NamedTuple):
    code: int
    seconds: float
    error: str


class Mortal:
    """Collections in processes that can be told to die."""

    def __init__(self, manifest: Path, launcher: Sequence[str] = ()) -> None:
        self._manifest = manifest
        self._process = subprocess.Popen(
            [*launcher, sys.executable, str(Path(__file__).with_name("mortal.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    @property
    def root(self) -> Path:
        """The file system as that process sees it."""
        return Path(f"/proc/{self._process.pid}/root")

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def collect(self, out: Path, **changes: Any) -> Answer:
        error = self._manifest.with_name(f"error-{self._process.pid}")
        error.write_text("")
        order = {
            "manifest": str(self._manifest),
            "out": str(out),
            "stderr": str(error),
            "die_after": None,
            "die_at_change": None,
            "count_changes": None,
            "segment_transitions": SEGMENT_TRANSITIONS,
            "workers": 1,
            "overwrite": False,
            **changes,
        }
        return Answer(**self.ask(order), error=error.read_text())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "crash.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture(scope="module")
def mortal(manifest: Path) -> Iterator[Mortal]:
    process = Mortal(manifest)
    yield process
    process.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that exists: deaths of processes do not depend on the disk, and syncing one is slow."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def undisturbed(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    collect(load_manifest(str(manifest)), out)
    return contents(out)


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store; of the root without what tells when and by which call it was made."""
    files = tree(store)
    root = json.loads(files[METADATA])
    for key in ("provenance", "root_sha256"):
        del root["attributes"][key]
    return {**files, METADATA: json.dumps(root).encode()}


def assert_sound_if_begun(out: Path) -> None:
    """The store opens and validates from the moment on when it has a root; nothing else lies beside it."""
    if (out / METADATA).exists():
        assert [str(finding) for finding in validate(out)] == []
    elif out.exists():
        assert [path.name for path in out.iterdir()] in ([], [STAGING])


def assert_same_after_deaths(
    mortal: Mortal,
    folder: Path,
    undisturbed: dict[str, bytes],
    deaths: int,
    moment: Callable[[], dict[str, Any]],
) -> None:
    """Collect store after store, dying at ``moment()`` again and again, until there were enough deaths."""
    died = finished = 0
    while died < deaths or not finished:
        out = folder / f"{finished}.zarr"
        answer = mortal.collect(out, **(moment() if died < deaths else {}))
        assert answer.code in (0, DIED), answer.error
        assert_sound_if_begun(out)
        died += answer.code == DIED
        if answer.code == 0:
            assert contents(out) == undisturbed
            finished += 1


def count_changes(mortal: Mortal, folder: Path, out: Path, **changes: Any) -> int:
    """How many times a whole collection changes the file system."""
    counter = folder / "changes"
    assert mortal.collect(out, count_changes=str(counter), **changes).code == 0
    return counter.stat().st_size


def test_killed_at_100_random_moments(mortal: Mortal, folder: Path, undisturbed: dict[str, bytes]) -> None:
    whole = mortal.collect(folder / "timed.zarr").seconds
    generator = np.random.default_rng(0)
    assert_same_after_deaths(
        mortal, folder, undisturbed, 100, lambda: {"die_after": generator.uniform(0.0, whole)}
    )


def test_killed_before_random_changes_of_the_disk(
    mortal: Mortal, folder: Path, undisturbed: dict[str, bytes]
) -> None:
    """Random times seldom hit the short moments between two renames; counting changes does."""
    changes = count_changes(mortal, folder, folder / "counted.zarr")
    generator = np.random.default_rng(1)
    assert_same_after_deaths(
        mortal, folder, undisturbed, 60, lambda: {"die_at_change": int(generator.integers(changes))}
    )


def test_killed_while_overwriting(
    mortal: Mortal, manifest: Path, folder: Path, undisturbed: dict[str, bytes]
) -> None:
    """The old store stays until the new one is complete, also through the last steps of the exchange."""
    other = folder / "other.yaml"
    other.write_text(MANIFEST.replace("seed: 5", "seed: 6"))
    old, out = folder / "old.zarr", folder / "a.zarr"
    collect(load_manifest(str(other)), old)
    subprocess.run(["cp", "-r", old, out], check=True)
    changes = count_changes(mortal, folder, out, overwrite=True)
    for change in [*range(0, changes - 20, changes // 8), *range(changes - 20, changes)]:
        for path in folder.glob("*a.zarr*"):
            subprocess.run(["rm", "-r", path], check=True)
        subprocess.run(["cp", "-r", old, out], check=True)
        assert mortal.collect(out, overwrite=True, die_at_change=change).code == DIED
        if out.exists():
            assert validate(out) == []
            there = {name: file for name, file in contents(out).items() if not name.startswith(STAGING)}
            assert there in (contents(old), undisturbed)
        else:
            assert contents(folder / ".a.zarr.overwrite") == undisturbed
        answer = mortal.collect(out, overwrite=True)
        assert answer.code == 0, answer.error
        assert contents(out) == undisturbed
        assert sorted(path.name for path in folder.glob("*a.zarr*")) == ["a.zarr"]


def test_full_disk(manifest: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """On a file system of a few kilobytes, made in a mount namespace of the test's own."""
    launcher = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = [*launcher, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets no ordinary user mount a tmpfs in a namespace")
    mortal = Mortal(manifest, launcher)
    out = tmp_path / "small" / "a.zarr"
    out.parent.mkdir()
    seen = mortal.root / out.relative_to("/")
    failures = 0
    try:
        for kilobytes in range(24, 400, 24):
            mortal.ask({"mount": ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(out.parent)]})
            answer = mortal.collect(out)
            assert_sound_if_begun(seen)
            if answer.code:
                failures += 1
                assert answer.error.endswith(
                    "No space left on device: free space and run the same command again; it resumes"
                )
                mortal.ask({"mount": ["-o", "remount,size=8m", str(out.parent)]})
                answer = mortal.collect(out)
            assert answer.code == 0, answer.error
            assert contents(seen) == undisturbed
    finally:
        mortal.close()
    assert failures >= 8  # the sizes reach from "not even a root" to "nearly complete"


def test_two_collectors_on_one_store(
    mortal: Mortal, manifest: Path, folder: Path, undisturbed: dict[str, bytes]
) -> None:
    rival = Mortal(manifest)
    refused = 0
    try:
        with ThreadPoolExecutor(2) as pool:
            for attempt in range(5):
                out = folder / f"{attempt}.zarr"
                answers = list(pool.map(lambda collector, out=out: collector.collect(out), (mortal, rival)))
                assert min(answer.code for answer in answers) == 0
                for answer in answers:
                    if answer.code:
                        refused += 1
                        assert "another process" in answer.error
                assert contents(out) == undisturbed
    finally:
        rival.close()
    assert refused


def test_killed_with_workers(mortal: Mortal, folder: Path, undisturbed: dict[str, bytes]) -> None:
    """While the workers are at it: before changes of the collector's own, which say how far it has come."""
    changes = count_changes(mortal, folder, folder / "counted.zarr", workers=2)
    for share in (0.2, 0.5, 0.8):
        out = folder / f"{share}.zarr"
        assert mortal.collect(out, workers=2, die_at_change=int(share * changes)).code == DIED
        assert_sound_if_begun(out)
        answer = mortal.collect(out, workers=2)
        assert answer.code == 0, answer.error
        assert contents(out) == undisturbed


def test_a_script_without_its_guard_is_told_and_goes_on_with_it(
    manifest: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Spawned workers import the script, which begins to collect again."""
    script, out = tmp_path / "script.py", tmp_path / "store.zarr"
    collecting = f"clwm_data.collect({str(manifest)!r}, {str(out)!r}, workers=2)"
    for guard in ("if True:", 'if __name__ == "__main__":'):
        script.write_text(f"import clwm_data\n\n{guard}\n    {collecting}\n")
        ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
        if guard == "if True:":
            assert ended.returncode == 1
            assert 'a script that starts workers needs `if __name__ == "__main__":`' in ended.stderr
        else:
            assert ended.returncode == 0, ended.stderr
    assert contents(out) == undisturbed
