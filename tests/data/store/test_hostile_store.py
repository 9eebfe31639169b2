"""A store from a stranger: nothing in it may be believed, executed, or make this machine fall over."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.families import get_family
from clwm_data.opening import open_store
from clwm_data.store import stored_task, writer
from clwm_data.store.digest import content_sha256, root_sha256
from clwm_data.store.reader import Store
from clwm_data.store.root_writer import write_root
from tests.data.store.test_store import random_episode, write_store

TEN_TB = 10**13


def read_all(path: Path) -> None:
    for task in open_store(path).tasks.values():
        task.load()


def change_root(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A store whose root was edited by somebody who knows the format, and mends its digests."""
    file = path / "zarr.json"
    root = json.loads(file.read_text())
    change(root)
    nodes = root.get("consolidated_metadata", {}).get("metadata", {})
    attributes = root["attributes"]
    with suppress(KeyError, ValueError):  # where a task is missing
        arrays = {key: nodes[f"tasks/{int(key):04d}"]["attributes"]["arrays"] for key in attributes["tasks"]}
        attributes["content_sha256"] = content_sha256(arrays)
    attributes["root_sha256"] = root_sha256(root)
    file.write_text(json.dumps(root))
    return path


def array_node(root: dict[str, Any], name: str = "reward", task: int = 6) -> dict[str, Any]:
    node: dict[str, Any] = root["consolidated_metadata"]["metadata"][f"tasks/{task:04d}/{name}"]
    return node


def task_record(root: dict[str, Any], task: int = 6) -> dict[str, Any]:
    record: dict[str, Any] = root["consolidated_metadata"]["metadata"][f"tasks/{task:04d}"]["attributes"]
    return record


@contextmanager
def little_memory(more: int = 2**30) -> Iterator[None]:
    """Allow this process only a little more memory than it has: what allocates terabytes fails at once."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def claim_shape(root: dict[str, Any]) -> None:
    task_record(root)["transitions"] = TEN_TB
    array_node(root, "observation")["shape"][0] = TEN_TB + task_record(root)["episodes"]
    for name in ("action", "reward", "terminated", "truncated"):
        array_node(root, name)["shape"][0] = TEN_TB


def claim_shape_and_chunks(root: dict[str, Any]) -> None:
    claim_shape(root)
    for name in ("observation", "action", "reward", "terminated", "truncated"):
        array_node(root, name)["chunk_grid"]["configuration"]["chunk_shape"][0] = TEN_TB


def claim_more_than_the_files_hold(root: dict[str, Any]) -> None:
    array_node(root, "observation")["shape"][1] = 10**5
    array_node(root, "observation")["chunk_grid"]["configuration"]["chunk_shape"][1] = 10**5


def claim_huge_files(root: dict[str, Any]) -> None:
    claim_shape(root)
    record = task_record(root)
    for file in record["files"].values():
        file["bytes"] = 8 * TEN_TB


def with_codec(codec: dict[str, Any]) -> Callable[[dict[str, Any]], object]:
    return lambda root: array_node(root)["codecs"].append(codec)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (claim_shape, r"needs [\d,]+ files"),
        (claim_shape_and_chunks, "chunks of .* bytes are larger"),
        (claim_huge_files, r"needs [\d,]+ files"),
        (claim_more_than_the_files_hold, "claims 82000000 bytes, the files can hold at most 1640"),
        (lambda root: array_node(root).update(shape=[TEN_TB]), "has shape"),
        (lambda root: array_node(root).update(shape=[-1]), "greater than or equal to 1"),
        (lambda root: array_node(root).update(shape=[2**70]), "shape"),
        (lambda root: array_node(root).update(data_type="float64"), "expected an array of float32"),
        (lambda root: array_node(root).update(data_type="|O"), "expected an array of float32"),
        (with_codec({"name": "numcodecs.pickle", "configuration": {"protocol": 5}}), "codecs"),
        (with_codec({"name": "vlen-utf8"}), "codecs"),
        (with_codec({"name": "gzip", "configuration": {"level": 5}}), "codecs"),
        (
            with_codec({"name": "bytes", "configuration": {"endian": "little"}}),
            "expected bytes, optionally zstd",
        ),
        (lambda root: array_node(root).update(storage_transformers=[{"name": "x"}]), "storage_transformers"),
        (lambda root: array_node(root).update(fill_value=7), "fill value"),
        (lambda root: array_node(root).update(must_understand=True), "must_understand"),
        (lambda root: task_record(root).update(index=7), "does not describe task 6"),
        (lambda root: task_record(root)["arrays"].update(extra="0" * 64), "other arrays"),
        (lambda root: task_record(root)["files"].pop("reward/c.0"), "needs 1 file, 0 are listed"),
        (lambda root: root["consolidated_metadata"]["metadata"].pop("tasks/0006"), "task 6 is listed but"),
        (lambda root: root["consolidated_metadata"]["metadata"].pop("tasks/0006/action"), "0006/action"),
        (lambda root: root.pop("consolidated_metadata"), "no consolidated metadata"),
        (lambda root: root.update(zarr_format=2), "not the metadata of a Zarr v3 group"),
        (lambda root: root["attributes"]["tasks"].update({"six": "0" * 64}), "tasks.six"),
        (lambda root: root["attributes"]["tasks"].update({"7": "x"}), "tasks.7"),
        (lambda root: root["attributes"].update(surprise=1), "surprise"),
        (lambda root: root["attributes"]["manifest"].update(name="../../etc"), "manifest.name"),
        (lambda root: root["attributes"]["manifest"].update(description="\x1b[2J"), "manifest.description"),
        (lambda root: root["attributes"]["provenance"].update(command="\x9b2J"), "provenance.command"),
    ],
)
def test_metadata_that_lies_is_refused(
    store_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    change_root(store_path, change)
    with little_memory(), pytest.raises(ClwmError, match=words):
        read_all(store_path)


def test_floats_in_a_shape_are_refused_although_equal_integers_were_found_sound(store_path: Path) -> None:
    """Metadata that is the same as that of the task before is not checked again."""
    task = open_store(store_path)[12]
    shape = task.arrays["reward"].shape
    assert shape == open_store(store_path)[6].arrays["reward"].shape
    change_root(store_path, lambda root: array_node(root, task=12).update(shape=[*map(float, shape)]))
    assert open_store(store_path)[6].arrays["reward"].shape == shape
    with pytest.raises(ClwmError, match=r"tasks/0012/reward/zarr\.json: .*shape.*valid integer"):
        _ = open_store(store_path)[12].arrays


def test_a_task_that_would_decode_to_thousands_of_times_its_files_is_refused(store_path: Path) -> None:
    """Every array passes for itself: so many zeros do fit into their files."""
    rows, chunk = 2**24, 2**20

    def claim(root: dict[str, Any]) -> None:
        record = task_record(root)
        record["transitions"] = rows - record["episodes"]
        for name in ("observation", "action", "reward", "terminated", "truncated"):
            node = array_node(root, name)
            node["shape"][0] = rows - (0 if name == "observation" else record["episodes"])
            node["chunk_grid"]["configuration"]["chunk_shape"][0] = chunk
            node["codecs"] = [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 0, "checksum": False}},
            ]
            for file in [file for file in record["files"] if file.startswith(f"{name}/c")]:
                del record["files"][file]
            for number in range(rows // chunk):
                key = f"{name}/c.{number}" + (".0" if len(node["shape"]) == 2 else "")
                record["files"][key] = {"bytes": 1000, "sha256": "0" * 64}

    change_root(store_path, claim)
    with pytest.raises(ClwmError, match=r"claims \d+ bytes of arrays in \d+ bytes of files"):
        _ = open_store(store_path).tasks[6].arrays


def test_widths_that_are_not_the_family_s_are_refused(store_path: Path) -> None:
    store = open_store(store_path)
    arrays = store[6].load()
    wider = replace(arrays, observation=np.repeat(arrays.observation, 2, axis=1))
    shutil.rmtree(store_path / "tasks/0006")
    task = get_family("point-robot").task(6)
    writer.write_task(store_path, task, store.manifest.behaviours, wider, store.manifest.storage)
    write_root(store_path, store.manifest, store.provenance)
    with pytest.raises(ClwmError, match="0006/observation: has 4 columns, the store's family has 2"):
        open_store(store_path)[6].load()


def test_a_root_of_millions_of_empty_lists_is_not_parsed(store_path: Path) -> None:
    file = store_path / "zarr.json"
    file.write_text('{"a": [' + "[]," * 9_000_000 + "[]]}")
    with little_memory(2**28), pytest.raises(ClwmError, match="holds more than 16,777,216 values"):
        open_store(store_path)


def test_memory_errors_are_one_line(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(stored_task, "decode", decode)
    with pytest.raises(UnavailableError, match=r"0006: decodes to \d+ bytes, more than the memory"):
        open_store(store_path)[6].load()


@pytest.mark.parametrize(
    "file",
    [
        "../0007/reward/c.0",
        "/etc/passwd",
        "reward/../../../../etc/passwd",
        "reward/c.0/../c.0",
        "reward\\c.0",
        "..\\x/c.0",
        "reward/c.0\n",
        "reward/.hidden",
        "zarr.json",
        "reward/c.0.0.0",
    ],
)
def test_paths_that_leave_the_task_are_refused(store_path: Path, file: str) -> None:
    digest = {"bytes": 1, "sha256": "0" * 64}
    change_root(store_path, lambda root: task_record(root)["files"].update({file: digest}))
    with pytest.raises(ClwmError, match="attribute files"):
        read_all(store_path)


@pytest.mark.parametrize(
    "key", ["..", "tasks/../../x", "/etc", "tasks/0006/reward/x", "tasks/6", "../x.zarr"]
)
def test_nodes_that_leave_the_store_are_refused(store_path: Path, key: str) -> None:
    change_root(store_path, lambda root: root["consolidated_metadata"]["metadata"].update({key: {}}))
    with pytest.raises(ClwmError, match="is not a part of a store"):
        open_store(store_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "expected a JSON object"),
        (b'{"a": NaN}', "not a finite number"),
        (b'{"a": 1e999}', "not a finite number"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"{}", "not the metadata of a Zarr v3 group"),
    ],
)
def test_damaged_json_is_one_line(store_path: Path, text: bytes, words: str) -> None:
    (store_path / "zarr.json").write_bytes(text)
    with pytest.raises(ClwmError, match=words) as caught:
        open_store(store_path)
    assert "\n" not in str(caught.value)


def test_a_root_of_gigabytes_is_not_read(store_path: Path) -> None:
    with (store_path / "zarr.json").open("wb") as stream:
        stream.truncate(2**33)  # a sparse file
    with little_memory(), pytest.raises(ClwmError, match="not the root of a store"):
        open_store(store_path)


def test_an_array_file_other_than_the_checked_metadata_is_refused(store_path: Path) -> None:
    file = store_path / "tasks/0006/reward/zarr.json"
    node = json.loads(file.read_text())
    node["codecs"].append({"name": "gzip", "configuration": {"level": 1}})
    expected = open_store(store_path).tasks[6].load().reward
    file.write_text(json.dumps(node))
    task = open_store(store_path).tasks[6]
    with pytest.raises(ClwmError, match="reward"):
        task.array("reward")
    with pytest.raises(ClwmError, match=r"tasks/0006/reward/zarr\.json: was altered"):
        task.load()  # other programs would read that file
    unverified = task.load(verify=False).reward
    np.testing.assert_array_equal(unverified, expected)  # decoded by what was checked alone


def test_a_task_larger_than_the_memory_is_refused(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_task, "available_memory", lambda: 100)
    monkeypatch.setattr(stored_task, "MODEST_BYTES", 1000)
    with pytest.raises(UnavailableError, match="more than the memory of 100 bytes"):
        open_store(store_path).tasks[6].load()


def test_a_modest_task_is_read_without_a_look_at_the_memory(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes as long as reading such a task."""
    monkeypatch.setattr(stored_task, "available_memory", lambda: pytest.fail("was asked"))
    task = open_store(store_path).tasks[6]
    assert 1000 < task.nbytes < stored_task.MODEST_BYTES
    task.load()


# -- chunks ------------------------------------------------------------------------------------------------


def test_the_writer_writes_what_the_reader_accepts_whatever_the_codec_pipeline(tmp_path: Path) -> None:
    """The zarrs pipeline leaves chunks of zeros out, unless the writer sees to it."""
    pytest.importorskip("zarrs")
    rng = np.random.default_rng(0)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        write_store(tmp_path / "a.zarr", {6: [random_episode(rng, 30, False, 0)]})
        loaded = open_store(tmp_path / "a.zarr").tasks[6].load(verify=True)
    assert not loaded.terminated.any()


def test_hostile_stores_do_not_damage_each_other(collected: Path, tmp_path: Path) -> None:
    """The guards refuse nothing that is sound."""
    copy = Path(shutil.copytree(collected, tmp_path / "copy.zarr"))
    with little_memory():
        read_all(copy)
    assert isinstance(open_store(copy), Store)
