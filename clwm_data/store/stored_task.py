"""One task of a store: metadata at once, arrays when asked for, verified unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviour_name import behaviour_name
from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError, ConflictError, DamagedDataError
from clwm_data.families.base import Parameters, Split, with_tuples
from clwm_data.memory import TooLargeError, available_memory
from clwm_data.pages.numbers import plural
from clwm_data.store.arrays import DTYPES, OPTIONAL, TaskArrays, one_hot
from clwm_data.store.chunks import checked_chunks
from clwm_data.store.data_file import DataFile
from clwm_data.store.decode import Shard, can_decode, decode
from clwm_data.store.digest import array_sha256, document_sha256
from clwm_data.store.format import METADATA, TaskRecord, file_name
from clwm_data.store.root import parse_json
from clwm_data.store.soundness import value_findings

if TYPE_CHECKING:
    import zarr

    from clwm_data.store.array_metadata import ArrayMetadata

#: Largest ``zarr.json`` of an array; the writer's have half a kilobyte.
MAX_ARRAY_METADATA_BYTES = 2**20

#: Tasks of up to this size are read without asking how much memory is left, which takes as long as reading
#: some of them.
MODEST_BYTES = 2**24

#: Downloads the files of a task, given its index, to where the store keeps them.
Fetch = Callable[[int], object]


class StoredTask:
    """One task of a store.

    Attributes:
        record: its metadata.
    """

    def __init__(
        self,
        record: TaskRecord,
        arrays: Callable[[], Mapping[str, ArrayMetadata]],
        folder: Path,
        *,
        sha256: str,
        verify_root: Callable[[], None],
        widths: Mapping[str, int],
        fetch: Fetch | None = None,
    ) -> None:
        """A task whose metadata was checked.

        Args:
            record: its metadata.
            arrays: returns the checked metadata of its arrays, by name.
            folder: of its group.
            sha256: of the group's ``zarr.json``, as the store's root has it.
            verify_root: raises an error if the store's root differs from its digests.
            widths: number of columns that arrays of its family have, as far as it is known.
            fetch: downloads its files; ``None`` if they are on this machine.
        """
        self.record = record
        self._arrays = arrays
        self._folder = folder
        self._sha256 = sha256
        self._verify_root = verify_root
        self._widths = widths
        self._fetch = fetch
        self._local = fetch is None

    @property
    def index(self) -> int:
        """Task index in the family."""
        return self.record.index

    @property
    def split(self) -> Split:
        """``train``, ``id`` or ``ood``."""
        return self.record.split

    @property
    def parameters(self) -> Parameters:
        """The task's parameters."""
        return with_tuples(self.record.parameters)

    @cached_property
    def arrays(self) -> Mapping[str, ArrayMetadata]:
        """Metadata of its arrays, by name.

        Raises:
            DamagedDataError: it is not what the format says, or claims more than the files can hold.
        """
        return self._arrays()

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Names of the behaviours of its mixture; ``episode_behaviour`` is an index into them."""
        return tuple(behaviour_name(entry.label) for entry in self.record.behaviours)

    @property
    def observation_size(self) -> int:
        """Entries of an observation."""
        return self.arrays["observation"].shape[1]

    @property
    def action_size(self) -> int:
        """Entries of an action, or number of discrete actions."""
        return self.record.discrete_actions or self.arrays["action"].shape[1]

    @property
    def compression(self) -> Literal["none", "zstd"]:
        """How its float arrays are written; flags are always compressed."""
        return "zstd" if "zstd" in self.arrays["observation"].chunk_codecs else "none"

    @property
    def nbytes(self) -> int:
        """Size of its arrays in memory, where discrete actions are one-hot."""
        one_hot = 4 * self.record.transitions * (self.record.discrete_actions or 0)
        return one_hot + sum(array.nbytes for array in self.arrays.values())

    def damage(self) -> str | None:
        """What is wrong with its files, in a few words, from metadata and the sizes of the others.

        ``None`` if nothing is, and where they are elsewhere or not all downloaded yet; the data is not read.
        """
        if not self._local:
            return None
        if not self._folder.is_dir():
            return f"lacks its folder {self._folder.name}"
        sha256 = document_sha256(self._folder / METADATA)
        if sha256 is not None and sha256 != self._sha256:
            return f"has a {METADATA} that is not the one in the root's index"
        sizes = {name: file.bytes for name, file in self.record.files.items()}
        for name in (METADATA, *sizes):
            path = self._folder / name
            if not path.is_file():
                return f"lacks {name}"
            if name in sizes and (found := path.stat().st_size) != sizes[name]:
                return f"has {found} of {plural(sizes[name], 'byte')} of {name}"
        return None

    def __repr__(self) -> str:
        record = self.record
        parameters = ", ".join(f"{name} {value}" for name, value in record.parameters.items())
        return (
            f"<StoredTask {record.index} ({record.split}): {parameters}; "
            f"{plural(record.episodes, 'episode')}, {plural(record.transitions, 'transition')}, "
            f"mean return {record.statistics.returns.mean:.4g}>"
        )

    def array(self, name: str, *, verify: bool = True) -> zarr.Array[Any]:
        """The Zarr array of a name, not yet decoded; its files hold what its metadata says.

        Args:
            name: of the array.
            verify: compare the files with their digests, which reads them once.

        Raises:
            DamagedDataError: the array is missing or damaged.
        """
        from clwm_data.store.array_metadata import array_metadata

        self._prepare(verify)
        self._check_presence(name, verify)
        folder, metadata, files = self._folder / name, self.arrays[name], self.record.array_files(name)
        # zarr will read the array's own metadata: it must be what was checked.
        document = parse_json(
            read_bounded(folder / METADATA, MAX_ARRAY_METADATA_BYTES), f"{folder}/{METADATA}"
        )
        numbers = name == "action" and self.record.discrete_actions is not None
        checked = array_metadata(document, name, metadata.shape[0], files, str(folder), numbers=numbers)
        if checked != metadata:
            raise DamagedDataError(
                f"{folder}/{METADATA}: differs from the consolidated metadata in the root: collect or "
                "download the task again"
            )
        for shard in self._shards(name, {}):
            if verify and shard.file.sha256() != files[shard.file.path.name].sha256:
                raise DamagedDataError(_altered(shard.file.path))
        import zarr  # here, since it takes longer to import than all else

        return zarr.open_array(store=folder, mode="r", zarr_format=3)

    def load(self, *, verify: bool = True) -> TaskArrays:
        """All arrays of the task, decoded into memory.

        Args:
            verify: compare the values with their digests, and check that they are what the format promises:
                finite, actions in bounds, episodes one after another.

        Raises:
            DamagedDataError: an array is missing or damaged, or holds what no sound store does.
            ConflictError: the task was written again after the store was opened.
            TooLargeError: it does not fit into the memory that this process may use.
        """
        self._check_memory()
        self._prepare(verify)
        return self._decoded({}, verify)

    def load_from(self, files: Mapping[str, DataFile]) -> TaskArrays:
        """All arrays of the task, from files that were read and compared with their digests before.

        Args:
            files: path below the task's group (``reward/c.0``) -> the file.

        Raises:
            ClwmError: as :meth:`load` without ``verify``.
        """
        self._check_memory()
        return self._decoded(files, verify=False)

    def _check_memory(self) -> None:
        if self.nbytes > MODEST_BYTES and self.nbytes > (memory := available_memory()):
            raise TooLargeError(self._too_large(memory))

    def _decoded(self, files: Mapping[str, DataFile], verify: bool) -> TaskArrays:
        for name, width in self._widths.items() if verify else ():
            columns = self.observation_size if name == "observation" else self.action_size
            if columns != width:
                raise DamagedDataError(
                    f"{self._folder}/{name}: has {plural(columns, 'column')}, the store's family has "
                    f"{width}: it was collected by another version of the family, or altered"
                )
        try:
            values: dict[str, Any] = {
                name: self._read(name, verify, files) for name in DTYPES if name in self.arrays
            }
            count = self.record.discrete_actions
            if count is not None:
                values["action"] = self._one_hot(values["action"], count)
            arrays = TaskArrays(**{**dict.fromkeys(OPTIONAL), **values}, discrete=count is not None)
            if verify:
                for finding in value_findings(str(self._folder), arrays, self.record.behaviours):
                    raise DamagedDataError(f"{finding}: `clwm validate` shows all that is wrong")
        except MemoryError as error:
            raise TooLargeError(self._too_large(available_memory())) from error
        return arrays

    def _one_hot(self, numbers: NDArray[np.int64], count: int) -> NDArray[np.float32]:
        wrong = (numbers < 0) | (numbers >= count)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DamagedDataError(
                f"{self._folder}: action: row {row} is {numbers[row]}, expected 0 to {count - 1}: collect or "
                "download its task again"
            )
        return one_hot(numbers, count)

    def _too_large(self, memory: int) -> str:
        return (
            f"{self._folder}: decodes to {self.nbytes} bytes, more than the memory of {memory} bytes that "
            "this process may use"
        )

    def _prepare(self, verify: bool) -> None:
        """Download the files if need be, and check that they belong to this metadata.

        Values of a store that was replaced after it was opened must not be read with the old metadata.
        """
        if verify:
            self._verify_root()
        if self._fetch is not None:
            self._fetch(self.index)
            self._fetch = None
        file = self._folder / METADATA
        if self._local and document_sha256(file) != self._sha256:
            if not file.exists():
                missing = file if self._folder.exists() else self._folder
                raise DamagedDataError(f"{missing}: is missing: collect or download the task again")
            raise ConflictError(
                f"{file}: is not what the store's root said when it was opened: open the store again if the "
                "task was collected or edited since; else it is damaged: collect or download it again"
            )

    def _check_presence(self, name: str, verify: bool) -> None:
        """Whether an array's own metadata is there, and what it was."""
        folder = self._folder / name
        if name not in self.arrays or not (folder / METADATA).is_file():
            raise DamagedDataError(f"{folder}: array is missing: download or collect it again")
        # It is not used here, but by whoever opens the store with zarr.
        own = self.record.files.get(f"{name}/{METADATA}")
        if verify and own is not None and document_sha256(folder / METADATA) != own.sha256:
            raise DamagedDataError(
                f"{folder}/{METADATA}: was altered: it differs from its digest: collect or download the task "
                "again"
            )

    def _shards(self, name: str, opened: Mapping[str, DataFile]) -> Iterator[Shard]:
        """The checked data files of an array, in the order of its rows; they hold what its metadata says."""
        for position in self.arrays[name].positions():
            path = f"{name}/{file_name(position)}"
            file = opened.get(path) or self._open(path)
            yield Shard(file, checked_chunks(file, self.arrays[name], position))

    def _open(self, name: str) -> DataFile:
        path = self._folder / name
        expected = self.record.files[name].bytes
        file = DataFile(path, size=expected) if path.is_file() else None
        if file is None or file.size != expected:
            raise DamagedDataError(f"{path}: is missing or truncated: collect or download its task again")
        return file

    def _read(self, name: str, verify: bool, opened: Mapping[str, DataFile]) -> NDArray[Any]:
        if f"{name}/{METADATA}" not in opened:
            self._check_presence(name, verify)
        try:
            if can_decode(self.arrays[name]):
                values = decode(self.arrays[name], self._shards(name, opened))
            else:
                values = np.asarray(self.array(name, verify=verify)[...])
        except (ClwmError, MemoryError):
            raise
        except Exception as error:  # codecs raise errors of many types on damaged bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DamagedDataError(f"{self._folder}/{name}: cannot be decoded: {reason}") from error
        if verify and array_sha256(values) != self.record.arrays.get(name):
            sound = self.record.array_files(name)
            for file in (shard.file for shard in self._shards(name, {})):
                if file.sha256() != sound[file.path.name].sha256:
                    raise DamagedDataError(_altered(file.path))
            raise DamagedDataError(_altered(self._folder / name))
        return values


def _altered(path: Path) -> str:
    return (
        f"{path}: values differ from their digest: the data was altered: collect or download its task again "
        "(`clwm validate` shows all that is wrong)"
    )
