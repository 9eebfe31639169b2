from __future__ import annotations

import numpy as np
import pytest

from clwm_data.families import get_family

pytest.importorskip("gymnasium")


def test_the_velocity_of_a_cheetah_is_what_its_reward_says() -> None:
    family = get_family("cheetah-vel")
    task = 39  # 4 m/s, which random actions never exceed: reward = v - 4 - 0.05 sum a^2
    env = family.make_env(task)
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    observations, velocities = [observation], []
    for _ in range(family.horizon):
        action = rng.uniform(-1.0, 1.0, family.action_size).astype(np.float32)
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        velocities.append(float(reward) + 4.0 + 0.05 * float(np.sum(np.square(action, dtype=np.float64))))
    assert max(velocities) < 4.0
    reached = family.reached(np.stack(observations))
    assert float(reached) == pytest.approx(np.mean(velocities), abs=1e-4)


@pytest.mark.parametrize("name", ["cheetah-speed", "walker-speed", "finger-speed", "cheetah-ls"])
def test_the_speed_of_the_suite_is_the_one_that_is_rewarded(name: str) -> None:
    # What is rewarded comes from the simulator's sensors, apart from the observation.
    pytest.importorskip("dm_control")
    family = get_family(name)
    env = family.make_vec_env([0, 20])
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    observations, rewarded = [observation.copy()], []
    for _ in range(100):
        observation, *_ = env.step(rng.uniform(-1.0, 1.0, (2, family.action_size)).astype(np.float32))
        observations.append(observation.copy())
        rewarded.append(env._simulator._velocities.mean(0).copy())  # type: ignore[attr-defined]
    reached = family.reached(np.stack(observations, 1))
    assert reached.shape == (2,)
    # The root's velocity is not quite that of the centre of mass, nor that of the step before.
    np.testing.assert_allclose(reached, np.mean(rewarded, axis=0), atol=0.25 * np.std(rewarded) + 0.02)
    assert family.tracked in family.task(0).parameters


def test_families_without_a_tracked_parameter_say_so() -> None:
    with pytest.raises(NotImplementedError, match="ant-dir tracks no parameter"):
        get_family("ant-dir").reached(np.zeros((2, 27)))
