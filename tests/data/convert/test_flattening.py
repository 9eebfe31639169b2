"""Minari's observations of any space that flattens, beside Gymnasium's own flattening of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from clwm_data.convert.minari import from_minari
from clwm_data.errors import InvalidInputError
from clwm_data.opening import open_store
from tests.conftest import Clwm

VECTOR = spaces.Box(-1.0, 1.0, (2,), np.float32)
SPACES: dict[str, spaces.Space[Any]] = {
    "goals": spaces.Dict(observation=spaces.Box(-1.0, 1.0, (3,), np.float64), desired_goal=VECTOR),
    "nested": spaces.Dict(b=spaces.Dict(z=VECTOR, a=spaces.Discrete(3, start=2)), a=spaces.MultiBinary(2)),
    "tuple": spaces.Tuple((VECTOR, spaces.MultiDiscrete([2, 3]))),
    "numbers": spaces.Discrete(5),
    "matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float32),
}
STEPS = 4


def write(folder: Path, space: spaces.Space[Any], action_space: spaces.Space[Any], actions: Any) -> Any:
    """A dataset of one episode; returns the values of its observations, one after another."""
    space.seed(0)
    values = [space.sample() for _ in range(STEPS + 1)]
    (folder / "data").mkdir(parents=True)
    storage = MinariStorage.new(folder / "data", observation_space=space, action_space=action_space)
    storage.update_episodes(
        [
            EpisodeBuffer(
                seed=0,
                observations=stacked(space, values),
                actions=actions,
                rewards=[0.0] * STEPS,
                terminations=[False] * STEPS,
                truncations=[False] * (STEPS - 1) + [True],
            )
        ]
    )
    return values


def stacked(space: spaces.Space[Any], values: list[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: stacked(part, [value[key] for value in values]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(stacked(part, [v[i] for v in values]) for i, part in enumerate(space.spaces))
    return np.asarray(values)


@pytest.mark.parametrize("name", SPACES)
def test_observations_are_flattened_as_gymnasium_does(name: str, tmp_path: Path) -> None:
    values = write(tmp_path / "m", SPACES[name], VECTOR, np.zeros((STEPS, 2), np.float32))
    store = from_minari(tmp_path / "m", tmp_path / "x.zarr", "mine").store
    kept = MinariStorage.read(tmp_path / "m/data").observation_space  # perhaps with its parts reordered
    expected = np.stack([spaces.flatten(kept, value) for value in values])
    np.testing.assert_array_equal(store[0].load().observation, expected.astype(np.float32))


def test_actions_of_any_shape_are_vectors(tmp_path: Path) -> None:
    space = spaces.Box(-2.0, 2.0, (2, 2), np.float32)
    space.seed(1)
    actions = np.stack([space.sample() for _ in range(STEPS)])
    write(tmp_path / "m", VECTOR, space, actions)
    stored = from_minari(tmp_path / "m", tmp_path / "x.zarr", "mine").store[0].load().action
    np.testing.assert_allclose(stored, actions.reshape(STEPS, 4) / 2.0, rtol=1e-6)


def test_actions_without_bounds_take_those_that_are_named(clwm: Clwm, tmp_path: Path) -> None:
    actions = np.linspace(-3.0, 3.0, STEPS, dtype=np.float32)[:, None]
    write(tmp_path / "m", VECTOR, spaces.Box(-np.inf, np.inf, (1,), np.float32), actions)
    call = ("convert", "m", "x.zarr", "--from", "minari", "--family", "mine")
    refused = clwm(*call)
    assert refused.returncode == 1
    assert "has no finite bounds" in refused.stderr
    assert "(--action-bounds LOW,HIGH" in refused.stderr
    assert clwm(*call, "--action-bounds=-3,3").returncode == 0
    stored = open_store(tmp_path / "x.zarr")[0].load().action
    np.testing.assert_allclose(stored[:, 0], [-1, -1 / 3, 1 / 3, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), "observations hold pictures"),
        (spaces.Dict(camera=spaces.Box(0, 255, (8, 8, 3), np.uint8), pose=VECTOR), "hold pictures"),
    ],
)
def test_pictures_are_refused(space: spaces.Space[Any], words: str, tmp_path: Path) -> None:
    write(tmp_path / "m", space, VECTOR, np.zeros((STEPS, 2), np.float32))
    with pytest.raises(InvalidInputError, match=words):
        from_minari(tmp_path / "m", tmp_path / "x.zarr", "mine")
    assert not (tmp_path / "x.zarr").exists()
