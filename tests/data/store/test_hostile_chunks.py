"""Data files that lie or are damaged: bombs, shards, single bytes."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google_crc32c import value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numcodecs.zstd import Zstd

from clwm_data.errors import ClwmError
from clwm_data.manifest import Storage
from clwm_data.opening import open_store
from clwm_data.store.digest import file_sha256
from clwm_data.store.root_writer import write_root
from tests.data.store.test_hostile_store import array_node, change_root, little_memory
from tests.data.store.test_store import random_episode, write_store


@pytest.fixture
def zstd_store(tmp_path: Path) -> Path:
    """A task whose compressed arrays lie in shards of several chunks."""
    rng = np.random.default_rng(0)
    path = tmp_path / "zstd.zarr"
    episodes = [random_episode(rng, 100, False, i) for i in range(8)]
    write_store(path, {6: episodes}, Storage(compression="zstd"), chunk_bytes=500, shard_bytes=1500)
    assert "sharding_indexed" in (path / "tasks/0006/reward/zarr.json").read_text()
    return path


def replace_file(path: Path, name: str, text: bytes) -> Path:
    """Replace a data file by somebody who mends sizes and digests as well."""
    file = path / "tasks/0006" / name
    file.write_bytes(text)
    group = path / "tasks/0006/zarr.json"
    node = json.loads(group.read_text())
    files = node["attributes"]["files"]
    for listed in {name, *files}:
        altered = path / "tasks/0006" / listed
        files[listed] = {"bytes": altered.stat().st_size, "sha256": file_sha256(altered)}
    group.write_text(json.dumps(node))
    store = open_store(path)
    write_root(path, store.manifest, store.provenance)
    return path


def rle_frame(size: int, stated: int | None) -> bytes:
    """A zstd frame of zeros: 4 bytes for every 128 KiB; it may lie about its size, or not tell it."""
    blocks = [min(2**17, size - start) for start in range(0, size, 2**17)]
    body = b"".join(
        (block << 3 | 1 << 1 | (number == len(blocks) - 1)).to_bytes(3, "little") + b"\0"
        for number, block in enumerate(blocks)
    )
    if stated is None:
        return b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x58" + body  # a window of 2 MiB, no size
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + stated.to_bytes(8, "little") + body


def test_the_bomb_is_a_bomb() -> None:
    """What the checks below keep out does decompress to far more than it holds."""
    bomb = rle_frame(2**26, 2**26)
    assert len(bomb) < 2**26 / 2**14
    assert Zstd().decode(bomb) == bytes(2**26)
    assert Zstd().decode(rle_frame(2**20, None)) == bytes(2**20)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (rle_frame(2**32, 2**32), "decompresses to 4294967296 bytes, its shape needs 800"),
        (rle_frame(800, 2**60), "decompresses to 1152921504606846976 bytes"),
        (rle_frame(2**32, None), "does not state its decompressed size"),
        (rle_frame(800, 800) + rle_frame(2**32, 2**32), "not one zstd frame"),
        (rle_frame(2**32, 800), "reward: cannot be decoded"),
        (b"\x28\xb5\x2f\xfd\xe3" + bytes(20), "dictionary"),
        (b"PK\x03\x04" + bytes(20), "does not start with a zstd frame"),
        (b"\x28\xb5", "too short"),
        (rle_frame(800, 800)[:-3], "zstd frame is damaged"),
    ],
)
def test_chunks_that_decompress_to_more_than_their_shape_are_refused(
    store_path: Path, frame: bytes, words: str
) -> None:
    def use_zstd(root: dict[str, Any]) -> None:
        node = array_node(root)
        node["codecs"].append({"name": "zstd", "configuration": {"level": 3, "checksum": False}})
        (store_path / "tasks/0006/reward/zarr.json").write_text(json.dumps(node))

    assert open_store(store_path).tasks[6].arrays["reward"].nbytes == 800
    change_root(store_path, use_zstd)
    replace_file(store_path, "reward/c.0", frame)
    with little_memory(), pytest.raises(ClwmError, match=words):
        open_store(store_path).tasks[6].load()


def shard_index(text: bytes, chunks: int) -> np.ndarray:
    return np.frombuffer(text[-16 * chunks - 4 : -4], "<u8").reshape(chunks, 2).copy()


def with_index(text: bytes, index: np.ndarray) -> bytes:
    body = index.astype("<u8").tobytes()
    return text[: -len(body) - 4] + body + value(body).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ([2**64 - 1, 2**64 - 1], "is absent"),
        ([0, 10**12], "points outside"),
        ([2**63, 2**63], "points outside"),
        ([10**6, 20], "points outside"),
        ([1, 20], "does not start with a zstd frame"),
    ],
)
def test_a_shard_whose_index_lies_is_refused(zstd_store: Path, entry: list[int], words: str) -> None:
    file = zstd_store / "tasks/0006/reward/c.0"
    text = file.read_bytes()
    index = shard_index(text, 3)
    index[1] = entry
    replace_file(zstd_store, "reward/c.0", with_index(text, index))
    with little_memory(), pytest.raises(ClwmError, match=words):
        open_store(zstd_store).tasks[6].load()


def test_a_damaged_index_of_a_shard_is_found(zstd_store: Path) -> None:
    text = (zstd_store / "tasks/0006/observation/c.0.0").read_bytes()
    chunks = open_store(zstd_store).tasks[6].arrays["observation"]
    index = 16 * (chunks.file_shape[0] // chunks.chunk_shape[0]) + 4
    damaged = text[:-index] + bytes([text[-index] ^ 1]) + text[1 - index :]
    replace_file(zstd_store, "observation/c.0.0", damaged)
    with pytest.raises(ClwmError, match="does not agree with its checksum"):
        open_store(zstd_store).tasks[6].load()


def test_a_shard_shorter_than_its_index_is_refused(zstd_store: Path) -> None:
    replace_file(zstd_store, "reward/c.0", b"short")
    with pytest.raises(ClwmError, match="shorter than the index"):
        open_store(zstd_store).tasks[6].load()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_of_a_data_file_is_an_error_or_harmless(zstd_store: Path, data: st.DataObject) -> None:
    """Random damage never ends in anything but one clear error, or values of the right shape."""
    files = sorted((zstd_store / "tasks/0006").glob("*/c.*"))
    file = data.draw(st.sampled_from(files))
    original = file.read_bytes()
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(damaged)
    try:
        arrays = open_store(zstd_store).tasks[6].load()
    except ClwmError:
        pass
    else:
        assert arrays.transitions == 800
    finally:
        file.write_bytes(original)


def test_a_store_of_a_stranger_is_never_unpickled(store_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch pwned",)

    replace_file(store_path, "reward/c.0", pickle.dumps(Trap()) + bytes(800))
    with pytest.raises(ClwmError):
        open_store(store_path).tasks[6].load()
    assert not Path("pwned").exists()
