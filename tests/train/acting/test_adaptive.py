"""Adapting an agent by hand: the same as the protocols of the evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clwm_data.errors import InvalidInputError
from clwm_data.families import get_family
from clwm_train.acting.adaptive import AdaptiveAgent
from clwm_train.acting.context import infer_from_data
from clwm_train.evaluation import EvaluationSettings, evaluate
from clwm_train.kernels.streams import Purpose, derive
from tests.train.helpers import MemoryTask, point_robot_tasks, random_task, small_config

FAMILY = get_family("point-robot")


@pytest.fixture(scope="module", params=[False, True], ids=["s, a, r", "s, a, r, s'"])
def agent(request: pytest.FixtureRequest) -> AdaptiveAgent:
    """Of two seeds, whose actions depend on z; with a scaling that is not the identity."""
    following = str(request.param).lower()
    made = AdaptiveAgent(small_config("spc", "tiny", f"context.next_observation={following}"), [3, 8], 2, 2)
    made.normaliser.std.copy_(torch.tensor([0.7, 1.9]))
    made.normaliser.reward_scale.fill_(0.5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return made.eval()


@pytest.fixture(scope="module")
def tasks() -> dict[int, MemoryTask]:
    return dict(point_robot_tasks([6, 12], episodes=2))


def rolled(policy: Any, task: int, seed: int, *, observes: bool) -> float:
    """Return of an episode in the single environment."""
    env = FAMILY.make_env(task)
    observation, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = policy.act(observation)
        following, reward, terminated, truncated, _ = env.step(action)
        if observes:
            policy.observe(observation, action, reward, following)
        observation, over = following, terminated or truncated
        total += float(reward)
    return total


@pytest.mark.parametrize(("row", "seed"), [(0, 3), (1, 8), (0, None)])
def test_adapted_policies_are_the_protocols(
    agent: AdaptiveAgent, tasks: dict[int, MemoryTask], row: int, seed: int | None
) -> None:
    settings = EvaluationSettings(splits=("id",), episodes=1, context_size=10_000)
    results = evaluate(agent, FAMILY, tasks, settings)[row]
    episode = derive(0, Purpose.EVALUATION, 6, 1)
    few_shot = agent.adapt(tasks[6], seed=seed)
    assert rolled(few_shot, 6, episode, observes=False) == pytest.approx(
        results["few-shot"]["id"]["tasks"][6], abs=1e-3
    )
    assert rolled(agent.adapt(seed=seed), 6, episode, observes=True) == pytest.approx(
        results["zero-shot"]["id"]["tasks"][6], abs=1e-3
    )


def test_arrays_episodes_and_stored_tasks_are_the_same(agent: AdaptiveAgent) -> None:
    task = random_task(3, [4, 5])
    z = infer_from_data(agent, task, 9, 0)[0].numpy()
    ways = [task, task.arrays, list(task.arrays)]
    for way in ways:
        policy = agent.adapt(way)
        np.testing.assert_allclose(policy.z, z, rtol=1e-5, atol=1e-6)
        assert policy.seen == 9
    first = task.arrays.episode(0)
    policy = agent.adapt(first)
    assert policy.seen == 4
    second = task.arrays.episode(1)
    for t in range(5):  # one by one
        policy.observe(second.observation[t], second.action[t], second.reward[t], second.observation[t + 1])
    np.testing.assert_allclose(policy.z, z, rtol=1e-5, atol=1e-6)


def test_one_observation_or_a_batch(agent: AdaptiveAgent) -> None:
    policy = agent.adapt(random_task(3, [4]))
    batch = np.random.default_rng(0).normal(size=(5, 2))  # float64 is taken, too
    actions = policy.act(batch)
    assert actions.shape == (5, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    for observation, action in zip(batch, actions, strict=True):
        one = policy.act(observation.tolist())
        assert one.shape == (2,)
        np.testing.assert_allclose(one, action, rtol=1e-4, atol=1e-6)
    assert agent.adapt().z.tolist() == [0.0, 0.0, 0.0]
    drawn = policy.act(batch, noise=[0.5, -0.5])  # one draw for all of them
    np.testing.assert_array_equal(drawn, policy.act(batch, noise=[[0.5, -0.5]] * 5))
    assert not np.array_equal(drawn, actions)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda agent: agent.adapt(seed=5), "no seed 5: its seeds are 3, 8"),
        (lambda agent: agent.adapt([]), "there are no transitions"),
        (lambda agent: agent.adapt([1, 2]), "give a task's arrays, episodes"),
        (
            lambda agent: agent.adapt(random_task(0, [4], observation_size=3)),
            r"\[4, 3\], the agent takes \[2\]",
        ),
        (lambda agent: agent.adapt().act([1.0]), r"observation: has the shape \[1\]"),
        (lambda agent: agent.adapt().act(np.zeros((2, 2, 2))), r"\[2, 2, 2\]"),
        (lambda agent: agent.adapt().act([np.nan, 0.0]), "observation: holds a value that is not finite"),
        (
            lambda agent: agent.adapt().act(torch.zeros(2, requires_grad=True)),
            "observation: is not an array of numbers: .*requires grad",
        ),
        (lambda agent: agent.adapt().act(np.zeros((4, 2)), noise=np.zeros((3, 2))), r"noise: .*\[3, 2\]"),
        (lambda agent: agent.adapt().act(np.zeros(2), noise=np.zeros((3, 2))), r"noise: .*\[3, 2\]"),
        (lambda agent: agent.adapt((np.zeros((2, 2)), np.zeros(1))), r"arrays of your own take adapt\(\)"),
        (lambda agent: agent.adapt().act("left"), "observation: is not an array of numbers"),
        (lambda agent: agent.adapt(3), "give a task's arrays, episodes"),
        (
            lambda agent: agent.adapt().observe(np.zeros(2), [0.0, -2.0], 0.0, np.zeros(2)),
            r"action: holds an entry of size 2: .* to \[-1, 1\]",
        ),
        (
            lambda agent: agent.adapt().observe(
                np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(2), np.zeros((3, 2))
            ),
            r"\[3\], \[3\], \[2\], \[3\] transitions",
        ),
        (lambda agent: agent.adapt().act([1e38, -1e38]), "observation: is too large for the agent"),
        (
            lambda agent: agent.adapt().observe(np.zeros(2), np.zeros(2), 1e38, np.zeros(2)),
            "transitions: are too large for the agent: its z is not finite",
        ),
    ],
)
def test_mistakes(agent: AdaptiveAgent, wrong: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        wrong(agent)


def test_discrete_actions_are_observed_as_they_were_executed() -> None:
    """A number, what the policy gave, and the vector that data hold are the same action."""
    agent = AdaptiveAgent(small_config("focal-ln"), [0], 2, 3).eval()
    agent.discrete = True
    rows = np.random.default_rng(0).normal(size=(4, 2))
    ways: list[Any] = [[2, 0, 1, 2], np.eye(3)[[2, 0, 1, 2]], np.eye(3)[[2, 0, 1, 2]] * 0.1 - 0.5]
    seen = []
    for way in ways:
        at_once, one_by_one = agent.adapt(), agent.adapt()
        at_once.observe(rows[:-1], way[:3], np.zeros(3), rows[1:])
        for t in range(3):
            one_by_one.observe(rows[t], way[t], 0.0, rows[t + 1])
        np.testing.assert_allclose(one_by_one.z, at_once.z, rtol=1e-5, atol=1e-6)
        seen.append(at_once.z)
    np.testing.assert_array_equal(seen[1], seen[0])
    np.testing.assert_array_equal(seen[2], seen[0])
    agent.discrete = False
    other = agent.adapt()
    other.observe(rows[:-1], ways[2][:3], np.zeros(3), rows[1:])
    assert not np.allclose(other.z, seen[0])
    agent.discrete = True
    for wrong in (3, -1, 0.5):
        with pytest.raises(InvalidInputError, match="expected numbers from 0 to 2"):
            agent.adapt().observe(rows[0], wrong, 0.0, rows[1])


def test_an_agent_that_is_told_its_tasks() -> None:
    parameters = FAMILY.conditioning.vectors
    config = small_config("oracle")
    agent = AdaptiveAgent(config, [0], 2, 2, parameters).eval()
    task = random_task(6, [4])
    policy = agent.adapt(task)
    np.testing.assert_array_equal(policy.z[: parameters.shape[1]], parameters[6])
    before = policy.z.copy()
    policy.observe(np.zeros(2), np.zeros(2), 0.0, np.zeros(2))
    np.testing.assert_array_equal(policy.z, before)
    assert policy.act(np.zeros(2)).shape == (2,)
    for unknown in (None, task.arrays):
        with pytest.raises(InvalidInputError, match="is told the parameters of its task"):
            agent.adapt(unknown)
