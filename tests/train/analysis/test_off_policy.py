"""Values and likelihoods of stored transitions, against sums and densities written out one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clwm_train.analysis import off_policy
from clwm_train.analysis.codes import context_z
from clwm_train.analysis.off_policy import compare_off_policy, returns_to_go
from clwm_train.config import DataConfig
from clwm_train.data.task_data import load_task_data
from clwm_train.model.agent import Agent
from clwm_train.model.backbones.base import ActorCritic
from tests.train.helpers import random_task, small_config
from tests.train.reference import decoded, mlp
from tests.train.training.test_learner import disturb

TASKS = {
    1: random_task(1, [5, 3]),
    4: random_task(4, [6], split="id", terminated=[True]),
    6: random_task(6, [2, 2, 4], split="id"),
}


def test_returns_to_go_are_the_sums_of_what_followed() -> None:
    data = load_task_data(TASKS, DataConfig(reward_scale=2.0))
    discount = 0.9
    for first, task in zip(data.first_transition.tolist(), TASKS.values(), strict=False):
        row = first
        for episode in task.load():
            rewards = [2.0 * float(reward) for reward in episode.reward]
            for step in range(len(rewards)):
                expected = sum(discount**k * reward for k, reward in enumerate(rewards[step:]))
                assert returns_to_go(data, np.array([row]), discount)[0] == pytest.approx(expected, rel=1e-5)
                row += 1


@pytest.mark.parametrize(("method", "more"), [("spc", ()), ("bc", ()), ("spc", ("backbone=td3bc",))])
def test_numbers_against_a_loop_over_transitions(
    method: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(off_policy, "TRANSITIONS", 7)  # a constant of the definition, smaller for the loop
    config = small_config(method, "tiny", *more)
    agent = Agent(config, [3, 8], 2, 2).eval()
    data = load_task_data(TASKS, config.data)
    agent.normaliser.load_state_dict(data.normaliser.state_dict())
    looks = compare_off_policy(agent, data, "id", seed=5)
    chosen, contexts = off_policy._draw(data, "id", 5)
    assert chosen.shape == (2, 7)
    scale = float(data.normaliser.reward_scale)
    for seed, look in enumerate(looks):
        rows: dict[str, list[float]] = {}
        for place in range(2):
            with torch.no_grad():
                z = context_z(agent, data, contexts[place : place + 1])[seed, 0]
            for row in chosen[place].tolist():
                before = data.observation[data.observation_row(torch.tensor([row]))]
                with torch.no_grad():
                    features = agent.features(before.expand(2, 1, -1))
                    state = torch.cat([features, z.expand(2, 1, -1)], -1)
                    action = data.action[row]
                    mode = agent.policy.mode(state)[seed, 0]
                    values = {"action_error": float(((mode - action) ** 2).mean())}
                    if agent.policy.stochastic:
                        mean, log_std = (part[seed, 0] for part in agent.policy(state))
                        normal = torch.distributions.Normal(mean, log_std.exp())
                        values["log_likelihood"] = float(normal.log_prob(action).sum())
                    if method != "bc":
                        for name, judged in (("value", action), ("policy_value", mode)):
                            pair = torch.cat([state, judged.expand(2, 1, -1)], -1)
                            q = agent.backbone.critics(pair)[seed].flatten()  # type: ignore[operator]
                            values[name] = min(q.tolist()) / scale
                        values["data_return"] = (
                            float(returns_to_go(data, np.array([row]), agent.backbone.discount)[0]) / scale
                        )
                for name, value in values.items():
                    rows.setdefault(name, []).append(value)
        given = {name: value for name, value in look if value is not None}
        assert given.keys() == rows.keys()
        for name, values_of in rows.items():
            assert given[name] == pytest.approx(np.mean(values_of), rel=1e-4, abs=1e-5), name
    assert compare_off_policy(agent, data, "id", seed=5) == looks
    assert compare_off_policy(agent, data, "id", seed=6) != looks


@pytest.mark.parametrize("method", ["spc", "focal-ln", "tdmpc2"])
def test_values_are_the_critics_in_the_rewards_scale(method: str) -> None:
    config = small_config(method, "tiny", *(["tdmpc2.bins=101"] if method == "tdmpc2" else []))
    data = load_task_data(
        {0: random_task(0, [5]), 1: random_task(1, [1], split="id"), 2: random_task(2, [1], split="id")},
        config.data,
    )
    agent = Agent(config, [3, 4], 2, 2)
    agent.normaliser.load_state_dict(data.normaliser.state_dict())
    disturb(agent)
    assert isinstance(agent.backbone, ActorCritic)
    weights = {name: p.detach() for name, p in agent.named_parameters()}
    seen = compare_off_policy(agent, data, "id")
    for seed in (0, 1):
        values = []
        for row in (5, 6):
            observation, action = data.observation[data.observation_row(torch.tensor(row))], data.action[row]
            parts = [observation, action, data.reward[row : row + 1]]
            if agent.next_observation:
                parts.append(data.observation[data.observation_row(torch.tensor(row)) + 1])
            z = torch.tanh(mlp(weights, "context_encoder.network", torch.cat(parts), seed))
            feature = agent.features(observation.expand(2, -1))[seed]
            pair = torch.cat([feature, z, action])
            copies = agent.backbone.critics.copies
            outputs = [mlp(weights, "backbone.critics", pair, copies * seed + copy) for copy in range(copies)]
            if method == "tdmpc2":
                values.append(np.mean([float(decoded(output)) for output in outputs]))  # two-hot
            else:
                values.append(min(float(output[0].detach()) for output in outputs))
        expected = np.mean(values) / float(agent.normaliser.reward_scale)
        assert seen[seed].value == pytest.approx(expected, rel=1e-3, abs=1e-4)
