"""Actions of an evaluation: the policy's mean, or drawn round it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clwm_train.evaluation import FixedBelief, PolicyActor
from clwm_train.model.agent import Agent
from clwm_train.model.policy import GaussianPolicy
from tests.train.helpers import small_config

LANES = 4000


def agent_of(*seeds: int) -> Agent:
    made = Agent(small_config("spc", "tiny", "context.next_observation=true"), seeds, 2, 2)
    made.normaliser.mean.copy_(torch.tensor([0.1, -0.3]))
    return made


def noisy(agent: Agent, noise: float, first: int = 0) -> PolicyActor:
    """An actor whose lanes have begun the episodes with the seeds first, first + 1, ..."""
    actor = PolicyActor(agent, noise)
    shape = (len(agent.seeds), LANES)
    actor.begin(np.ones(shape, np.bool_), np.broadcast_to(first + np.arange(LANES), shape))
    return actor


def scene(agent: Agent) -> tuple[torch.Tensor, FixedBelief]:
    """The same observation and belief in every lane."""
    seeds = len(agent.seeds)
    return torch.full((seeds, LANES, 2), 0.4), FixedBelief(torch.full((seeds, LANES, 3), 0.2))


def test_without_noise_it_is_the_mean() -> None:
    agent = agent_of(0, 1)
    observation, belief = scene(agent)
    action = PolicyActor(agent).act(observation, belief)
    torch.testing.assert_close(action, agent.act(observation, belief.z), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("scale", [0.005, 0.02])
def test_the_noise_is_a_share_of_the_policys(scale: float) -> None:
    agent = agent_of(0, 1)
    observation, belief = scene(agent)
    assert isinstance(agent.policy, GaussianPolicy)
    with torch.no_grad():
        feature = agent.features(agent.normaliser.observation(observation))
        mean, log_std = agent.policy(torch.cat([feature, belief.z], -1))
    wanted = scale * log_std.exp()
    assert (mean.abs() + 4.5 * wanted < 1.0).all(), "clipping would hide the scale"
    action = noisy(agent, scale).act(observation, belief)
    error = ((action - mean) / wanted).numpy()
    np.testing.assert_allclose(error.mean(1), 0.0, atol=4.0 / LANES**0.5)
    np.testing.assert_allclose(error.std(1), 1.0, atol=4.0 / (2.0 * LANES) ** 0.5)
    assert abs(np.corrcoef(error[:, :, 0].ravel(), error[:, :, 1].ravel())[0, 1]) < 4.0 / LANES**0.5


def test_much_noise_stays_within_the_bounds() -> None:
    agent = agent_of(0)
    action = noisy(agent, 1e3).act(*scene(agent))
    assert action.abs().max() == 1.0
    assert set(np.unique(action.sign().numpy())) == {-1.0, 1.0}


def test_the_seeds_of_agent_and_episode_decide_it() -> None:
    agent = agent_of(0, 1)
    first, again, other = (noisy(agent, 0.3, seed) for seed in (5, 5, 6))
    steps = [actor.act(*scene(agent)) for actor in (first, first, again, again, other)]
    assert torch.equal(steps[0], steps[2])
    assert torch.equal(steps[1], steps[3])
    assert not torch.equal(steps[0], steps[1])
    # The same episode in another lane draws the same.
    assert torch.equal(steps[0][:, 1:], steps[4][:, :-1])
    alone = agent_of(1)
    torch.testing.assert_close(noisy(alone, 0.3, 5).act(*scene(alone))[0], steps[0][1])


def test_an_episode_begins_anew_in_its_lane_alone() -> None:
    agent = agent_of(0)
    actor, other = noisy(agent, 0.3), noisy(agent, 0.3)
    before = actor.act(*scene(agent))
    other.act(*scene(agent))
    started = np.zeros((1, LANES), np.bool_)
    started[0, 3] = True
    actor.begin(started, np.broadcast_to(np.arange(LANES), (1, LANES)))
    after, going = actor.act(*scene(agent)), other.act(*scene(agent))
    assert torch.equal(after[0, 3], before[0, 3])
    rest = [lane for lane in range(LANES) if lane != 3]
    assert torch.equal(after[0, rest], going[0, rest])
