from __future__ import annotations

import hashlib
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.manifest import Storage
from clwm_data.opening import open_store
from clwm_data.store import data_file
from clwm_data.store import validate as validating
from clwm_data.store.data_file import DataFile, Scratch
from tests.data.store.test_store import random_episode, write_store


@pytest.fixture(params=["none", "zstd"])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Arrays of several files, of several chunks each."""
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, 100, False, seed) for seed in range(8)]
    path = tmp_path / "shards.zarr"
    storage = Storage(compression=request.param)
    write_store(path, {6: episodes, 7: episodes[:3]}, storage, chunk_bytes=500, shard_bytes=1500)
    return path


@pytest.mark.parametrize("whole", [0, 700, 2**26])
@pytest.mark.parametrize("kept", [0, 2**30])
def test_files_that_are_read_in_parts_hold_the_same(
    shards: Path, monkeypatch: pytest.MonkeyPatch, whole: int, kept: int
) -> None:
    expected = open_store(shards)[6].load().named()
    monkeypatch.setattr(data_file, "WHOLE_BYTES", whole)
    monkeypatch.setattr(validating, "KEPT_BYTES", kept)
    for name, array in open_store(shards)[6].load().named().items():
        np.testing.assert_array_equal(array, expected[name])
    assert not [finding for finding in validating.validate(shards) if "digest" in finding.what]
    file = shards / "tasks/0006/reward/c.0"
    damaged = bytearray(file.read_bytes())
    damaged[3] ^= 1
    file.write_bytes(damaged)
    assert any(
        "reward/c.0" in finding.where and "altered" in finding.what for finding in validating.validate(shards)
    )


@pytest.mark.parametrize("whole", [0, 2**26])
def test_bytes_and_digest_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    monkeypatch.setattr(data_file, "WHOLE_BYTES", whole)
    content = np.random.default_rng(0).bytes(3000)
    (tmp_path / "file").write_bytes(content)
    file = DataFile(tmp_path / "file")
    assert bytes(file.read(10, 20)) == content[10:30]
    assert bytes(file.read(2990, 100)) == content[2990:]
    assert file.sha256() == hashlib.sha256(content).hexdigest()


def test_a_file_of_another_size_than_it_should_have_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert bytes(DataFile(tmp_path / "file", size=5).read(0, 9)) == b"12345"
    other = DataFile(str(tmp_path / "file"), size=4)
    assert other.content is None
    assert other.size == 5
    assert other.path == tmp_path / "file"


def test_a_file_that_arrives_in_pieces_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(FileIO):
        def readinto(self, buffer: Any) -> int:
            return super().readinto(buffer[:7])

    content = np.random.default_rng(0).bytes(100)
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setattr(data_file, "open_unbuffered", lambda path: (Slow(path), 100))
    assert DataFile(tmp_path / "file").sha256() == hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(data_file, "open_unbuffered", lambda path: (Slow(path), 101))
    with pytest.raises(OSError, match="file: became shorter while it was read"):
        DataFile(tmp_path / "file")


def test_scratch_memory_is_used_again_and_never_twice_at_once() -> None:
    scratch = Scratch()
    scratch.reset([100, 3])
    first, second = scratch.take(100), scratch.take(3)
    first[:], second[:] = 1, 2
    assert first.sum() == 100
    assert second.sum() == 6
    beyond = scratch.take(10**6)  # a file that has grown
    beyond[:] = 3
    assert first.sum() == 100
    scratch.reset([100])
    assert np.shares_memory(scratch.take(100), first)
