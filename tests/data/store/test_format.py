"""Reads a store as docs/format.md says, with Zarr and the standard library: clwm reads nothing here."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.conftest import ROOT

TYPES = {
    "observation": "float32",
    "action": "float32",
    "reward": "float32",
    "terminated": "bool",
    "truncated": "bool",
    "success": "bool",
    "episode_start": "int64",
    "episode_length": "int64",
    "episode_return": "float64",
    "episode_behaviour": "int16",
    "episode_seed": "uint64",
    "episode_initial_state": "float64",
}
OPTIONAL = {"success", "episode_seed", "episode_initial_state", "dense_reward"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def number(value: float) -> str:
    """A number as the document describes it, made from its digits rather than by the json module."""
    if isinstance(value, int):
        return str(value)
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    digits, exponent = next(
        text.split("e") for text in (f"{abs(value):.{n}e}" for n in range(17)) if float(text) == abs(value)
    )
    digits, power = digits.replace(".", "").rstrip("0") or "0", int(exponent)
    if value != 0 and not -5 < power < 16:
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return f"{sign}{digits[: power + 1].ljust(power + 1, '0')}.{digits[power + 1 :] or '0'}"


def canonical(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if value is None or isinstance(value, bool | str):
        return json.dumps(value)
    return number(value)


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.0, -2.5, 0.1, 1e-4, 1e-5, 1.5e-7, 1e15, 1e16, 1.25e22, 123456.789]
)
def test_numbers_are_written_as_the_document_says(value: float) -> None:
    assert number(value) == repr(value)


@pytest.fixture(params=["collected", "successful"])
def store(request: pytest.FixtureRequest, collected: Path, tmp_path: Path) -> Path:
    """One store with a single chunk per array, and one with many chunks and shards, zstd and success."""
    if request.param == "collected":
        return collected
    from clwm_data.families import Task
    from clwm_data.manifest import Storage
    from clwm_data.store import TaskArrays, writer
    from clwm_data.store.provenance import current_provenance
    from clwm_data.store.root_writer import write_root
    from tests.conftest import tiny_manifest
    from tests.data.store.test_store import random_episode

    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, int(rng.integers(1, 30)), bool(n % 2), n) for n in range(20)]
    arrays = TaskArrays.from_episodes(episodes)
    arrays = TaskArrays(**{**vars(arrays), "success": arrays.reward > 1, "episode_seed": None})
    manifest = tiny_manifest(tasks=[3]).model_copy(update={"storage": Storage(compression="zstd")})
    mixture = [entry.model_copy(update={"episodes": 10}) for entry in manifest.behaviours]
    path = tmp_path / "x.zarr"
    path.mkdir()
    task, sizes = Task(3, "ood", {"speed": 1e-05}), {"chunk_bytes": 100, "shard_bytes": 1000}
    writer.write_task(path, task, mixture, arrays, manifest.storage, **sizes)
    write_root(path, manifest, current_provenance())
    return path


def test_metadata_and_digests(store: Path) -> None:
    root = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
    attributes = root["attributes"]
    assert (attributes["format"], attributes["format_version"]) == ("clwm-store", 1)
    digest = attributes.pop("root_sha256")
    assert sha256(canonical(root).encode()) == digest
    nodes = root["consolidated_metadata"]["metadata"]
    for path, node in nodes.items():
        assert json.loads((store / path / "zarr.json").read_text(encoding="utf-8")) == node
    digests = {}
    for index, group_digest in attributes["tasks"].items():
        folder = store / "tasks" / index.zfill(4)
        assert sha256((folder / "zarr.json").read_bytes()) == group_digest
        task = nodes[f"tasks/{index.zfill(4)}"]["attributes"]
        assert task["index"] == int(index)
        there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {
            "zarr.json"
        }
        assert there == set(task["files"])
        for name, record in task["files"].items():
            data = (folder / name).read_bytes()
            assert (len(data), sha256(data)) == (record["bytes"], record["sha256"])
        digests[index] = task["arrays"]
    assert sha256(canonical(digests).encode()) == attributes["content_sha256"]


def test_arrays(store: Path) -> None:
    group = zarr.open_group(store, mode="r")
    for index in dict(group.attrs)["tasks"]:
        task = group[f"tasks/{index.zfill(4)}"]
        about = dict(task.attrs)
        assert set(TYPES) - OPTIONAL <= set(about["arrays"]) <= set(TYPES)
        arrays = {name: np.asarray(task[name][...]) for name in about["arrays"]}
        for name, array in arrays.items():
            assert array.dtype.name == TYPES[name]
            values = array.astype(array.dtype.newbyteorder("<")).tobytes(order="C")
            shape = ", ".join(map(str, array.shape))
            assert sha256(f"{TYPES[name]}[{shape}]".encode() + values) == about["arrays"][name]
            codecs = [codec["name"] for codec in task[name].metadata.to_dict()["codecs"]]
            assert codecs in (["bytes"], ["bytes", "zstd"], ["sharding_indexed"])
        episodes, transitions = about["episodes"], about["transitions"]
        assert arrays["observation"].shape[0] == transitions + episodes
        returns = []
        for e in range(episodes):
            start, length = int(arrays["episode_start"][e]), int(arrays["episode_length"][e])
            rewards = 0.0
            for t in range(length):
                i = start + t
                before, after = arrays["observation"][i + e], arrays["observation"][i + e + 1]
                assert np.isfinite([before, after]).all()
                assert (np.abs(arrays["action"][i]) <= 1).all()
                ends = bool(arrays["terminated"][i]) + bool(arrays["truncated"][i])
                assert ends == (t == length - 1)
                rewards += float(arrays["reward"][i])
            assert rewards == pytest.approx(arrays["episode_return"][e], rel=1e-12, abs=1e-12)
            returns.append(rewards)
        assert start + length == transitions
        statistics = about["statistics"]
        assert statistics["returns"]["mean"] == pytest.approx(sum(returns) / episodes)
        assert statistics["returns"]["std"] == pytest.approx(float(np.std(returns)))
        for entry, summary in enumerate(statistics["returns_by_behaviour"]):
            mine = [value for e, value in enumerate(returns) if arrays["episode_behaviour"][e] == entry]
            assert len(mine) == about["behaviours"][entry]["episodes"] == summary["episodes"]
            assert (summary["min"], summary["max"]) == pytest.approx((min(mine), max(mine)))
        if "success" in arrays:
            rows = zip(arrays["episode_start"], arrays["episode_length"], strict=True)
            solved = [arrays["success"][start : start + length].any() for start, length in rows]
            assert statistics["success_rate"] == pytest.approx(np.mean(solved))
        else:
            assert statistics["success_rate"] is None


def test_the_document_names_every_key(store: Path) -> None:
    text = (ROOT / "docs/format.md").read_text()
    root = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
    keys = {*TYPES, *root["attributes"], *root["attributes"]["manifest"], *root["attributes"]["provenance"]}
    for path, node in root["consolidated_metadata"]["metadata"].items():
        if path.count("/") == 1:
            keys |= {
                *node["attributes"],
                *node["attributes"]["statistics"],
                *node["attributes"]["behaviours"][0],
            }
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
