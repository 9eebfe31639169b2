"""Training from mapped files: the same bits as from memory, with less of it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry
from clwm_data.opening import open_store
from clwm_data.store import Store, TaskArrays, writer
from clwm_data.store.digest import file_sha256
from clwm_data.store.provenance import current_provenance
from clwm_data.store.root_writer import write_root
from clwm_train.config import DataConfig
from clwm_train.data import mapped
from clwm_train.data.mapped import choose_memory, map_task_data
from clwm_train.data.task_data import TaskData, load_task_data
from clwm_train.runs.checkpoint import latest_checkpoint
from clwm_train.runs.run import describe_run, write_run
from clwm_train.settings import Execution
from clwm_train.training.train import train_run
from tests.conftest import tiny_manifest
from tests.train.helpers import small_config

CONFIG = DataConfig()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/mapped"


def assert_equal(left: TaskData, right: TaskData) -> None:
    for field in fields(TaskData):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype, field.name
            assert torch.equal(a, b), field.name
        elif field.name == "normaliser":
            for name, value in a.state_dict().items():
                assert torch.equal(value, b.state_dict()[name]), name
            assert a.clip == b.clip
        else:
            assert a == b


@pytest.mark.parametrize(
    "config",
    [
        DataConfig(standardise_observation=True, reward_scale="auto"),
        DataConfig(standardise_observation=False),
        DataConfig(standardise_observation=True, clip_observation=1.0),
    ],
)
def test_mapped_data_is_the_loaded_data(store: Store, config: DataConfig) -> None:
    loaded = load_task_data(store.tasks, config)
    assert_equal(map_task_data(store, config), loaded)
    assert_equal(map_task_data(store, config), loaded)  # from the files that are there now


def test_a_run_is_the_same_to_the_bit(store: Store, tmp_path: Path) -> None:
    digests = []
    for memory in ("ram", "mmap"):
        run = write_run(
            describe_run(
                tmp_path / memory,
                store,
                small_config("spc", "tiny"),
                method="spc",
                preset="tiny",
                seeds=(3,),
            )
        )
        assert train_run(run, store, execution=Execution(memory=memory))  # type: ignore[arg-type]
        digests.append([file_sha256(path) for path in sorted(latest_checkpoint(run.checkpoints).iterdir())])
    assert digests[0] == digests[1]


def test_runs_share_files_unless_their_data_differs(store: Store, cache: Path) -> None:
    def entries() -> int:
        return sum(path.is_dir() for path in cache.iterdir())

    map_task_data(store, CONFIG)
    map_task_data(open_store(store.path), CONFIG)
    assert entries() == 1
    map_task_data(store, DataConfig(reward_scale=0.5))
    assert entries() == 2


def test_a_store_cannot_pass_for_another(store: Store, tmp_path: Path) -> None:
    """The root of a store from anywhere may claim any digest of its content."""
    other = collect(tiny_manifest(tasks=(0, 6, 12, 13), seed=9), tmp_path / "other.zarr")
    claim = other.record.model_copy(update={"content_sha256": store.record.content_sha256})
    other.root.__dict__["record"] = claim
    assert other.record.content_sha256 == store.record.content_sha256
    with pytest.raises(DamagedDataError, match="content digest differs"):
        map_task_data(other, CONFIG)
    assert_equal(map_task_data(store, CONFIG), load_task_data(store.tasks, CONFIG))


def test_damaged_data_never_gets_into_the_files(store: Store, tmp_path: Path, cache: Path) -> None:
    damaged = Path(shutil.copytree(store.path, tmp_path / "damaged.zarr"))
    file = damaged / "tasks/0012/observation/c.0.0"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(ClwmError, match=r"observation/c\.0\.0: values differ from their digest"):
        map_task_data(open_store(damaged), CONFIG)
    assert_equal(map_task_data(store, CONFIG), load_task_data(store.tasks, CONFIG))


def test_concurrent_runs_make_the_files_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    fill = mapped._fill
    # Counts what is decoded: the files of a second decoding would be the same.
    monkeypatch.setattr(mapped, "_fill", lambda *arguments: (made.append(1), fill(*arguments)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: map_task_data(store, CONFIG), range(8)))
    assert len(made) == 1
    for data in found:
        assert_equal(data, load_task_data(store.tasks, CONFIG))


def test_a_killed_process_leaves_nothing_that_counts(store: Store, cache: Path) -> None:
    code = f"""
import os, signal
from clwm_data.opening import open_store
from clwm_train.data import mapped
from clwm_train.config import DataConfig
mapped.move_folder = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
mapped.map_task_data(open_store({str(store.path)!r}), DataConfig())
"""
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -signal.SIGKILL
    assert any(path.suffix == ".partial" for path in cache.iterdir())
    assert_equal(map_task_data(store, CONFIG), load_task_data(store.tasks, CONFIG))
    assert not any(path.suffix == ".partial" for path in cache.iterdir())


def test_a_full_disk_is_told(store: Store, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped, "_fill", full)  # stands for the disk
    with pytest.raises(ClwmError, match=r"No space left on device: free space .* CLWM_CACHE chooses another"):
        map_task_data(store, CONFIG)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_damaged_files_are_told(store: Store, cache: Path) -> None:
    """Whichever bit it is: training on it would be wrong without a word."""
    map_task_data(store, CONFIG)
    files = sorted(cache.glob("*/*.*"))
    assert {"observation.npy", "reward.npy", "episode_start.npy", "mean.npy"} < {file.name for file in files}
    for file in files:
        sound = file.read_bytes()
        flipped = bytearray(sound)
        flipped[-1] ^= 1
        for damaged in (sound[:-4], bytes(flipped), b""):
            file.write_bytes(damaged)
            with pytest.raises(ClwmError, match="is damaged: delete it"):
                map_task_data(store, CONFIG)
        file.write_bytes(sound)
    map_task_data(store, CONFIG)


def test_files_are_used_where_memory_is_short(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = sum(array.nbytes for task in store.tasks.values() for array in task.arrays.values())
    assert choose_memory(store, "cpu") == "ram"
    assert choose_memory(store, "cpu", "mmap") == "mmap"
    monkeypatch.setattr(mapped, "available_memory", lambda: needed)
    assert choose_memory(store, "cpu") == "mmap"
    assert choose_memory(store, "cpu", "ram") == "ram"
    monkeypatch.setattr(mapped, "available_memory", lambda: 3 * needed)
    assert choose_memory(store, "cpu") == "ram"


# -- more data than memory ---------------------------------------------------------------------------------

MEGABYTES_OF_DATA, MEGABYTES_OF_MEMORY = 80, 50

LIMITED = """
import resource, sys
import torch._dynamo  # what optimisers import when they are first used
from clwm_cli.main import main
from clwm_train import execution as api
from pathlib import Path
from clwm_data.memory import _kibibytes

def pick_device(name):
    # From here on: what the imports take is none of the data's.
    size = _kibibytes(Path('/proc/self/status'), "VmData") + int(sys.argv[1]) * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    return pick(name)

pick, api.pick_device = api.pick_device, pick_device
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of random numbers in the shape of a dataset."""
    path = tmp_path_factory.mktemp("large") / "large.zarr"
    path.mkdir()
    rng = np.random.default_rng(0)
    tasks, length = range(10, 30), 100
    episodes = MEGABYTES_OF_DATA * 10**6 // 21 // length // len(tasks)  # 21 bytes: s, a, r and an end
    mixture = [BehaviourEntry(policy="random", episodes=episodes)]
    manifest = tiny_manifest(tasks=tasks).model_copy(update={"behaviours": mixture})
    for index in tasks:
        end = np.tile(np.arange(length) == length - 1, episodes)
        arrays = TaskArrays(
            observation=rng.random((episodes * (length + 1), 2), np.float32),
            action=rng.random((episodes * length, 2), np.float32),
            reward=rng.random(episodes * length, np.float32),
            terminated=np.zeros_like(end),
            truncated=end,
            success=None,
            episode_start=np.arange(episodes) * length,
            episode_length=np.full(episodes, length),
            episode_return=np.ones(episodes),
            episode_seed=None,
            episode_behaviour=np.zeros(episodes, np.int16),
            episode_initial_state=None,
        )
        writer.write_task(path, get_family("point-robot").task(index), mixture, arrays, manifest.storage)
    write_root(path, manifest, current_provenance())
    return path


@pytest.mark.parametrize("memory", ["ram", "auto"])
def test_training_with_more_data_than_memory(large: Path, tmp_path: Path, memory: str) -> None:
    command = [sys.executable, "-c", LIMITED, str(MEGABYTES_OF_MEMORY), "train", str(large)]
    options = ["--steps", "3", "--threads", "1", "--memory", memory, "--out", str(tmp_path / "run")]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=one_thread)
    if memory == "ram":  # the limit does limit
        assert done.returncode == 1
        assert "large.zarr: does not fit into memory: train with --memory mmap" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "the data is mapped from files" in done.stderr
        assert "3 updates done" in done.stdout
