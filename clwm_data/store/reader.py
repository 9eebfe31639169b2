"""Reading a store: metadata at once, arrays when asked for.

Nothing in a store is trusted: its metadata is checked when it is opened, its data files before they are
decoded, and their values before anything is computed from them (see :mod:`~clwm_data.store.root`,
:mod:`~clwm_data.store.array_metadata`, :mod:`~clwm_data.store.chunks` and
:mod:`~clwm_data.store.stored_task`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.families import TaskFamily, is_family
from clwm_data.families.base import Split
from clwm_data.families.stored import StoredFamily
from clwm_data.manifest import Manifest
from clwm_data.paths import real_path
from clwm_data.ranges import IndexChoice, format_indices, whole
from clwm_data.store.arrays import Episode
from clwm_data.store.flat import chosen_tasks, flat_arrays
from clwm_data.store.format import METADATA, TASKS, Origin, Provenance, StoreRecord, task_folder
from clwm_data.store.overview import as_html, as_line
from clwm_data.store.replacement import settle
from clwm_data.store.root import Root, json_or_none, read_root
from clwm_data.store.stored_family import stored_family
from clwm_data.store.stored_task import Fetch, StoredTask

if TYPE_CHECKING:
    from tensordict import TensorDict

    from clwm_data.families.envs import TaskEnv
    from clwm_data.store.torch_dataset import TorchDataset


class Store:
    """A dataset on disk: tasks with their episodes, the manifest that made them, and provenance.

    ``len(store)`` is the number of its tasks, ``store[7]`` the task of index 7 in the family, and iteration
    goes through the tasks in the order of their indices. A store can be pickled; what is read later must
    still be what was there when it was opened.

    Attributes:
        path: folder of the store.
        root: its root metadata.
    """

    def __init__(self, path: Path, root: Root, fetch: Fetch | None = None) -> None:
        self.path = path
        self.root = root
        self._fetch = fetch

    @property
    def record(self) -> StoreRecord:
        """Attributes of the root."""
        return self.root.record

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.record.manifest.name

    @property
    def family(self) -> str:
        """Name of the task family."""
        return self.record.manifest.family

    @property
    def task_family(self) -> TaskFamily:
        """The task family; one that is not known here consists of the store's tasks, without environments.

        Raises:
            NotFoundError: it is not known here, and the store holds no task.
        """
        return self._stored_family if self.known_family is None else self.known_family

    @property
    def known_family(self) -> TaskFamily | None:
        """The family that the store declares, or the one of its name; ``None`` where that is not known."""
        declared = self.manifest.declared_family is not None
        return self.manifest.task_family if declared or is_family(self.family) else None

    @cached_property
    def _stored_family(self) -> StoredFamily:
        return stored_family(self)

    @property
    def manifest(self) -> Manifest:
        """The resolved manifest; it may list tasks that are not here (see ``missing_tasks``)."""
        return self.record.manifest

    @property
    def provenance(self) -> Provenance:
        """When, how and with which versions the data was collected."""
        return self.record.provenance

    @property
    def origin(self) -> Origin | None:
        """Where the store was downloaded from, or ``None``."""
        return self.record.origin

    @cached_property
    def tasks(self) -> Mapping[int, StoredTask]:
        """Tasks by index, ascending; the metadata of each is checked when it is first asked for.

        Asking for one raises a ``DamagedDataError`` if the root lists it but its metadata is missing or
        damaged.
        """
        return _Tasks(self)

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[StoredTask]:
        return iter(self.tasks.values())

    def __bool__(self) -> bool:
        """Always true: a store without tasks is a store, too."""
        return True

    def __contains__(self, index: object) -> bool:
        return index in self.tasks

    def __getitem__(self, index: int) -> StoredTask:
        """The task of an index in the family.

        Raises:
            InvalidInputError: the index is not a whole number.
            NotFoundError: the store does not hold it.
            DamagedDataError: its metadata is damaged.
        """
        number = whole(index)
        if number is None:
            raise InvalidInputError(f"{self.path}: a task is a whole number from 0 on, not {index!r}")
        if number not in self.tasks:
            raise NotFoundError(f"{self.path}: holds no task {number}; it has {format_indices(self.tasks)}")
        return self.tasks[number]

    def __fspath__(self) -> str:
        """Path of the folder: what takes the path of a store takes the store, too."""
        return str(self.path)

    def __repr__(self) -> str:
        return as_line(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def __reduce__(self) -> tuple[type[Store], tuple[Path, Root, Fetch | None]]:
        return Store, (self.path, self.root, self._fetch)

    def split(self, split: Split) -> tuple[int, ...]:
        """Indices of the tasks of one split that are here, ascending.

        Raises:
            InvalidInputError: it is not ``train``, ``id`` or ``ood``.
        """
        return tuple(chosen_tasks(self, None, split))

    def make_env(self, task: int, *, render_mode: str | None = None) -> TaskEnv:
        """The Gymnasium environment of one of the store's tasks.

        Raises:
            NotFoundError: the store does not hold the task, or its family is not known here.
            MissingExtraError: the simulator is not installed.
        """
        return self.task_family.make_env(self[task].index, render_mode=render_mode)

    def episodes(
        self, tasks: IndexChoice | None = None, split: Split | None = None, *, verify: bool = True
    ) -> Iterator[tuple[int, Episode]]:
        """Every episode with the index of its task; one task at a time is in memory.

        Args:
            tasks: only these: indices, one of them, or text such as ``"0-4,7"``.
            split: only tasks of this split.
            verify: as :meth:`StoredTask.load` does.

        Raises:
            NotFoundError: a task that is not here.
            ClwmError: as :meth:`StoredTask.load`.
        """
        for index in chosen_tasks(self, tasks, split):
            for episode in self.tasks[index].load(verify=verify):
                yield index, episode

    def to_arrays(
        self, tasks: IndexChoice | None = None, split: Split | None = None, *, verify: bool = True
    ) -> dict[str, NDArray[Any]]:
        """All transitions, one row each, copied into flat arrays of the M transitions of all chosen tasks.

        Args:
            tasks: only these: indices, one of them, or text such as ``"0-4,7"``.
            split: only tasks of this split.
            verify: as :meth:`StoredTask.load` does.

        Returns:
            ``observation`` [M, obs], ``action`` [M, act] (numbers [M] of discrete ones), ``reward`` [M],
            ``next_observation`` [M, obs],
            ``terminated`` [M], ``truncated`` [M], ``success`` [M] where the family has it, and the ``task``
            [M], ``episode`` [M] (number within the task) and ``behaviour`` [M] (index into the task's
            mixture) of every transition.

        Raises:
            NotFoundError: no task is chosen, or one that is not here.
            TooLargeError: the arrays do not fit into the memory that this process may use.
            ClwmError: as :meth:`StoredTask.load`.
        """
        return flat_arrays(self, chosen_tasks(self, tasks, split), verify=verify)

    def to_tensordict(
        self, tasks: IndexChoice | None = None, split: Split | None = None, *, verify: bool = True
    ) -> TensorDict:
        """The arrays of :meth:`to_arrays` as a TensorDict of batch size [M], by the same names.

        Raises:
            MissingExtraError: tensordict is not installed.
            ClwmError: as :meth:`to_arrays`.
        """
        tensordict = require("tensordict", "tensordict", "a TensorDict of a store")
        arrays = self.to_arrays(tasks, split, verify=verify)
        made: TensorDict = tensordict.TensorDict(arrays, batch_size=[len(arrays["reward"])])
        return made

    def torch_dataset(
        self,
        horizon: int | None = None,
        tasks: IndexChoice | None = None,
        split: Split | None = None,
        *,
        verify: bool = True,
    ) -> TorchDataset:
        """A map-style dataset for PyTorch's ``DataLoader``; it pickles, for spawned and forked workers.

        Args:
            horizon: items are windows of that many consecutive steps; by default they are transitions.
            tasks: only these: indices, one of them, or text such as ``"0-4,7"``.
            split: only tasks of this split.
            verify: as :meth:`StoredTask.load` does.

        Raises:
            NotFoundError: no task is chosen, or one that is not here.
            InvalidInputError: no episode is as long as the horizon.
            MissingExtraError: torch is not installed.
        """
        from clwm_data.store.torch_dataset import TorchDataset

        return TorchDataset(self, chosen_tasks(self, tasks, split), horizon, verify=verify)

    @property
    def missing_tasks(self) -> tuple[int, ...]:
        """Tasks of the manifest that this store does not hold (not collected yet, or not downloaded)."""
        listed = (
            self.manifest.tasks if isinstance(self.manifest.tasks, list) else self.manifest.task_indices()
        )
        return tuple(index for index in listed if str(index) not in self.record.tasks)

    @cached_property
    def _widths(self) -> dict[str, int]:
        """Entries of an observation and of an action; those of the first task if the family is not known."""
        family = self.known_family
        if family is not None:
            return {"observation": family.observation_size, "action": family.action_size}
        record = self.root.task(next(iter(self.root.indices)), str(self.path))
        arrays = self.root.arrays(record, str(self.path))
        action = record.discrete_actions or arrays["action"].shape[1]
        return {"observation": arrays["observation"].shape[1], "action": action}

    def _verify_metadata(self) -> None:
        """Compare the root with its digests, and the group of the tasks, which lists none, with the root.

        Raises:
            DamagedDataError: they differ.
        """
        self.root.verify(str(self.path))
        # A store in the cache has no such group until all of its tasks are there.
        if self._fetch is None and not self._tasks_group_is_sound:
            raise DamagedDataError(
                f"{self.path}/{TASKS}/{METADATA}: is missing, or differs from the metadata in the root: "
                "restore it, or collect or download the store again (`clwm validate` shows all that is wrong)"
            )

    @cached_property
    def _tasks_group_is_sound(self) -> bool:
        return json_or_none(self.path / TASKS / METADATA) == self.root.nodes.get(TASKS)

    def _open_task(self, index: int) -> StoredTask:
        record = self.root.task(index, str(self.path))
        return StoredTask(
            record,
            partial(self.root.arrays, record, str(self.path)),
            self.path / TASKS / task_folder(index),
            sha256=self.record.tasks[str(index)],
            verify_root=self._verify_metadata,
            widths=self._widths,
            fetch=self._fetch,
        )


class _Tasks(Mapping[int, StoredTask]):
    """The tasks of a store. Each is checked when it is first used: there may be thousands."""

    def __init__(self, store: Store) -> None:
        self._open = store._open_task
        self._indices = dict.fromkeys(store.root.indices)  # ordered, with fast membership tests
        self._opened: dict[int, StoredTask] = {}

    def __getitem__(self, index: int) -> StoredTask:
        if index not in self._indices:
            raise KeyError(index)
        if index not in self._opened:
            self._opened[index] = self._open(index)
        return self._opened[index]

    def __contains__(self, index: object) -> bool:
        return index in self._indices

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __repr__(self) -> str:
        return f"<tasks {format_indices(self._indices)}>"


def open_local(path: Path) -> Store:
    """Open a store on this machine's disk for reading; no array is read yet.

    Raises:
        NotFoundError: no store there.
        DamagedDataError: its metadata is damaged, or not what this version of clwm can read.
    """
    settle(real_path(path))
    return Store(path, read_root(path))
