"""Collection on Ray: a local cluster of two workers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from clwm_data.collection import ray_pool
from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError
from clwm_data.manifest import BehaviourEntry
from clwm_data.opening import open_store
from clwm_data.store.lock import is_locked
from clwm_data.store.provenance import package_versions
from clwm_data.store.validate import validate
from tests.conftest import tiny_manifest

MANIFEST = tiny_manifest(tasks=range(4), episodes=300)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[ModuleType]:
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error"
        )
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of what one process collects."""
    store = collect(MANIFEST, tmp_path_factory.mktemp("one") / "s.zarr")
    return store.record.content_sha256


def test_a_cluster_gives_the_same_bytes(two_workers: ModuleType, one_process: str, tmp_path: Path) -> None:
    store = collect(MANIFEST, tmp_path / "s.zarr", engine="ray")
    assert store.record.content_sha256 == one_process
    assert validate(store.path) == []
    assert not (store.path / ".collect").exists()
    assert two_workers.is_initialized()  # it was not ours to shut down


def test_an_interrupted_collection_resumes_to_the_same_bytes(
    two_workers: ModuleType, one_process: str, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt

    path = tmp_path / "s.zarr"
    with pytest.raises(KeyboardInterrupt):
        collect(MANIFEST, path, engine="ray", workers=1, on_progress=interrupt)
    assert not is_locked(path)
    assert validate(path) == []
    assert len(open_store(path).tasks) < 4
    assert collect(MANIFEST, path, engine="ray").record.content_sha256 == one_process


def test_episodes_without_a_fixed_number(two_workers: ModuleType, tmp_path: Path) -> None:
    """What follows a segment is known only when it is done."""
    mixture = [BehaviourEntry(policy="random", transitions=12_345)]
    manifest = MANIFEST.model_copy(update={"behaviours": mixture, "tasks": [3]})
    store = collect(manifest, tmp_path / "ray.zarr", engine="ray", workers=2)
    assert store.record.content_sha256 == collect(manifest, tmp_path / "one.zarr").record.content_sha256


def test_a_machine_with_other_versions_is_refused(
    two_workers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "package_versions", lambda: {**package_versions(), "numpy": "1.0"})
    with pytest.raises(ClwmError, match=r"^Ray node \S+ has numpy \S+, not 1\.0: install the same$"):
        collect(MANIFEST, tmp_path / "s.zarr", engine="ray")


def test_a_machine_that_does_not_share_the_folder_is_refused(
    two_workers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setattr(Path, "absolute", lambda path: elsewhere)
    with pytest.raises(ClwmError, match=r"does not see .*elsewhere: it must lie on a shared file system$"):
        collect(MANIFEST, tmp_path / "s.zarr", engine="ray")
    assert not elsewhere.exists()


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClwmError, match=r'^--engine ray needs the package ray: pip install "clwm\[ray\]"$'):
        collect(MANIFEST, tmp_path / "s.zarr", engine="ray")
    assert not (tmp_path / "s.zarr").exists()


def test_a_cluster_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
    with pytest.raises(
        ClwmError, match=r"^cannot join a Ray cluster \(RAY_ADDRESS=127\.0\.0\.1:\d+\): .*refused"
    ):
        collect(MANIFEST, tmp_path / "s.zarr", engine="ray")
