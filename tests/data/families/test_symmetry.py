"""The robot's image does what the image of the robot does: judged by MuJoCo itself."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from clwm_data.families import get_family
from clwm_data.families.builtin import BUILTIN
from clwm_data.families.symmetry import SignedPermutation

Array = NDArray[np.float64]

SYMMETRIC = [name for name in BUILTIN if get_family(name).symmetries]
CASES = [(name, index) for name in SYMMETRIC for index in range(len(get_family(name).symmetries))]
ANT = mujoco.MjModel.from_xml_path(str(Path(gymnasium.__file__).parent / "envs/mujoco/assets/ant.xml"))


def test_the_ants_are_symmetric() -> None:
    assert {name: len(get_family(name).symmetries) for name in SYMMETRIC} == {"ant-dir": 7, "ant-goal": 1}
    assert len({(s.observation, s.action) for s in get_family("ant-dir").symmetries}) == 7


@pytest.mark.parametrize(("name", "index"), CASES)
def test_an_episode_and_its_image(name: str, index: int) -> None:
    family = get_family(name)
    symmetry = family.symmetries[index]
    unseen = 29 - family.observation_size  # of the torso's place
    generator = np.random.default_rng(7)
    qpos = ANT.qpos0 + generator.uniform(-0.1, 0.1, ANT.nq)
    qpos[:unseen] = 0.0
    start = np.concatenate([qpos, generator.normal(0.0, 0.5, ANT.nv)])
    image = np.concatenate([start[:unseen], symmetry.observation(start[unseen:])])
    actions = generator.uniform(-1.0, 1.0, (6, family.action_size))
    numbers = task_numbers(name)[generator.integers(40)]
    one, other = play(start, actions), play(image, symmetry.action(actions))
    np.testing.assert_allclose(symmetry.observation(one[:, unseen:]), other[:, unseen:], atol=1e-6)
    np.testing.assert_allclose(
        earned(name, one[:, :2], numbers),
        earned(name, other[:, :2], symmetry.conditioning(numbers)),
        atol=1e-6,
    )
    assert np.abs(one[:, unseen:] - other[:, unseen:]).max() > 0.1  # the image is another episode


@pytest.mark.parametrize(("name", "index"), CASES)
def test_images_of_tasks_are_tasks(name: str, index: int) -> None:
    numbers = task_numbers(name)
    images = get_family(name).symmetries[index].conditioning(numbers)
    distances = np.abs(images[:, None] - numbers).max(axis=-1)
    assert distances.min(axis=1).max() < 1e-6
    assert sorted(distances.argmin(axis=1)) == list(range(40))


def test_one_after_the_other() -> None:
    x = np.arange(1.0, 5.0)
    turn = SignedPermutation((1, 0, 3, 2), (-1, 1, 1, -1))
    swap = SignedPermutation((2, 3, 0, 1), (1, 1, -1, 1))
    np.testing.assert_array_equal(turn(x), [-2, 1, 4, -3])
    np.testing.assert_array_equal(swap.after(turn)(x), swap(turn(x)))
    np.testing.assert_array_equal(turn.after(swap)(x), turn(swap(x)))


@pytest.mark.parametrize(
    ("index", "sign"), [((0, 0), (1, 1)), ((0, 2), (1, 1)), ((0, 1), (1,)), ((0,), (2,))]
)
def test_what_is_no_signed_permutation(index: tuple[int, ...], sign: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not a signed permutation"):
        SignedPermutation(index, sign)
    with pytest.raises(ValueError, match="not a signed permutation"):
        SignedPermutation.from_function(lambda y: [y[0], y[0]], 2)


def play(start: Array, actions: Array) -> Array:
    """Positions and velocities [n + 1, 29] from ``start`` on."""
    data = mujoco.MjData(ANT)
    data.qpos[:], data.qvel[:] = np.split(start, [ANT.nq])
    states = [start]
    for action in actions:
        data.ctrl[:] = action
        mujoco.mj_step(ANT, data, nstep=5)
        states.append(np.concatenate([data.qpos, data.qvel]))
    return np.asarray(states)


def earned(name: str, place: Array, numbers: Array) -> Array:
    """What of the reward depends on the task, from the torso's places [n + 1, 2]."""
    if name == "ant-dir":
        return np.asarray(np.diff(place, axis=0) @ numbers)
    return np.abs(place - numbers[-2:]).sum(axis=1)


def task_numbers(name: str) -> Array:
    """[T, c] in the units of the parameters, as a policy is told of them."""
    family = get_family(name)
    return np.asarray([np.hstack([*family.conditioning_parameters(task).values()]) for task in family.tasks])
