"""From LeRobot datasets, version 3 (extra ``parquet``; the package lerobot is not needed).

Read are ``meta/info.json``, ``meta/tasks.parquet`` and ``data/chunk-*/file-*.parquet``: states, actions,
rewards and the ends of episodes. Pictures and videos are left out. A dataset's tasks are those of its column
``task_index``; of several datasets in a folder, each is a task.

What LeRobot does not record: the observation after an episode's last step, so that this step is dropped, and
whether an episode ended by the rules of the task. Actions are scaled from the lowest and highest values in
the data to [-1, 1]. Rewards are 0 where there are none (``clwm relabel`` computes others).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.bounded import read_bounded
from clwm_data.convert.columns import read_columns, schema, texts
from clwm_data.convert.seeming import seem_discrete, seeming
from clwm_data.convert.source import (
    ForeignTask,
    RawEpisode,
    Source,
    chosen_indices,
    digest_of,
    natural_key,
    plain_text,
    reading,
    regular,
    task_indices,
    whole_numbers,
)
from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.pages.numbers import plural

INFO, TASKS = "meta/info.json", "meta/tasks.parquet"
VERSION = "v3."
#: Columns that are read: observation parts of this name, or of names that begin with it and a dot.
OBSERVATION, STATE = "observation", "observation.state"
ACTION, REWARD, SUCCESS = "action", "next.reward", "next.success"
INDEX = ("episode_index", "frame_index", "task_index")
MAX_INFO_BYTES = 2**24
#: Types of features that are pictures.
PICTURES = ("image", "video")


def lerobot_source(path: Path | str, tasks: Collection[int] | None = None) -> Source:
    """A LeRobot dataset, or several, as tasks.

    Args:
        path: folder of a dataset, or of several, in natural order.
        tasks: of one dataset: only these of its tasks; of several: the task of each.

    Raises:
        NotFoundError: there is no dataset.
        InvalidInputError: it is of another version, or has no state or no action.
        DamagedDataError: a file is missing or cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    require("pyarrow", "parquet", "converting from LeRobot")
    folder = Path(path)
    if (folder / INFO).is_file():
        dataset = _Dataset(folder)
        return dataset.source(tasks)
    datasets = [_Dataset(file.parent.parent) for file in sorted(folder.glob(f"*/{INFO}"), key=natural_key)]
    if not datasets:
        raise NotFoundError(f"{folder}: holds no LeRobot dataset (a folder with {INFO})")
    indices = task_indices(datasets, tasks, folder)
    for dataset in datasets[1:]:
        widths = [len(one.bounds[0]) for one in (datasets[0], dataset)]
        if widths[0] != widths[1]:
            raise InvalidInputError(
                f"{dataset.folder}: its actions have {plural(widths[1], 'entry')}, those of "
                f"{datasets[0].folder} {widths[0]}: convert them apart"
            )
    low = np.min([dataset.bounds[0] for dataset in datasets], axis=0)
    high = np.max([dataset.bounds[1] for dataset in datasets], axis=0)
    return Source(
        name=folder.resolve().name,
        tasks={
            index: dataset.task(dataset.folder.name, None, (low.tolist(), high.tolist()))
            for index, dataset in zip(indices, datasets, strict=True)
        },
        sha256=digest_of(
            {
                f"{index}/{file.relative_to(dataset.folder)}": file
                for index, dataset in zip(indices, datasets, strict=True)
                for file in dataset.all_files
            }
        ),
        options=_options(datasets[0], low, high),
        of_actions=[seeming(str(folder), len(high), high.max())]
        if all(dataset.seems_discrete for dataset in datasets)
        else [],
    )


class _Dataset:
    """One dataset.

    Attributes:
        folder: its folder.
        files: of its data, in order.
        bounds: lowest and highest value of every action entry.
        rewarded: it has rewards.
        seems_discrete: its actions may be discrete ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        info = _info(folder / INFO)
        features = info.get("features")
        version = str(info.get("codebase_version"))
        if not version.startswith(VERSION):
            raise InvalidInputError(
                f"{folder}: is a LeRobot dataset of version {plain_text(version)[:20]}, only version 3 can "
                "be read: convert it with lerobot first"
            )
        if not isinstance(features, dict):
            raise DamagedDataError(f"{folder}: {INFO} lists no features: download it again")
        self.files = sorted(map(regular, folder.glob("data/chunk-*/file-*.parquet")), key=natural_key)
        if not self.files:
            raise DamagedDataError(f"{folder}: holds no data/chunk-000/file-000.parquet: download it all")
        names = _readable(self.files[0])
        for file in self.files[1:]:
            if differ := sorted(map(plain_text, names ^ _readable(file))):
                raise InvalidInputError(
                    f"{file}: its columns are not those of {self.files[0]}: {', '.join(differ)} must be in "
                    "both or in none"
                )
        kinds = {name: about.get("dtype") for name, about in features.items() if isinstance(about, dict)}
        parts = sorted(filter(_observes, names))
        self._observation = [n for n in parts if kinds.get(n) not in PICTURES]
        if STATE in self._observation:
            self._observation = [STATE, *(n for n in self._observation if n != STATE)]
        if not self._observation or ACTION not in names:
            have = ", ".join(sorted(map(plain_text, schema(self.files[0]).names)))
            raise InvalidInputError(
                f"{folder}: has no {STATE} or no {ACTION} that are vectors; it has: {have}"
            )
        if lacking := [name for name in INDEX if name not in names]:
            raise InvalidInputError(f"{folder}: its files have no column {lacking[0]}")
        self.rewarded, self._succeeds = REWARD in names, SUCCESS in names
        optional = [name for name in (REWARD, SUCCESS) if name in names]
        self._columns = [*self._observation, ACTION, *optional, *INDEX]
        actions = np.concatenate([_rows(read_columns(file, [ACTION])[ACTION]) for file in self.files])
        if not len(actions):
            raise DamagedDataError(f"{folder}: its files hold no frames")
        self.bounds = actions.min(axis=0), actions.max(axis=0)
        self.seems_discrete = seem_discrete(actions)
        frames = info.get("total_frames")
        if isinstance(frames, int) and frames != len(actions):
            raise DamagedDataError(
                f"{folder}: {INFO} says {frames} frames, the files hold {len(actions)}: download it all"
            )
        self._description = plain_text(info.get("robot_type") or "")

    @property
    def all_files(self) -> Sequence[Path]:
        """The files that are read."""
        return [self.folder / INFO, *self.files]

    def source(self, tasks: Collection[int] | None) -> Source:
        """Its tasks."""
        tasks_of = [read_columns(file, ["task_index"])["task_index"] for file in self.files]
        present = np.unique(whole_numbers(f"{self.folder}: task_index", np.concatenate(tasks_of)))
        low, high = self.bounds
        words = self._words()
        return Source(
            name=self.folder.resolve().name,
            tasks={
                index: self.task(words.get(index, f"task {index}"), index, (low.tolist(), high.tolist()))
                for index in chosen_indices(present.tolist(), tasks, self.folder)
            },
            sha256=digest_of({str(file.relative_to(self.folder)): file for file in self.all_files}),
            options=_options(self, low, high),
            description="; ".join(words[index] for index in sorted(words)),
            of_actions=[seeming(str(self.folder), len(high), high.max())] if self.seems_discrete else [],
        )

    def task(
        self, name: str, index: int | None, bounds: tuple[Sequence[float], Sequence[float]]
    ) -> ForeignTask:
        """The episodes of a task, or all."""
        return ForeignTask(
            name,
            lambda: self._episodes(name, index),
            policy=f"lerobot {self._description}".strip(),
            action_bounds=bounds,
        )

    def _words(self) -> dict[int, str]:
        """Task -> what is to be done, in words."""
        file = self.folder / TASKS
        if not file.is_file():
            return {}
        names = schema(file).names
        column = next((name for name in ("task", "__index_level_0__") if name in names), None)
        if column is None or "task_index" not in names:
            return {}
        return dict(
            zip(read_columns(file, ["task_index"])["task_index"].tolist(), texts(file, column), strict=True)
        )

    def _episodes(self, name: str, index: int | None) -> Iterator[RawEpisode]:
        rows = None if index is None else [("task_index", "=", index)]
        parts = [read_columns(file, self._columns, rows) for file in self.files]
        arrays = {column: np.concatenate([part[column] for part in parts]) for column in self._columns}
        observation = np.hstack([_rows(arrays[column]) for column in self._observation])
        episode, frame = (
            whole_numbers(f"{name}: {column}", arrays[column]) for column in ("episode_index", "frame_index")
        )
        begun: set[int] = set()
        for chosen in np.split(np.arange(len(episode)), np.flatnonzero(np.diff(episode)) + 1):
            number = int(episode[chosen[0]])
            if number in begun or (np.diff(frame[chosen]) != 1).any():
                raise InvalidInputError(f"{name}: episode {number}: its frames are not one after another")
            begun.add(number)
            if len(chosen) > 1:
                yield self._episode(arrays, observation, chosen)

    def _episode(
        self, arrays: Mapping[str, NDArray[Any]], observation: NDArray[Any], rows: NDArray[np.int64]
    ) -> RawEpisode:
        """An episode without its last step, whose next observation is not recorded."""
        steps = rows[:-1]
        return RawEpisode(
            observation=observation[rows],
            action=_rows(arrays[ACTION])[steps],
            reward=arrays[REWARD][steps] if self.rewarded else np.zeros(len(steps), np.float32),
            terminated=np.zeros(len(steps), np.bool_),
            success=arrays[SUCCESS][steps] if self._succeeds else None,
        )


def _observes(name: str) -> bool:
    return name == OBSERVATION or name.startswith(f"{OBSERVATION}.")


def _readable(file: Path) -> set[str]:
    """Columns of a file that can be read."""
    return {n for n in schema(file).names if _observes(n) or n in (ACTION, REWARD, SUCCESS, *INDEX)}


def _rows(values: NDArray[Any]) -> NDArray[Any]:
    """[N, n] of a column, whose vectors of one entry may be plain numbers."""
    return values if values.ndim == 2 else values[:, None]


def _info(file: Path) -> dict[str, Any]:
    with reading(file):
        info = json.loads(read_bounded(file, MAX_INFO_BYTES))
    return info if isinstance(info, dict) else {}


def _options(dataset: _Dataset, low: NDArray[Any], high: NDArray[Any]) -> dict[str, str]:
    return {
        "from": "lerobot",
        "observations after last steps": "not recorded: last steps dropped",
        "rewards": REWARD if dataset.rewarded else "not recorded: 0 (clwm relabel computes others)",
        "actions": f"scaled to [-1, 1] from the data's {low.tolist()} to {high.tolist()}",
    }
