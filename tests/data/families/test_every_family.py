"""What holds for every family: a new one gets these tests for free."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from clwm_data.errors import ClwmError
from clwm_data.families import SPLITS, get_family
from clwm_data.families.base import TaskFamily
from clwm_data.families.builtin import BUILTIN
from clwm_data.families.envs import TaskEnv
from tests.conftest import ROOT

pytest.importorskip("mujoco")

#: Of Meta-World's 50 families: shared dynamics, a moving door, a goal that follows from the object.
METAWORLD = ("mw-reach", "mw-pick-place", "mw-door-open", "ml10", "ml45") if find_spec("metaworld") else ()
FAMILIES = [name for name in BUILTIN if not name.startswith(("mw-", "ml")) or name in METAWORLD]

A = ([i for i in range(5, 35) if i not in range(6, 34, 3)], range(6, 34, 3), [*range(5), *range(35, 40)])
B = [i for i in range(30) if i not in range(1, 29, 3)], range(1, 29, 3)
SPEED, LENGTH_SPEED = (*B, range(30, 40)), (*B, range(30, 38))
ML1: Any = (range(40), range(40, 50), ())


def several(train: int, test: int) -> Any:
    """Splits of as many benchmarks of 50 goals: to train on, and to test on."""
    goals = range(50 * train)
    split = [g for g in goals if g % 50 < 40], [g for g in goals if g % 50 >= 40]
    return (*split, range(50 * train, 50 * (train + test)))


#: observation, action, horizon, dynamics vary, (train, id, ood); written down once more, from the papers.
FACTS: dict[str, tuple[int, int, int, bool, Any]] = {
    "point-robot": (
        2,
        2,
        40,
        False,
        (range(10, 30), [*range(5, 10), *range(30, 35)], [*range(5), *range(35, 40)]),
    ),
    "ant-dir": (27, 8, 200, False, A),
    "ant-goal": (29, 8, 200, False, (range(20), range(20, 30), range(30, 40))),
    "cheetah-vel": (20, 6, 200, False, A),
    "hopper-mass": (11, 3, 200, True, A),
    "hopper-friction": (11, 3, 200, True, A),
    "walker-mass": (17, 6, 200, True, A),
    "walker-friction": (17, 6, 200, True, A),
    "cheetah-speed": (17, 6, 500, False, SPEED),
    "walker-speed": (24, 6, 500, False, SPEED),
    "finger-speed": (9, 2, 500, False, SPEED),
    "cheetah-ls": (17, 6, 500, True, LENGTH_SPEED),
    "walker-ls": (24, 6, 500, True, LENGTH_SPEED),
    "finger-ls": (9, 2, 500, True, LENGTH_SPEED),
    "cheetah-vel-sparse": (20, 6, 200, False, A),
    "cheetah-dir": (20, 6, 200, False, (range(2), (), ())),
    "cheetah-wind": (20, 6, 200, True, A),
    "hopper-param": (11, 3, 200, True, ML1),
    "walker-param": (17, 6, 200, True, ML1),
    "point-robot-sparse": (2, 2, 20, False, A),
    "point-robot-wind": (2, 2, 75, True, ML1),
    "ml10": (39, 4, 200, True, several(10, 5)),
    "ml45": (39, 4, 200, True, several(45, 5)),
    "mw-reach": (39, 4, 200, False, ML1),
    "mw-pick-place": (39, 4, 200, False, ML1),
    "mw-door-open": (39, 4, 200, True, ML1),
}
#: An episode is wholly determined by its task: the seed does nothing.
SEEDLESS = ("point-robot", "point-robot-sparse", "point-robot-wind", *METAWORLD)

STEPS = 12


def there(family: TaskFamily, *tasks: int) -> list[int]:
    """These tasks, or others where the family has fewer."""
    return [task % len(family.tasks) for task in tasks]


Rows = list[tuple[bytes, float, bool, bool]]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return get_family(request.param)


def actions_for(family: TaskFamily, steps: int = STEPS, seed: int = 0) -> NDArray[np.float32]:
    """Uniform actions: in the families whose episodes may end early they do, after some 10 to 30 steps."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (steps, family.action_size)).astype(np.float32)


def roll(env: TaskEnv, actions: NDArray[np.float32]) -> Rows:
    """Transitions until the actions or the episode end."""
    rows: Rows = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        rows.append((observation.tobytes(), reward, terminated, truncated))
        if terminated or truncated:
            break
    return rows


def episode(family: TaskFamily, task: int, seed: int, actions: NDArray[np.float32]) -> tuple[bytes, Rows]:
    """First observation and transitions of an episode in an environment of its own."""
    env = family.make_env(task)
    observation, _ = env.reset(seed=seed)
    result = observation.tobytes(), roll(env, actions)
    env.close()
    return result


def test_the_family_is_as_published(family: TaskFamily) -> None:
    observation, action, horizon, dynamics, splits = FACTS[family.name]
    assert (family.observation_size, family.action_size, family.horizon) == (observation, action, horizon)
    assert family.dynamics_vary == dynamics
    for split, indices in zip(SPLITS, splits, strict=True):
        assert family.split(split) == tuple(indices)
    assert len(family.tasks) == sum(map(len, splits))
    assert family.task(1).index == 1
    parameters = [json.dumps(dict(task.parameters)) for task in family.tasks]
    assert len(set(parameters)) == len(parameters)


def test_a_task_that_is_not_there_is_refused(family: TaskFamily) -> None:
    missing = len(family.tasks)
    with pytest.raises(ClwmError, match=f"{family.name} has no task {missing}"):
        family.make_env(missing)
    with pytest.raises(ClwmError, match="no task -1"):
        family.make_vec_env([0, -1])
    with pytest.raises(ClwmError, match="at least one task"):
        family.make_vec_env([])


@pytest.mark.filterwarnings("ignore:.*Box observation space.*:UserWarning")
def test_gymnasiums_checker_passes(family: TaskFamily) -> None:
    env = gymnasium.make(f"clwm/{family.name}-v0", task=0, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_shapes_and_types(family: TaskFamily) -> None:
    env, envs = family.make_env(0), family.make_vec_env([0, 1])
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (family.action_size,), np.float32)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    observation, reward, terminated, truncated, info = env.step(actions_for(family)[0])
    assert observation in env.observation_space
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
    assert ("success" in info) == family.has_success
    envs.reset(seed=0)
    observations, rewards, ends, limits, infos = envs.step(actions_for(family, 2))
    assert observations.shape == (2, family.observation_size)
    assert (observations.dtype, rewards.dtype, ends.dtype, limits.dtype) == (
        np.float32,
        np.float64,
        np.bool_,
        np.bool_,
    )
    assert ("success" in infos) == family.has_success


@pytest.mark.filterwarnings("ignore:overflow encountered in dot")
def test_actions_are_checked_and_clipped(family: TaskFamily) -> None:
    env = family.make_env(0)
    with pytest.raises(ClwmError, match="reset"):
        env.step(np.zeros(family.action_size, np.float32))
    env.reset(seed=1)
    for bad in (np.nan, np.inf, -np.inf):
        action = np.zeros(family.action_size, np.float32)
        action[-1] = bad
        with pytest.raises(ClwmError, match="not finite"):
            env.step(action)
    with pytest.raises(ClwmError, match="shape"):
        env.step(np.zeros(family.action_size + 1, np.float32))
    signs = np.where(np.arange(family.action_size) % 2 == 0, 1.0, -1.0)
    large, bound = (np.tile(signs * size, (3, 1)).astype(np.float32) for size in (3e38, 1.0))
    assert episode(family, 0, 1, large) == episode(family, 0, 1, bound)
    envs = family.make_vec_env([0, 1])
    envs.reset(seed=1)
    with pytest.raises(ClwmError, match="not finite"):
        envs.step(np.full((2, family.action_size), np.nan, np.float32))


def test_an_episode_is_truncated_at_the_horizon(family: TaskFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "horizon", 4)  # sooner than any of these episodes may end by itself
    rows = episode(family, 0, 0, actions_for(family))[1]
    assert [row[2:] for row in rows] == [(False, False)] * 3 + [(False, True)]
    envs = family.make_vec_env([0, 1])
    envs.reset(seed=0)
    ends = [envs.step(np.repeat(action[None], 2, axis=0))[2:4] for action in actions_for(family, 5)]
    assert np.array_equal(np.any([end[0] for end in ends], axis=1), [False] * 5)
    assert np.array_equal([end[1].all() for end in ends], [False, False, False, True, False])


def test_an_episode_follows_from_its_seed(family: TaskFamily) -> None:
    actions = actions_for(family, 30)
    (task,) = there(family, 2)
    first = episode(family, task, 7, actions)
    env = family.make_env(task)
    env.reset(seed=99)
    env.step(actions[5])
    observation, _ = env.reset(seed=7)  # an environment that was used before
    assert (observation.tobytes(), roll(env, actions)) == first
    others = [episode(family, task, seed, actions[:1])[0] for seed in (8, 2**32 + 7, 2**63 - 1)]
    assert len({first[0], *others}) == (1 if family.name in SEEDLESS else 4)


def digest(name: str) -> str:
    """Of two episodes in a vector environment of three lanes."""
    family = get_family(name)
    envs = family.make_vec_env(there(family, 3, 0, 3))
    sha = hashlib.sha256()
    for seed in (5, 2**62 + 1):
        observation, _ = envs.reset(seed=[seed, 1, seed + 1])
        sha.update(observation.tobytes())
        for action in actions_for(family, 15):
            observation, reward, *_ = envs.step(np.repeat(action[None], 3, axis=0))
            sha.update(observation.tobytes() + reward.tobytes())
    envs.close()
    return sha.hexdigest()


@pytest.fixture(scope="module")
def digests_elsewhere() -> dict[str, str]:
    """Digests from a fresh process in which mjbatch cannot be imported."""
    code = (
        "import sys, json; sys.modules['mjbatch'] = None\n"
        "from tests.data.families.test_every_family import FAMILIES, digest\n"
        "print(json.dumps({name: digest(name) for name in FAMILIES}))"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    result: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_a_fresh_process_without_mjbatch_gives_the_same_bits(
    family: TaskFamily, digests_elsewhere: dict[str, str]
) -> None:
    assert digest(family.name) == digests_elsewhere[family.name]


@pytest.mark.parametrize("threads", [1, 2])
def test_lanes_are_the_single_environments(family: TaskFamily, threads: int) -> None:
    """Episodes of other tasks, lengths and starting times beside it change no bit of a lane's episodes."""
    if family.name in METAWORLD and threads > 1:
        pytest.skip("worker processes have their own tests")
    tasks = there(family, 0, 9, 2, 9, 17)
    lanes = len(tasks)
    envs = family.make_vec_env(tasks, threads=threads)
    actions = np.stack([actions_for(family, 30, seed=lane) for lane in range(lanes)])
    episodes: list[list[tuple[bytes, Rows]]] = [[] for _ in tasks]
    step = np.zeros(lanes, np.int64)  # of the lane's episode
    for now in range(60):
        # A lane starts anew some steps after its episode ended; all lanes at different times.
        due = ~envs.active & (now % (np.arange(lanes) + 2) == 0)
        if due.any():
            seeds = [100 * lane + len(episodes[lane]) for lane in range(lanes)]
            observation, _ = envs.reset(seed=seeds, options={"reset_mask": due})
            for lane in np.flatnonzero(due).tolist():
                episodes[lane].append((observation[lane].tobytes(), []))
                step[lane] = 0
        before, active = envs._observation.copy(), envs.active
        action = actions[np.arange(lanes), step % 30]
        observation, reward, terminated, truncated, _ = envs.step(action)
        for lane in range(lanes):
            row = (
                observation[lane].tobytes(),
                float(reward[lane]),
                bool(terminated[lane]),
                bool(truncated[lane]),
            )
            if active[lane]:
                episodes[lane][-1][1].append(row)
            else:  # frozen
                assert row == (before[lane].tobytes(), 0.0, False, False)
        step[active] += 1
    envs.close()
    for lane, task in enumerate(tasks):
        assert len(episodes[lane]) >= 1
        for number, (first, rows) in enumerate(episodes[lane]):
            repeated = actions[lane, np.arange(len(rows)) % 30]
            assert (first, rows) == episode(family, task, 100 * lane + number, repeated)


@pytest.mark.parametrize("before", [0, 5])
def test_a_fresh_environment_continues_from_a_state(family: TaskFamily, before: int) -> None:
    actions = actions_for(family, min(25, family.horizon - 1))
    env = family.make_env(*there(family, 4))
    observation, _ = env.reset(seed=11)
    for action in actions[:before]:
        observation, *_ = env.step(action)
    state = env.get_state()
    assert (state.ndim, state.dtype) == (1, np.float64)
    rest = roll(env, actions[before:])
    fresh = family.make_env(*there(family, 4))
    assert np.array_equal(fresh.set_state(state), observation)
    assert roll(fresh, actions[before:]) == rest
    assert np.array_equal(fresh.set_state(state), observation)  # and once more, in a used one
    assert np.array_equal(fresh.get_state(), state)
    assert roll(fresh, actions[before:]) == rest


def test_a_lane_continues_from_a_state(family: TaskFamily) -> None:
    actions = actions_for(family, 20)
    env = family.make_env(*there(family, 4))
    env.reset(seed=11)
    for action in actions[:5]:
        env.step(action)
    envs = family.make_vec_env(there(family, 1, 4, 1))
    observation, _ = envs.reset(seed=0)
    after = envs.set_state(1, env.get_state())
    assert np.array_equal(envs.get_state(1), env.get_state())
    assert np.array_equal(after[[0, 2]], observation[[0, 2]])
    rows = roll(env, actions[5:])
    for action, row in zip(actions[5:], rows, strict=False):
        observation, reward, *_ = envs.step(np.repeat(action[None], 3, axis=0))
        assert (observation[1].tobytes(), reward[1]) == row[:2]


def test_dynamics_vary_where_it_says_so(family: TaskFamily) -> None:
    if family.name in METAWORLD:
        pytest.skip("objects start elsewhere in each task; there is a test on the models")
    actions = actions_for(family, STEPS)
    observations = set()
    rewards = set()
    tasks = {*there(family, 0, 12), len(family.tasks) - 1}
    for task in tasks:
        first, rows = episode(family, task, 0, actions)
        observations.add((first, *(row[0] for row in rows)))
        rewards.add(tuple(row[1] for row in rows))
    assert len(observations) == (len(tasks) if family.dynamics_vary else 1)
    sparse = ("point-robot", "finger-speed", "point-robot-sparse", "cheetah-vel-sparse")
    if not family.dynamics_vary and family.name not in sparse:
        assert len(rewards) == len(tasks)


def test_rewards_across_are_those_of_the_other_tasks(family: TaskFamily) -> None:
    """Of equal dynamics, lanes with one seed and the same actions share their states."""
    # Of the -ls families 0 and 25 have the same length, and 37 has another.
    tasks = [*there(family, 0, 25), len(family.tasks) - 1]
    shared = np.ones((3, 3), np.bool_)
    if family.dynamics_vary:
        shared[:2, 2] = shared[2, :2] = False
    env = family.make_vec_env(tasks)
    env.reset(seed=[3] * 3)
    generator = np.random.default_rng(0)
    for _ in range(20):
        action = np.tile(generator.uniform(-1.0, 1.0, family.action_size).astype(np.float32), (3, 1))
        _, reward, terminated, _, _ = env.step(action)
        across = env.rewards_across()
        if across is None:
            varied = family.dynamics_vary and not family.name.endswith("-ls")
            assert varied or family.benchmark in ("point", "metaworld")
            break
        np.testing.assert_array_equal(np.diag(across), reward)
        np.testing.assert_array_equal(across, np.where(shared, np.tile(reward, (3, 1)), np.nan))
        if terminated.any():
            env.reset(seed=[3] * 3)
    env.close()
