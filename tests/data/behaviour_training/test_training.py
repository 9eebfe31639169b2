from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clwm_data.behaviour_training.crossq import make_crossq, policy_tensors
from clwm_data.behaviour_training.folder import RunFolder
from clwm_data.behaviour_training.run import learning_rate, next_evaluation, train
from clwm_data.behaviour_training.settings import TrainingSettings
from clwm_data.behaviour_training.snapshot import load_snapshot, save_snapshot
from clwm_data.behaviour_training.stage import choose_stage
from clwm_data.behaviour_training.team import Candidate, Measure, best_team
from clwm_data.behaviour_training.vec_env import TaskConditionedVecEnv, can_relabel
from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.zoo.evaluation import PolicyEvaluator
from clwm_data.zoo.policy import LearnedPolicy

POINT_ROBOT = get_family("point-robot")


def learner_of(
    family: str,
    seed: int = 0,
    steps: int = 0,
    relabelled: float = 0.0,
    tasks: Sequence[int] = range(4),
    learning_starts: int = 100,
) -> object:
    env = TaskConditionedVecEnv(get_family(family), tasks, 4, seed=seed)
    learner = make_crossq(
        env, seed=seed, buffer_size=4_000, learning_rate=1e-3, updates=1, relabelled=relabelled
    )
    learner.learning_starts = learning_starts
    if steps:
        learner.learn(steps)
    return learner


@pytest.mark.parametrize("family", ["point-robot", "hopper-mass"])
def test_numpy_inference_is_the_torch_policy(family: str) -> None:
    learner = learner_of(family, steps=500)
    assert learner._n_updates > 50
    rng = np.random.default_rng(0)
    buffer = learner.replay_buffer
    inputs = buffer.observations[rng.integers(0, buffer.pos, 200), 0]
    size = get_family(family).observation_size
    policy = LearnedPolicy(policy_tensors(learner.actor))
    noise = rng.normal(size=(200, policy.action_size))
    learner.policy.set_training_mode(False)
    with torch.no_grad():
        mean, log_std, _ = learner.actor.get_action_dist_params(torch.from_numpy(inputs))
    assert log_std.std() > 0.01
    expected = torch.tanh(mean + log_std.exp() * torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(policy.act(inputs[:, :size], inputs[:, size:], noise), expected, atol=1e-5)
    expected = learner.predict(inputs, deterministic=True)[0]
    np.testing.assert_allclose(policy.act(inputs[:, :size], inputs[:, size:]), expected, atol=1e-5)


def test_transitions_are_those_of_single_environments() -> None:
    """Point robots start at one place, so an environment of the task that the slot says is an oracle."""
    vec = TaskConditionedVecEnv(POINT_ROBOT, range(40), 5, seed=0)
    vectors = POINT_ROBOT.conditioning.vectors
    rng = np.random.default_rng(1)
    observation = vec.reset()
    played: set[int] = set()
    envs, steps = [None] * 5, [0] * 5
    for _ in range(130):
        action = rng.uniform(-1, 1, (5, 2)).astype(np.float32)
        for slot in range(5):
            if envs[slot] is None:
                task = int(np.abs(vectors - observation[slot, 2:]).sum(axis=1).argmin())
                np.testing.assert_array_equal(vectors[task], observation[slot, 2:])
                played.add(task)
                envs[slot] = POINT_ROBOT.make_env(task)
                first, _ = envs[slot].reset()
                np.testing.assert_array_equal(first, observation[slot, :2])
        before = observation
        observation, reward, done, infos = vec.step(action)
        for slot, env in enumerate(envs):
            expected, expected_reward, terminated, truncated, _ = env.step(action[slot])
            steps[slot] += 1
            assert reward[slot] == np.float32(expected_reward)
            assert done[slot] == (terminated or truncated)
            seen = infos[slot]["terminal_observation"] if done[slot] else observation[slot]
            np.testing.assert_array_equal(seen[:2], expected)
            np.testing.assert_array_equal(seen[2:], before[slot, 2:])
            assert infos[slot].get("TimeLimit.truncated", False) == truncated
            if done[slot]:
                assert steps[slot] == POINT_ROBOT.horizon
                envs[slot], steps[slot] = None, 0
    assert len(played) > 10


def test_only_terminations_end_the_value_of_a_state() -> None:
    learner = learner_of("hopper-mass", steps=1_000, learning_starts=1_000)
    buffer = learner.replay_buffer
    rows = buffer.pos
    dones, timeouts = buffer.dones[:rows].astype(bool), buffer.timeouts[:rows].astype(bool)
    height = buffer.next_observations[:rows, :, 0]
    angle = buffer.next_observations[:rows, :, 1]
    fallen = (height <= 0.7) | (np.abs(angle) >= 0.2)
    np.testing.assert_array_equal(dones & ~timeouts, fallen)
    assert fallen.any()
    conditioning = buffer.next_observations[:rows, :, -1]
    np.testing.assert_array_equal(conditioning, buffer.observations[:rows, :, -1])
    follows = (buffer.next_observations[: rows - 1] == buffer.observations[1:rows]).all(axis=2)
    np.testing.assert_array_equal(follows, ~dones[: rows - 1])


def test_one_task_is_played_by_all_environments() -> None:
    vec = TaskConditionedVecEnv(POINT_ROBOT, [7], 6, seed=0)
    for observation in (vec.reset(), *(vec.step(np.ones((6, 2), np.float32))[0] for _ in range(45))):
        np.testing.assert_array_equal(
            observation[:, 2:], np.tile(POINT_ROBOT.conditioning.vectors[7], (6, 1))
        )


def test_relabelled_transitions_are_those_of_the_other_task() -> None:
    """A batch relabelled throughout: the reward belongs to the velocity in it and the conditioning told."""
    family = get_family("cheetah-vel")
    learner = learner_of("cheetah-vel", steps=800, relabelled=1.0, learning_starts=800)
    buffer = learner.replay_buffer
    plain = buffer.rewards[: buffer.pos]
    target = np.asarray([family.task(task).number("velocity") for task in range(4)])
    motion = np.abs(
        buffer.rewards_across[: buffer.pos, :, None] - buffer.rewards_across[: buffer.pos, :, :, None]
    )
    assert motion.max() <= np.ptp(target) + 1e-5  # |v - a| and |v - b| differ by |a - b| at most
    batch = buffer.sample(512)
    told = batch.observations[:, -1].numpy()
    np.testing.assert_array_equal(told, batch.next_observations[:, -1].numpy())
    lanes = np.abs(told[:, None] - family.conditioning.vectors[:4, 0]).argmin(1)
    assert set(lanes.tolist()) == {0, 1, 2, 3}
    body = buffer.observations[: buffer.pos, :, :-1].reshape(-1, family.observation_size)
    across = buffer.rewards_across[: buffer.pos].reshape(-1, 4)
    for row, lane, reward in zip(
        batch.observations[:, :-1].numpy(), lanes, batch.rewards[:, 0].numpy(), strict=True
    ):
        found = np.flatnonzero((body == row).all(1))
        assert len(found)
        assert across[found, lane].tolist() == [reward] * len(found)
    own = np.asarray(
        [
            np.abs(told - family.conditioning.vectors[:4, 0]).argmin(-1)
            for told in buffer.observations[: buffer.pos, :, -1:]
        ]
    )
    np.testing.assert_array_equal(
        np.take_along_axis(buffer.rewards_across[: buffer.pos], own[..., None], 2)[..., 0], plain
    )


def test_relabelling_keeps_to_tasks_of_the_same_dynamics() -> None:
    """cheetah-ls 0 and 5 have one length, 1 and 6 another: no body is told to be of the other."""
    family = get_family("cheetah-ls")
    tasks = [0, 1, 5, 6]
    assert can_relabel(family, tasks)
    assert not can_relabel(family, [0, 1])
    assert not can_relabel(family, [0])
    learner = learner_of("cheetah-ls", steps=2_000, relabelled=1.0, tasks=tasks, learning_starts=2_000)
    buffer = learner.replay_buffer
    told = family.conditioning.vectors[tasks]
    stored = buffer.observations[: buffer.pos]
    own = np.abs(stored[:, :, None, -2:] - told).sum(-1).argmin(-1)
    finite = np.isfinite(buffer.rewards_across[: buffer.pos])
    np.testing.assert_array_equal(finite, own[..., None] % 2 == np.arange(4) % 2)
    bodies = {
        row.tobytes(): lane
        for row, lane in zip(stored[..., :-2].reshape(-1, family.observation_size), own.ravel(), strict=True)
    }
    batch = buffer.sample(512)
    assert np.isfinite(batch.rewards.numpy()).all()
    seen = set()
    for row in batch.observations.numpy():
        lane = int(np.abs(row[-2:] - told).sum(-1).argmin())
        seen.add((bodies[row[:-2].tobytes()], lane))
    assert seen == {(one, other) for one in range(4) for other in range(4) if one % 2 == other % 2}


def test_relabelling_is_refused_where_the_dynamics_differ(tmp_path: Path) -> None:
    settings = TrainingSettings(family="hopper-mass", tasks=[0, 1], relabelled=0.5)
    with pytest.raises(ClwmError, match="hopper-mass: no two of the tasks differ in the reward alone"):
        train(settings, RunFolder(tmp_path / "run"), steps=100, checkpoints=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("family", ["point-robot", "cheetah-vel"])
def test_a_snapshot_restores_the_learner(tmp_path: Path, family: str) -> None:
    relabelled = 0.5 if can_relabel(get_family(family), [0, 1]) else 0.0
    assert (relabelled > 0.0) == (family == "cheetah-vel")
    learner = learner_of(family, steps=400, relabelled=relabelled)
    save_snapshot(tmp_path / "s.pt", learner, 1.5)
    other = learner_of(family, seed=9, steps=40, relabelled=relabelled)
    assert load_snapshot(tmp_path / "s.pt", other) == 1.5
    assert other.num_timesteps == learner.num_timesteps
    relabels = ["rewards_across"] if family == "cheetah-vel" else []
    for state in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", *relabels):
        np.testing.assert_array_equal(
            getattr(other.replay_buffer, state), getattr(learner.replay_buffer, state)
        )
    for one in (learner, other):  # from here on they learn the same
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (what the library samples with)
        one.replay_buffer._generator = np.random.default_rng(0)
        one.train(gradient_steps=7, batch_size=64)
    for key, tensor in policy_tensors(learner.actor).items():
        np.testing.assert_array_equal(policy_tensors(other.actor)[key], tensor, err_msg=key)
    torch.testing.assert_close(other.log_ent_coef, learner.log_ent_coef)


def test_returns_are_those_of_rolled_out_episodes() -> None:
    policy = LearnedPolicy(policy_tensors(learner_of("point-robot").actor))
    returns = PolicyEvaluator(POINT_ROBOT, [3, 20])(policy, episodes=2, seed=0)
    for column, task in enumerate((3, 20)):
        env = POINT_ROBOT.make_env(task)
        observation, _ = env.reset()
        total, over = 0.0, False
        while not over:
            action = policy.act(observation[None], POINT_ROBOT.conditioning.vectors[[task]])[0]
            observation, reward, _, over, _ = env.step(action.astype(np.float32))
            total += reward
        assert returns[:, 1, column] == pytest.approx(total)
    assert (returns[:, 0] != returns[:, 1]).all()
    assert (returns[0, 0] != returns[1, 0]).all()


def policies_of(returns: np.ndarray, run: int = 0) -> list[Candidate]:
    return [Candidate(run, i, 0.0, np.stack([row, row])) for i, row in enumerate(returns)]


def returns_of(*returns: np.ndarray) -> Measure:
    return lambda policy: np.stack([returns[policy.run][policy.environment_steps]] * 2)[None]


RETURNS = st.tuples(st.integers(1, 12), st.integers(1, 6)).flatmap(
    lambda size: arrays(np.float64, size, elements=st.integers(-50, 50))
)


@given(RETURNS)
def test_a_team_is_as_good_as_its_members_allow(returns: np.ndarray) -> None:
    team = best_team(policies_of(returns), returns_of(returns), 3)
    steps = [policy.environment_steps for policy in team.members]
    assert 1 <= len(steps) <= 3
    assert len(set(steps)) == len(steps)
    played = returns[steps][team.player, range(returns.shape[1])]
    np.testing.assert_array_equal(returns[steps].max(axis=0), played)
    assert played.mean() >= returns.mean(axis=1).max()
    assert set(team.player) == set(range(len(steps)))  # nobody is idle


def test_a_team_worked_by_hand() -> None:
    returns = np.asarray([[0.0, 0.0, 0.0], [9.0, 9.0, 0.0], [8.0, 8.0, 8.0], [8.0, 8.1, 8.0]])
    careful = returns.copy()
    careful[2] = [8.0, 8.0, 8.5]  # the curve's one episode had been unlucky
    team = best_team(policies_of(returns), returns_of(careful), 3)
    assert [policy.environment_steps for policy in team.members] == [2, 1]
    assert team.player.tolist() == [1, 1, 0]
    assert len(best_team(policies_of(returns), returns_of(careful), 1).members) == 1


@given(RETURNS, st.data())
def test_a_stage_comes_nearer_than_any_policy_alone(returns: np.ndarray, data: st.DataObject) -> None:
    target = data.draw(arrays(np.float64, returns.shape[1], elements=st.integers(-50, 50)))
    stage = choose_stage(policies_of(returns), target, returns_of(returns), 3)
    assert stage is not None
    steps = [policy.environment_steps for policy in stage.members]
    assert 1 <= len(set(steps)) == len(steps) <= 3
    assert set(stage.player) == set(range(len(steps)))
    played = returns[steps][stage.player, range(returns.shape[1])]
    assert np.abs(played - target).mean() <= np.abs(returns - target).mean(axis=1).min()


def test_a_stage_worked_by_hand() -> None:
    returns = np.asarray([[1.0, 0.0, 0.0], [6.0, 4.0, 1.0], [9.0, 9.0, 4.0], [9.0, 9.0, 9.0]])
    target = np.full(3, 5.0)
    stage = choose_stage(policies_of(returns), target, returns_of(returns), 3)
    assert stage is not None
    assert [policy.environment_steps for policy in stage.members] == [1, 2]
    assert stage.player.tolist() == [0, 0, 1]
    careful = returns.copy()
    careful[2] = [5.0, 9.0, 8.5]  # the curve's one episode misled about two of the tasks
    stage = choose_stage(policies_of(returns), target, returns_of(careful), 3)
    assert stage is not None
    assert stage.player.tolist() == [1, 0, 1]
    alone = choose_stage(policies_of(returns), target, returns_of(returns), 1)
    assert alone is not None
    assert [policy.environment_steps for policy in alone.members] == [1]
    # The second policy brought the mean distance from 2 to 1.
    for worthwhile, size in ((0.9, 2), (1.1, 1)):
        stage = choose_stage(policies_of(returns), target, returns_of(returns), 3, worthwhile=worthwhile)
        assert stage is not None
        assert len(stage.members) == size
    assert choose_stage([], target, returns_of(returns), 3) is None


def test_a_stage_is_of_one_quality_in_every_episode() -> None:
    """Not of a policy whose episodes are good or bad by turns, be its mean right to the point."""
    episodes = np.asarray([[[10.0, 10.0], [0.0, 0.0]], [[4.0, 4.0], [4.0, 3.0]]])  # [policy, episode, task]
    target = np.full(2, 5.0)
    stage = choose_stage(
        policies_of(episodes.mean(axis=1)),
        target,
        lambda policy: np.stack([episodes[policy.environment_steps]] * 2, axis=1),
        2,
    )
    assert stage is not None
    assert [policy.environment_steps for policy in stage.members] == [1]


def test_a_specialist_plays_its_own_tasks_alone() -> None:
    """Of a run on the last task, which the other run plays badly; nothing is known of it on the first two."""
    everybody = np.asarray([[0.0, 0.0, 0.0], [4.0, 4.0, 1.0], [8.0, 8.0, 2.0]])
    specialist = np.asarray([[-np.inf, -np.inf, row] for row in (0.0, 5.0, 9.0)])
    policies = [*policies_of(everybody), *policies_of(specialist, run=1)]
    measure = returns_of(everybody, specialist)
    team = best_team(policies, measure, 3)
    assert [(policy.run, policy.environment_steps) for policy in team.members] == [(0, 2), (1, 2)]
    assert team.player.tolist() == [0, 0, 1]
    stage = choose_stage(policies, np.full(3, 4.5), measure, 3)
    assert stage is not None
    assert [(policy.run, policy.environment_steps) for policy in stage.members] == [(0, 1), (1, 1)]
    assert stage.player.tolist() == [0, 0, 1]
    assert choose_stage(policies_of(specialist, run=1), np.full(3, 4.5), measure, 3) is None


def test_the_learning_rate_falls_in_the_second_half() -> None:
    rates = [learning_rate(1e-3, progress) for progress in (0.0, 0.5, 0.75, 1.0)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 0.525e-3, 0.05e-3])


def test_evaluations_become_rarer() -> None:
    assert [next_evaluation(done) for done in (0, 5_000, 20_000, 100_000)] == [1_000, 6_000, 21_000, 105_000]
