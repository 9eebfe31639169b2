"""Oracles of ML10 and ML45: Meta-World's own lists, and the families of their benchmarks."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from clwm_data.families import get_family
from clwm_data.families.metaworld.meta_learning import BENCHMARKS
from clwm_data.references import reference_record

metaworld = pytest.importorskip("metaworld")


@pytest.mark.parametrize("name", ["ml10", "ml45"])
def test_the_benchmarks_are_the_published_ones(name: str) -> None:
    published = getattr(metaworld.env_dict, f"{name.upper()}_V3")
    for split, mine in zip(("train", "test"), BENCHMARKS[name], strict=True):
        assert sorted(f"{benchmark}-v3" for benchmark in mine) == sorted(published[split])
        assert len(set(mine)) == len(mine)


def test_the_splits_are_unseen_goals_and_unseen_benchmarks() -> None:
    family = get_family("ml10")
    train, test = BENCHMARKS["ml10"]
    for split, benchmarks, goals in (("train", train, 40), ("id", train, 10), ("ood", test, 50)):
        groups = [family.group(index) for index in family.split(split)]  # type: ignore[arg-type]
        assert groups == [name for name in benchmarks for _ in range(goals)]
    trained = {family.tasks[index].parameters["goal"] for index in family.split("train")}
    assert not trained & {family.tasks[index].parameters["goal"] for index in family.split("id")}


@pytest.mark.parametrize(("index", "own", "goal"), [(143, "mw-pick-place", 43), (512, "mw-drawer-open", 12)])
def test_a_task_is_that_of_its_benchmarks_own_family_bit_for_bit(index: int, own: str, goal: int) -> None:
    """Beside lanes of other benchmarks, whose states are of other sizes."""
    lane, alone = get_family("ml10").make_vec_env([0, index, 700]), get_family(own).make_env(goal)
    observation, info = lane.reset(seed=[1, 2, 3])
    expected, known = alone.reset(seed=9)
    np.testing.assert_array_equal(observation[1], expected)
    np.testing.assert_array_equal(info["privileged"][1], known["privileged"])
    rng = np.random.default_rng(0)
    for _ in range(10):
        actions = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
        observation, reward, _, _, info = lane.step(actions)
        expected, gained, _, _, known = alone.step(actions[1])
        np.testing.assert_array_equal(observation[1], expected)
        assert (reward[1], info["success"][1]) == (gained, known["success"])
    np.testing.assert_array_equal(lane.get_state(1), alone.get_state())
    lane.close()


@pytest.mark.parametrize("index", [245, 611])
def test_the_script_is_that_of_the_benchmark_and_solves_the_task(index: int) -> None:
    family = get_family("ml10")
    env, policy = family.make_env(index), family.scripted_policy(index)
    observation, info = env.reset(seed=0)
    solved = truncated = False
    while not (solved or truncated):
        action = policy(observation[None], info["privileged"][None])[0]
        observation, _, _, truncated, info = env.step(np.clip(action, -1, 1).astype(np.float32))
        solved = info["success"]
    assert solved


def test_worker_processes_give_the_same_bits_as_the_loop() -> None:
    seen: dict[int, list[Any]] = {}
    for threads in (1, 2):
        env = get_family("ml10").make_vec_env([3, 551], threads=threads)
        seen[threads] = [
            env.reset(seed=0)[0],
            *(env.step(np.full((2, 4), 0.5, np.float32))[0] for _ in range(3)),
        ]
        env.close()
    np.testing.assert_array_equal(seen[1], seen[2])


WAVES = """
from pathlib import Path
from clwm_data.families import get_family

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

family, after = get_family("ml10"), []
for first in (40, 190, 340, 500, 600):
    env = family.make_vec_env(range(first, first + 8))
    env.reset(seed=0)
    most = resident()
    env.close()
    after.append(resident())
print(most, *after)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closed_simulators_give_their_memory_back() -> None:
    """An evaluation simulates hundreds of tasks in waves: 20 MB each must not add up."""
    done = subprocess.run([sys.executable, "-c", WAVES], capture_output=True, text=True, check=True)
    most, first, *later = map(float, done.stdout.split())
    assert most - later[-1] > 80
    assert max(later) < first + 60


def test_policies_see_the_benchmark_one_hot_and_the_places() -> None:
    family = get_family("ml10")
    vectors = family.conditioning.vectors
    assert vectors.shape == (750, 15 + 6)
    np.testing.assert_array_equal(vectors[:, :15] > 0, np.repeat(np.eye(15), 50, axis=0) > 0)
    assert (np.abs(vectors) <= 1).all()


def test_references_are_those_of_the_benchmarks_own_families() -> None:
    family, record = get_family("ml10"), reference_record("ml10")
    for index in range(0, 750, 50):
        own = reference_record(f"mw-{family.group(index)}")
        assert (own.episodes, own.seed, own.expert_policy) == (
            record.episodes,
            record.seed,
            record.expert_policy,
        )
        assert own.random == record.random[index : index + 50]
        assert own.expert == record.expert[index : index + 50]
