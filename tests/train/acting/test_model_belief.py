"""Task inference with the world model: the choice by hand, and where it is used."""

from __future__ import annotations

import itertools

import pytest
import torch

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_train.acting.model_belief import REACH
from clwm_train.evaluation import (
    PROTOCOLS,
    EvaluationSettings,
    ModelBelief,
    Prior,
    candidate_tasks,
    evaluate,
    infer_from_data,
)
from clwm_train.model.agent import Agent
from tests.train.acting.test_planning import FORMULATIONS
from tests.train.helpers import point_robot_tasks, small_config

FAMILY = get_family("point-robot")


def agent_of(method: str) -> Agent:
    agent = Agent(small_config(method), [0, 1], 2, 2)
    agent.normaliser.std.fill_(1.7)
    agent.normaliser.reward_scale.fill_(0.5)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return agent


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("together", [2, 16])
@pytest.mark.parametrize("method", FORMULATIONS)
def test_the_choice_is_the_slow_one(method: str, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps in three lanes, five candidates; the second lane's episode ends after two steps."""
    monkeypatch.setattr(ModelBelief, "TOGETHER", together)
    agent = agent_of(method)
    world_model = agent.world_model
    assert world_model is not None
    candidates = torch.tanh(noise(2, 5, 3, seed=0))
    belief = ModelBelief(agent, 3, candidates, Prior(torch.full((2, 3), 0.3)))
    assert torch.equal(belief.z, torch.full((2, 3, 3), 0.3))
    steps = [
        (
            noise(2, 3, 2, seed=4 * t),
            noise(2, 3, 2, seed=4 * t + 1),
            noise(2, 3, seed=4 * t + 2),
            noise(2, 3, 2, seed=4 * t + 3),
        )
        for t in range(1, 5)
    ]
    for t, step in enumerate(steps):
        belief.observe(step[0], step[1], step[2], step[3], torch.tensor([[True, t < 2, True]] * 2))
    for s, lane in itertools.product(range(2), range(3)):
        scores = []
        for z in candidates[s]:
            consistency = reward_error = 0.0
            for observation, action, reward, following in steps[: 2 if lane == 1 else 4]:
                pick = (slice(s, s + 1), lane)
                with torch.no_grad():
                    # All seeds pass together: seed s is picked afterwards.
                    code = agent.features(agent.normaliser.observation(observation))
                    target = world_model.encode_target(agent.normaliser.observation(following))
                    output, predicted = world_model.predict(code, action, z.expand(2, 3, 3))
                    consistency += float(world_model.prediction.loss(output, code, target)[pick])
                    reward_error += float((predicted[pick] - 0.5 * reward[pick]) ** 2)
            scores.append(consistency * reward_error)
        torch.testing.assert_close(belief.z[s, lane], candidates[s, scores.index(min(scores))])


def test_candidates_are_the_train_tasks_and_points_on_lines_through_them() -> None:
    agent, tasks = agent_of("spc"), point_robot_tasks([0, 6, 12, 13, 20], episodes=1)
    candidates = candidate_tasks(agent, tasks, 0, count=50)
    known = torch.stack([infer_from_data(agent, tasks[index], 600, 0) for index in (12, 13, 20)], 1)
    assert candidates.shape == (2, 53, 3)
    torch.testing.assert_close(candidates[:, :3], known)
    assert torch.equal(candidates, candidate_tasks(agent, tasks, 0, count=50))
    assert candidates.abs().max() <= 1.0
    for seed, candidate in itertools.product(range(2), range(3, 53)):
        point = candidates[seed, candidate]
        on_a_line = [
            torch.allclose(torch.lerp(first, second, place).clamp(-1.0, 1.0), point, atol=1e-4)
            for first, second in itertools.permutations(known[seed], 2)
            for place in [_place(point, first, second)]
            if -REACH - 1e-3 <= float(place) <= 1.0 + REACH + 1e-3
        ]
        assert any(on_a_line) or any(torch.allclose(point, its, atol=1e-5) for its in known[seed])
    with pytest.raises(ClwmError, match="needs data of two train tasks or more"):
        candidate_tasks(agent, {12: tasks[12], 0: tasks[0]}, 0)


def _place(point: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Where on the line from first to second a point lies, judged by entries that were not clamped."""
    free = point.abs() < 1.0
    direction = (second - first)[free]
    return ((point - first)[free] * direction).sum() / direction.square().sum()


def test_every_protocol_can_infer_with_the_model() -> None:
    agent, tasks = agent_of("spc"), point_robot_tasks([6, 12, 13], episodes=1)
    settings = EvaluationSettings(protocols=PROTOCOLS, splits=("id",), episodes=1, context_size=105)
    both = [
        evaluate(agent, FAMILY, tasks, settings.model_copy(update={"inference": inference}))[0]
        for inference in ("model", "encoder")
    ]
    assert both[0]["few-shot"] == both[1]["few-shot"]
    for protocol in ("online-context", "non-prior", "zero-shot"):
        assert both[0][protocol] != both[1][protocol]


def test_an_agent_without_a_world_model_is_refused() -> None:
    agent = Agent(small_config("focal"), [0], 2, 2)
    with pytest.raises(ClwmError, match="no world model to infer tasks with: use --inference encoder"):
        ModelBelief(agent, 1, torch.zeros(1, 2, 3))
