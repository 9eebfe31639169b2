"""Training on data that does not fit into memory: arrays are decoded once into files and memory-mapped.

The operating system then reads windows page by page, and keeps them in memory as long as there is room. The
files are keyed by their content (the store's content, its splits, the scaling), so that all runs on the same
data share them. Like the files of a store they are compared with their digests whenever they are opened.
"""

from __future__ import annotations

import mmap
import shutil
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from clwm_data.bounded import open_file, read_bounded
from clwm_data.cache import cache_folder, waiting_lock
from clwm_data.disk import disk_errors
from clwm_data.errors import DamagedDataError, UnavailableError
from clwm_data.memory import available_memory
from clwm_data.store import Store
from clwm_data.store.atomic import move_folder, write_json
from clwm_data.store.digest import content_sha256, file_sha256, json_sha256
from clwm_data.store.root import parse_json
from clwm_train.config import DataConfig
from clwm_train.data.normaliser import Normaliser
from clwm_train.data.task_data import COLUMNS, TaskData, extremes, load_task_data, task_offsets, train_splits
from clwm_train.settings import Memory

#: Version of the layout of the cached files.
LAYOUT = 2
#: Share of the free memory that data may take: networks, optimisers and activations need room, too.
FREE_SHARE = 0.8
#: What each episode has one of is small, and always in memory.
PER_EPISODE = ("episode_start", "episode_length")
NORMALISER = ("mean", "std", "reward_scale")
#: The file of the other files' SHA-256.
DIGESTS = "sha256.json"


def read_task_data(
    store: Store, config: DataConfig, *, device: torch.device | str = "cpu", memory: Memory = "auto"
) -> TaskData:
    """A store's data on the device, or memory-mapped if it would not fit.

    Args:
        store: the data.
        config: scaling; fitted to the train tasks.
        device: to train on.
        memory: as for :func:`choose_memory`.

    Raises:
        InvalidInputError: no train task.
        DamagedDataError: data, or a file of the cache, is damaged.
        UnavailableError: no room in memory or for the files.
    """
    if choose_memory(store, device, memory) == "mmap":
        return map_task_data(store, config)
    try:
        return load_task_data(store.tasks, config, name=str(store.path), device=device)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise UnavailableError(f"{store.path}: does not fit into memory: train with --memory mmap") from error


def choose_memory(
    store: Store, device: torch.device | str, memory: Memory = "auto"
) -> Literal["ram", "mmap"]:
    """Where to keep a store's data.

    Args:
        store: the data.
        device: to train on.
        memory: ``ram``: on the device; ``mmap``: memory-mapped files of the cache; ``auto``: mapped if
            loading would take most of the free memory.
    """
    if memory != "auto":
        return memory
    columns = [sum(task.arrays[name].nbytes for task in store.tasks.values()) for name in COLUMNS]
    columns += [4 * task.record.transitions * (task.record.discrete_actions or 0) for task in store]
    loading = sum(columns) + max(columns)  # the largest is briefly held twice
    free = available_memory()
    device = torch.device(device)
    if device.type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    return "mmap" if loading > FREE_SHARE * free else "ram"


def map_task_data(store: Store, config: DataConfig) -> TaskData:
    """A store's data, memory-mapped, bit-identical to :func:`~clwm_train.data.task_data.load_task_data`.

    The first call makes the files, with one task at a time in memory; other processes that need them wait,
    and a killed one leaves no files that would be used.

    Raises:
        InvalidInputError: no train task.
        DamagedDataError: data, or a file of the cache, is damaged.
        UnavailableError: no room in memory or for the files.
    """
    indices, splits = train_splits(store.tasks, str(store.path))
    key = {
        "layout": LAYOUT,
        # Not the digest in the root: a damaged store must not replace another's data.
        "content": content_sha256({str(index): store.tasks[index].record.arrays for index in indices}),
        "splits": splits,
        "scaling": config.model_dump(mode="json"),
    }
    folder = cache_folder("mapped") / json_sha256(key)
    with disk_errors(folder, "CLWM_CACHE chooses another folder"):
        if not folder.is_dir():
            with waiting_lock(folder.with_name(f"{folder.name}.lock"), f"{store.path}: decoding into files"):
                if not folder.is_dir():
                    _build(folder, store, config)
    try:
        _check(folder)
        columns, normaliser = _open(folder, config)
    except (OSError, ValueError, RuntimeError) as error:
        raise DamagedDataError(f"{folder}: is damaged: delete it and run the same command again") from error
    records = [store.tasks[index].record for index in indices]
    return TaskData(
        tasks=indices,
        splits=splits,
        first_transition=torch.from_numpy(task_offsets([record.transitions for record in records])),
        first_episode=torch.from_numpy(task_offsets([record.episodes for record in records])),
        lengths=extremes([columns["episode_length"].numpy()]),
        normaliser=normaliser,
        **columns,
    )


def _build(folder: Path, store: Store, config: DataConfig) -> None:
    building = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(building, ignore_errors=True)  # left by a killed process: we hold the lock
    building.mkdir()
    try:
        _fill(building, store, config)
        write_json(building / DIGESTS, {name: file_sha256(building / name) for name in _file_names()})
        move_folder(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _fill(folder: Path, store: Store, config: DataConfig) -> None:
    """Write all columns, with one task in memory at a time."""
    tasks = [store.tasks[index] for index in sorted(store.tasks)]
    sizes = {name: tasks[0].arrays[name].shape[1:] for name in COLUMNS}
    sizes["action"] = [tasks[0].action_size]
    train = (task.load() for task in tasks if task.split == "train")
    normaliser = Normaliser.fit(train, sizes["observation"][0], config)
    for name in NORMALISER:
        np.save(folder / f"{name}.npy", getattr(normaliser, name).numpy())
    with ExitStack() as files:
        streams = {}
        for name in COLUMNS:
            stream = files.enter_context((folder / f"{name}.npy").open("wb"))
            rows = sum(task.arrays[name].shape[0] for task in tasks)
            # As in memory, where discrete actions are one-hot.
            dtype = np.dtype("float32" if name == "action" else tasks[0].arrays[name].data_type)
            header = {"descr": dtype.str, "fortran_order": False, "shape": (rows, *sizes[name])}
            np.lib.format.write_array_header_1_0(stream, header)
            streams[name] = stream
        first = 0
        for task in tasks:
            arrays = task.load()  # verified: the cache must not keep damaged data after a repair
            named: dict[str, Any] = {name: getattr(arrays, name) for name in COLUMNS}
            named["observation"] = normaliser.observation(torch.from_numpy(arrays.observation)).numpy()
            named["reward"] = normaliser.reward(torch.from_numpy(arrays.reward)).numpy()
            named["episode_start"] = arrays.episode_start + first
            for name, stream in streams.items():
                stream.write(np.ascontiguousarray(named[name]).data)
            first += arrays.transitions


def _file_names() -> list[str]:
    return [f"{name}.npy" for name in (*COLUMNS, *NORMALISER)]


def _check(folder: Path) -> None:
    """Compare the files with their digests.

    Raises:
        OSError: one cannot be read.
        ValueError: they differ.
    """
    path = folder / DIGESTS
    if {name: file_sha256(folder / name) for name in _file_names()} != parse_json(
        read_bounded(path), str(path)
    ):
        raise ValueError("the digests differ")


def _open(folder: Path, config: DataConfig) -> tuple[dict[str, Tensor], Normaliser]:
    size = sum(path.stat().st_size for path in folder.iterdir())
    # Windows are random: reading ahead is useful only if all of the file stays in memory.
    fits = size < available_memory()
    columns = {
        name: _loaded(folder / f"{name}.npy")
        if name in PER_EPISODE
        else _mapped(folder / f"{name}.npy", fits)
        for name in COLUMNS
    }
    normaliser = Normaliser(columns["observation"].shape[1], config.clip_observation)
    normaliser.load_state_dict({name: _loaded(folder / f"{name}.npy") for name in NORMALISER})
    return columns, normaliser


def _loaded(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, allow_pickle=False))


def _mapped(path: Path, fits: bool) -> Tensor:
    """A file's array, mapped privately: processes cannot change each other's data."""
    with open_file(path) as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mapping, "madvise"):  # not on Windows
            mapping.madvise(mmap.MADV_WILLNEED if fits else mmap.MADV_RANDOM)
        array = np.frombuffer(mapping, dtype, offset=stream.tell()).reshape(shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given (NumPy array|buffer) is not writ", UserWarning)
        return torch.from_numpy(array)
