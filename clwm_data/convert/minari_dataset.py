"""Reading one Minari dataset: its metadata and episodes, of clwm's making or of others'."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clwm_data.bounded import read_bounded
from clwm_data.convert.source import ForeignTask, RawEpisode, plain_text, reading, regular
from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_data.store.arrays import Episode, one_hot

#: The metadata of a store lie in that of its datasets.
MAX_METADATA_BYTES = 2**28


def is_dataset(file: Path) -> bool:
    """Whether a file is the metadata of a Minari dataset."""
    if file.name != "metadata.json":
        return False
    metadata = raw_metadata(file.parent)
    return "data_format" in metadata and "total_episodes" in metadata


def raw_metadata(folder: Path) -> dict[str, Any]:
    """Metadata of a dataset as Minari wrote it; empty if it is no mapping.

    Raises:
        DamagedDataError: the file cannot be read.
    """
    try:
        metadata = json.loads(read_bounded(folder / "metadata.json", MAX_METADATA_BYTES))
    except (ValueError, OSError, RecursionError) as error:
        raise DamagedDataError(
            f"{folder}/metadata.json: cannot be read: {plain_text(error)[:200]}"
        ) from error
    return metadata if isinstance(metadata, dict) else {}


def foreign_task(folder: Path, metadata: dict[str, Any], success: str = "success") -> ForeignTask:
    """A dataset that clwm did not write.

    Args:
        folder: of the dataset.
        metadata: as Minari wrote it.
        success: which of its infos says whether a step succeeded.

    Raises:
        InvalidInputError: spaces that cannot be converted.
        DamagedDataError: a file cannot be read.
    """
    from gymnasium.spaces import Box, Discrete

    from clwm_data.families.declared.spaces import check_observations

    storage = _storage(folder)
    space = storage.action_space
    check_observations(storage.observation_space, str(folder))
    if not isinstance(space, Box | Discrete):
        raise InvalidInputError(
            f"{folder}: its actions are {plain_text(space)[:200]}: only Box and Discrete actions can be "
            "converted"
        )
    bounds: tuple[list[float], list[float]] | int
    if isinstance(space, Discrete):
        bounds = int(space.n)
    else:
        bounds = space.low.ravel().tolist(), space.high.ravel().tolist()
    return ForeignTask(
        name=str(metadata.get("dataset_id", folder)),
        episodes=lambda: _foreign_episodes(folder, success),
        policy=str(metadata.get("algorithm_name") or "unknown"),
        action_bounds=bounds,
    )


def own_episodes(folder: Path, discrete: int | None) -> Iterator[Episode]:
    """The episodes of a dataset that clwm wrote, perhaps with discrete actions.

    Raises:
        DamagedDataError: a file cannot be read.
    """
    for episode, metadata in _read_episodes(folder):
        terminated = np.asarray(episode["terminations"], np.bool_)
        infos = episode.get("infos") or {}
        state, seed = metadata.get("initial_state"), metadata.get("seed")
        yield Episode(
            observation=np.asarray(episode["observations"], np.float32),
            action=np.asarray(episode["actions"], np.float32)
            if discrete is None
            else one_hot(np.asarray(episode["actions"], np.int64), discrete),
            discrete=discrete is not None,
            reward=np.asarray(episode["rewards"], np.float32),
            terminated=terminated,
            truncated=np.asarray(episode["truncations"], np.bool_) & ~terminated,
            success=np.asarray(infos["success"], np.bool_)[1:] if "success" in infos else None,
            initial_state=None if state is None else np.asarray(state, np.float64),
            seed=None if seed is None else int(seed),
            behaviour=int(metadata.get("behaviour", 0)),
            dense_reward=np.asarray(infos["dense_reward"], np.float32)[1:]
            if "dense_reward" in infos
            else None,
        )


def _storage(folder: Path) -> Any:
    from minari.dataset.minari_storage import MinariStorage

    if not {"observation_space", "action_space"} <= raw_metadata(folder).keys():
        # Minari would construct an environment to ask, running code that the metadata names.
        raise InvalidInputError(f"{folder}/metadata.json: names no spaces: it cannot be converted")
    for file in folder.glob("data/*.hdf5"):
        regular(file)
    with reading(folder):
        return MinariStorage.read(folder)


def _read_episodes(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every episode as Minari gives it, with its metadata."""
    storage = _storage(folder)
    for number in range(storage.total_episodes):
        with reading(f"{folder}: episode {number}"):
            (episode,) = storage.get_episodes([number])
            (metadata,) = storage.get_episode_metadata([number])
        yield episode, metadata


def _foreign_episodes(folder: Path, success: str) -> Iterator[RawEpisode]:
    """The episodes: observations flattened, discrete actions counted from 0."""
    from gymnasium.spaces import Discrete

    from clwm_data.convert.flattening import flat_rows

    storage = _storage(folder)
    space = storage.action_space
    for number, (episode, _) in enumerate(_read_episodes(folder)):
        where = f"{folder}: episode {number}"
        with reading(where):
            infos = episode.get("infos") or {}
            action = np.asarray(episode["actions"])
            raw = RawEpisode(
                observation=flat_rows(
                    storage.observation_space, episode["observations"], f"{where}: observation"
                ),
                action=action - int(space.start)
                if isinstance(space, Discrete)
                else action.reshape(len(action), -1),
                reward=episode["rewards"],
                terminated=episode["terminations"],
                truncated=episode["truncations"],
                # Infos begin at the reset.
                **{
                    name: np.asarray(infos[info])[1:]
                    for name, info in (("success", success), ("dense_reward", "dense_reward"))
                    if infos.get(info) is not None
                },
            )
        yield raw
