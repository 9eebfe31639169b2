"""What foreign episodes must be: each fault is one line with dataset, episode and step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.convert.minari import from_minari
from clwm_data.convert.source import ForeignTask, RawEpisode, Source, natural_key
from clwm_data.convert.target import write_converted
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError
from clwm_data.store.validate import validate
from tests.conftest import Clwm
from tests.data.families.test_foreign_environments import Pushed


def episode(steps: int = 3, **changes: Any) -> RawEpisode:
    raw = RawEpisode(
        observation=np.arange(2.0 * (steps + 1)).reshape(-1, 2),
        action=np.zeros((steps, 1)),
        reward=np.arange(float(steps)),
        terminated=np.arange(steps) == steps - 1,
        truncated=np.zeros(steps, bool),
    )
    return replace(raw, **changes)


def source(*episodes: RawEpisode, **changes: Any) -> Source:
    task = ForeignTask("data-v0", lambda: iter(episodes), **changes)
    return Source("data", {0: task}, "0" * 64, {"from": "here"})


BAD = {
    "one observation short": (
        {"observation": np.zeros((3, 2))},
        "episode 1: has 3 observations and 3 actions: there must be one observation more",
    ),
    "one observation too many": ({"observation": np.zeros((5, 2))}, "episode 1: has 5 observations"),
    "other width": ({"observation": np.zeros((4, 3))}, "episode 1: observation: has 3 entries, .* has 2"),
    "images": ({"observation": np.zeros((4, 8, 8))}, r"episode 1: observation: has shape \[4, 8, 8\]"),
    "text": ({"observation": np.array([["a"]] * 4)}, "episode 1: observation: holds <U1, not real numbers"),
    "nan": (
        {"observation": [[0.0, 0], [1, np.nan], [2, 2], [3, 3]]},
        "episode 1: step 1: observation holds nan",
    ),
    "beyond float32": ({"reward": [0.0, 1e300, 0.0]}, "episode 1: step 1: reward holds 1e\\+300"),
    "rewards short": (
        {"reward": [0.0, 1.0]},
        r"episode 1: reward: has shape \[2\], the actions have 3 steps",
    ),
    "action out of bounds": (
        {"action": [[0.0], [0.0], [1.5]]},
        "episode 1: step 2: action entry 0 is 1.5, outside",
    ),
    "ends early": (
        {"terminated": [True, False, False]},
        "episode 1: step 0: is terminated, but .* goes on to step 2",
    ),
    "cut early": (
        {"terminated": [False] * 3, "truncated": [False, True, False]},
        "episode 1: step 1: is truncated, but",
    ),
    "flag": ({"terminated": [0, 0, 2]}, "episode 1: step 2: terminated is 2, expected 0 or 1"),
    "success in some": ({"success": [False] * 3}, "episode 1: has a success, episodes before it have none"),
    "no steps": (
        {"observation": np.zeros((1, 2)), "action": np.zeros((0, 1)), "reward": [], "terminated": []},
        "episode 1: has no steps",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_episode_is_refused_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    changes, words = BAD[name]
    with pytest.raises(InvalidInputError, match=f"^data-v0: {words}") as caught:
        write_converted(source(episode(), episode(**changes)), tmp_path / "x.zarr", "elsewhere")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_short_and_a_long_episode_do_not_make_a_shifted_store(tmp_path: Path) -> None:
    """Their rows add up, which the sum of all rows would not tell."""
    short = episode(observation=np.zeros((3, 2)))
    long = episode(observation=np.zeros((5, 2)))
    with pytest.raises(InvalidInputError, match="episode 0: has 3 observations"):
        write_converted(source(short, long), tmp_path / "x.zarr", "elsewhere")


def test_known_families_give_sizes_and_horizon(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has 1 entry, family point-robot has 2"):
        write_converted(source(episode()), tmp_path / "x.zarr", "point-robot")
    long = episode(200, action=np.zeros((200, 2)))
    with pytest.raises(InvalidInputError, match="episode 0: has 200 steps, family point-robot ends after"):
        write_converted(source(long), tmp_path / "x.zarr", "point-robot")


def test_an_action_entry_of_one_value_becomes_zero(tmp_path: Path) -> None:
    bounds = ([-2.0, 7.0], [4.0, 7.0])
    raw = episode(action=[[-2.0, 7.0], [1.0, 7.0], [4.0, 7.0]])
    store = write_converted(source(raw, action_bounds=bounds), tmp_path / "x.zarr", "elsewhere").store
    assert validate(store.path) == []
    assert store.tasks[0].load().action.tolist() == [[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
    wrong = episode(action=[[-2.0, 7.0], [1.0, 8.0], [4.0, 7.0]])
    with pytest.raises(InvalidInputError, match=r"step 1: action entry 1 is 8, outside its bounds \[7, 7\]"):
        write_converted(source(wrong, action_bounds=bounds), tmp_path / "y.zarr", "elsewhere")


@pytest.mark.parametrize("bounds", [([1.0], [-1.0]), ([-1.0, 1.0], [1.0, -1.0])])
def test_bounds_the_wrong_way_round_are_told(tmp_path: Path, bounds: tuple[list[float], list[float]]) -> None:
    raw = source(episode(action=np.zeros((3, 2))), action_bounds=bounds)
    with pytest.raises(InvalidInputError, match=r"has the bounds \[1, -1\]: name the lowest value first"):
        write_converted(raw, tmp_path / "x.zarr", "elsewhere")


def test_control_characters_of_others_do_not_arrive(tmp_path: Path) -> None:
    foreign = replace(
        source(episode(), policy="a\x1b[31mb"), description="one\r\ntwo\x1b]0;x", authors=["A\x07"]
    )
    store = write_converted(foreign, tmp_path / "x.zarr", "elsewhere").store
    assert store.manifest.description == "one two ]0;x"
    assert store.manifest.authors == ["A"]
    assert store.tasks[0].record.behaviours[0].policy == "a [31mb"
    with pytest.raises(InvalidInputError, match="cannot be the name of a family"):
        write_converted(foreign, tmp_path / "y.zarr", "my robot")


def test_natural_order() -> None:
    assert sorted(["t10", "t2", "t1/b", "t1/a10", "t1/a9"], key=natural_key) == [
        "t1/a9",
        "t1/a10",
        "t1/b",
        "t2",
        "t10",
    ]


def write_minari(folder: Path, episodes: list[dict[str, Any]], **metadata: Any) -> Path:
    from gymnasium.spaces import Box
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    folder.mkdir(parents=True)
    storage = MinariStorage.new(
        folder,
        observation_space=Box(-1e9, 1e9, (2,), np.float64),
        action_space=Box(-1.0, 1.0, (1,), np.float32),
    )
    storage.update_episodes(EpisodeBuffer(**episode) for episode in episodes)
    storage.update_metadata({"dataset_id": f"a/{folder.parent.name}", "minari_version": "0.5.4", **metadata})
    return folder


def minari_episode(value: float = 0.0, **changes: Any) -> dict[str, Any]:
    return {
        "observations": np.full((3, 2), value),
        "actions": np.zeros((2, 1), np.float32),
        "rewards": np.full(2, value),
        "terminations": [False, True],
        "truncations": [False, False],
        **changes,
    }


def test_minari_in_natural_order_behind_links_and_a_table(tmp_path: Path, clwm: Clwm) -> None:
    pytest.importorskip("minari")
    for number in (10, 2, 1):
        write_minari(tmp_path / f"m/t{number}/data", [minari_episode(number)])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m/t2").rename(tmp_path / "elsewhere/t2")
    (tmp_path / "m/t2").symlink_to(tmp_path / "elsewhere/t2")
    (tmp_path / "p.csv").write_text("task,mass\n0,1.5\n1,2.5\n2,10\n")
    done = clwm(
        "convert",
        "m",
        "s.zarr",
        "--from",
        "minari",
        "--family",
        "mine",
        "--splits",
        "train:0-1,id:2",
        "--parameters",
        "p.csv",
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[:5] for line in done.stdout.splitlines()[2:5]] == [
        ["a/t1", "0", "train", "1", "2"],
        ["a/t2", "1", "train", "1", "2"],
        ["a/t10", "2", "id", "1", "2"],
    ]
    info = json.loads(clwm("info", "s.zarr", "--json").stdout)
    assert [task["return_mean"] for task in info["tasks"]] == [2.0, 4.0, 20.0]
    assert clwm("validate", "s.zarr").returncode == 0


class Reaching(Pushed):
    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], {"reached": False}


def test_minari_gives_the_success_that_the_family_declares(tmp_path: Path) -> None:
    pytest.importorskip("minari")
    infos = {"reached": [False, False, True], "success": [False, True, True]}  # the first is of the reset
    write_minari(tmp_path / "m/t1/data", [minari_episode(infos=infos)])
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\nenv: {__name__}:Reaching\nhorizon: 9\n"
        "success: reached\narguments: {width: 2}\ntasks: [{parameters: {strength: 1}}]\n"
    )
    store = from_minari(tmp_path / "m", tmp_path / "s.zarr", str(tmp_path / "mine.yaml")).store
    success = store[0].load().success
    assert success is not None
    assert success.tolist() == [False, True]


def test_damaged_minari_files_are_named(tmp_path: Path) -> None:
    pytest.importorskip("minari")
    folder = write_minari(tmp_path / "m/t1/data", [minari_episode(), minari_episode()])
    file = next(folder.glob("*.hdf5"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 3])
    with pytest.raises(DamagedDataError, match=r"m/t1/data.*cannot be read"):
        from_minari(tmp_path / "m", tmp_path / "s.zarr", "mine")
    file.unlink()
    with pytest.raises(ClwmError, match=r"m/t1/data.*cannot be read"):
        from_minari(tmp_path / "m", tmp_path / "s.zarr", "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_minari_episodes_are_checked(tmp_path: Path) -> None:
    pytest.importorskip("minari")
    bad = minari_episode(infos={"success": [False] * 3})
    write_minari(tmp_path / "m/t1/data", [minari_episode(), bad])
    with pytest.raises(InvalidInputError, match="a/t1: episode 1: has a success"):
        from_minari(tmp_path / "m", tmp_path / "s.zarr", "mine")


@pytest.mark.parametrize(
    ("splits", "parameters", "words"),
    [
        ("train", None, "write the splits as in"),
        ("test:0-2", None, "'test' is not one of train, id, ood"),
        ("train:0-2,id:2", None, "task 2 is in it twice"),
        ("train:0-1", None, "says nothing about task 2"),
        (None, "task,mass\n0,1\n1,x\n2,1\n", "line 3: mass: 'x' is not a finite number"),
        (None, "task,mass\n0,1\n1,2\n", "says nothing about task 2"),
        (None, "mass\n1\n", "expected a column task"),
        (None, "task,mass\n0,1\n0,2\n", "line 3: task 0 is not an index, or is listed twice"),
        (None, "task,mass\n0,1,2\n", "line 2: has 3 cells, the header 2"),
    ],
)
def test_wrong_splits_and_parameters(
    tmp_path: Path, clwm: Clwm, splits: str | None, parameters: str | None, words: str
) -> None:
    (tmp_path / "d").mkdir()
    for number in range(3):
        np.savez(
            tmp_path / f"d/t{number}.npz",
            observations=np.zeros((4, 2)),
            actions=np.zeros((4, 1)),
            rewards=np.zeros(4),
        )
    arguments = ["convert", "d", "s.zarr", "--from", "npz", "--family", "mine"]
    if splits is not None:
        arguments += ["--splits", splits]
    if parameters is not None:
        (tmp_path / "p.csv").write_text(parameters)
        arguments += ["--parameters", "p.csv"]
    done = clwm(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s.zarr").exists()
