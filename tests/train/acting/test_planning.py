"""MPPI: against brute force in a world model made by hand, and with every formulation that can be trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clwm_data.errors import InvalidInputError
from clwm_data.families import get_family
from clwm_train.acting.planner import MPPI, PlannerConfig
from clwm_train.acting.planner.imagination import Scene
from clwm_train.acting.planner.mppi import CHUNK
from clwm_train.data.normaliser import Normaliser
from clwm_train.evaluation import EvaluationSettings, FixedBelief, PolicyActor, evaluate, roll_out
from clwm_train.kernels.streams import Purpose, RandomStreams
from clwm_train.methods.method_file import names
from clwm_train.model.agent import Agent
from clwm_train.model.backbones.base import ActorCritic, Transitions
from tests.train.helpers import small_config

LINES = PlannerConfig(
    horizon=3, iterations=12, samples=2048, policy_samples=8, elites=64, temperature=20.0, min_std=0.1
)
DISCOUNT = 0.9
FORMULATIONS = ["spc", "tc-only", "tdmpc2", *(name for name in names("methods") if name.startswith("spc-"))]
#: Actions that brute force tries at every step.
GRID = np.linspace(-1.0, 1.0, 41)


class LineWorld(nn.Module):
    """A code is a place x on a line; x' = x + a / 2; the reward is -(x' - z)^2: z is the goal."""

    class _Prediction:
        def most_likely(self, output: Tensor, code: Tensor) -> Tensor:
            return output

    prediction = _Prediction()

    def continuation(self, code: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return torch.ones(code.shape[:-1])

    def encode(self, observation: Tensor) -> Tensor:
        return observation

    def predict(self, code: Tensor, action: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        following = code + 0.5 * action
        return following, -(following - z).square().squeeze(-1)


class LinePolicy:
    """Always goes left."""

    noise_size = 1

    def mode(self, state: Tensor) -> Tensor:
        return torch.full_like(state[..., :1], -0.7)

    def sample(self, state: Tensor, noise: Tensor) -> Tensor:
        return (self.mode(state) + float(np.exp(-2.0)) * noise).clamp(-1.0, 1.0)


class LineBackbone(ActorCritic):
    """Two critics, the lower of which values a place x at -5 |x - 2 z|."""

    discount = DISCOUNT
    policy: Any = LinePolicy()

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def losses(self, transitions: Transitions, noise: Tensor | None = None) -> Any:
        raise NotImplementedError

    def critics(self, state: Tensor) -> Tensor:  # type: ignore[override]
        low = -5.0 * (state[..., :1] - 2.0 * state[..., 1:2]).abs()
        return torch.stack([low, low + 1.0], 1)


class LineAgent(nn.Module):
    """As much of an agent as planning needs, of two seeds."""

    action_size, sees = 1, "codes"

    def __init__(self) -> None:
        super().__init__()
        self.seeds = (0, 1)
        self.world_model, self.backbone, self.normaliser = LineWorld(), LineBackbone(), Normaliser(1)


def worth(x: float, goal: float, actions: Sequence[float]) -> float:
    total = 0.0
    for t, action in enumerate(actions):
        x += 0.5 * action
        total -= DISCOUNT**t * (x - goal) ** 2
    return total - DISCOUNT ** len(actions) * 5.0 * abs(x - 2.0 * goal)


def best_first_action(x: float, goal: float) -> tuple[float, float]:
    """Brute force over the grid: the first action of the best sequence, and its value."""
    best = max(itertools.product(GRID, repeat=3), key=lambda actions: worth(x, goal, actions))
    return best[0], worth(x, goal, best)


def planner(config: PlannerConfig = LINES, seed: int = 0, lanes: int = 3, chunk: int = CHUNK) -> MPPI:
    made = MPPI(LineAgent(), config, chunk=chunk)  # type: ignore[arg-type]
    made.begin(np.ones((2, lanes), np.bool_), np.full((2, lanes), seed))
    return made


PLACES = torch.tensor([[[0.0], [0.9], [-1.3]], [[0.3], [2.0], [0.1]]])
GOALS = torch.tensor([[[0.4], [0.2], [-0.5]], [[0.3], [0.0], [-0.6]]])


def test_the_known_optimum_is_found() -> None:
    """The best first action trades rewards on the way for the critics' value at the end."""
    action = planner().act(PLACES, FixedBelief(GOALS))
    for seed, lane in itertools.product(range(2), range(3)):
        x, goal = float(PLACES[seed, lane]), float(GOALS[seed, lane])
        expected, value = best_first_action(x, goal)
        found = float(action[seed, lane])
        rest = max(worth(x, goal, [found, *rest]) for rest in itertools.product(GRID, repeat=2))
        assert found == pytest.approx(expected, abs=0.06), (x, goal)
        assert rest == pytest.approx(value, abs=0.1), (x, goal)  # the rest lies on the grid


def test_values_and_proposals_are_the_formula() -> None:
    agent: Any = LineAgent()
    scene = Scene(agent.backbone, agent.world_model, PLACES, GOALS)
    actions = 2.0 * torch.rand(2, 3, 5, 3, 1, generator=torch.Generator().manual_seed(0)) - 1.0
    value = scene.value(actions)
    for s, lane, n in itertools.product(range(2), range(3), range(5)):
        by_hand = worth(float(PLACES[s, lane]), float(GOALS[s, lane]), actions[s, lane, n, :, 0].tolist())
        assert float(value[s, lane, n]) == pytest.approx(by_hand, abs=1e-5)
    noise = torch.randn(2, 3, 4, 3, 1, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(scene.propose(noise), (-0.7 + float(np.exp(-2.0)) * noise).clamp(-1.0, 1.0))


def test_a_poor_policy_alone_proposes_nothing_better() -> None:
    """With no other sequence than the policy's, the plan is the policy's."""
    config = LINES.model_copy(update={"samples": 8, "policy_samples": 8, "elites": 8})
    assert (planner(config).act(PLACES, FixedBelief(GOALS)) < -0.2).all()


def test_the_same_seed_plans_the_same_and_steps_differ() -> None:
    belief = FixedBelief(GOALS)
    first, same, other = planner(), planner(), planner(seed=1)
    assert torch.equal(first.act(PLACES, belief), same.act(PLACES, belief))
    assert torch.equal(first.act(PLACES, belief), same.act(PLACES, belief))
    assert not torch.equal(planner().act(PLACES, belief), other.act(PLACES, belief))


def test_plans_go_on_until_an_episode_begins() -> None:
    """One iteration of few samples: a plan is refined over the steps; a new episode has none."""
    config = LINES.model_copy(update={"iterations": 1, "samples": 64, "policy_samples": 0, "max_std": 0.2})
    going, begun = planner(config), planner(config)
    belief = FixedBelief(GOALS)
    for _ in range(4):
        going.act(PLACES, belief)
        begun.act(PLACES, belief)
    begun.begin(np.array([[True, False, False], [False, False, False]]), np.zeros((2, 3), np.int64))
    before, after = going.act(PLACES, belief), begun.act(PLACES, belief)
    assert not torch.equal(before[0, 0], after[0, 0])
    assert torch.equal(before[1], after[1])
    assert torch.equal(before[0, 1:], after[0, 1:])


def test_lanes_in_chunks_find_the_same_optimum() -> None:
    together = planner().act(PLACES, FixedBelief(GOALS))
    apart = planner(chunk=1).act(PLACES, FixedBelief(GOALS))
    torch.testing.assert_close(apart, together, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        *((method, ()) for method in FORMULATIONS),
        ("spc", ("policy=mixture",)),
        ("spc", ("backbone=td3bc",)),
    ],
)
def test_every_formulation_can_plan(method: str, overrides: Sequence[str]) -> None:
    family = get_family("point-robot")
    agent = Agent(small_config(method, "tiny", *overrides), [0, 1], 2, 2)
    config = PlannerConfig(horizon=2, iterations=2, samples=16, policy_samples=4, elites=4)
    z = torch.zeros(2, 3, 3)
    episodes = [
        roll_out(actor, family, [0, 1, 2], FixedBelief(z), [0, 1, 2])
        for actor in (MPPI(agent, config), MPPI(agent, config), PolicyActor(agent))
    ]
    np.testing.assert_array_equal(episodes[0].observations, episodes[1].observations)
    assert not np.array_equal(episodes[0].observations, episodes[2].observations)
    assert np.isfinite(episodes[0].returns).all()


def test_planning_works_with_beliefs_that_change() -> None:
    agent = Agent(small_config(), [0], 2, 2)
    config = PlannerConfig(horizon=1, iterations=1, samples=4, policy_samples=2, elites=2)
    (result,) = evaluate(
        agent,
        get_family("point-robot"),
        {},
        EvaluationSettings(
            protocols=("online-context", "non-prior", "zero-shot"),
            splits=("id",),
            episodes=1,
            context_size=110,
            planner=config,
        ),
    )
    assert list(result) == ["online-context", "non-prior", "zero-shot"]


def test_codes_go_on_as_the_mode_of_what_is_drawn() -> None:
    """Of many draws, each latent dimension's most frequent code is the one that planning goes on with."""
    config = small_config()
    agent, model = Agent(config, [0], 2, 2), config.world_model
    assert agent.world_model is not None
    assert model is not None
    prediction = agent.world_model.prediction
    outputs = model.latent_dim * math.prod(model.levels)
    output = 3.0 * torch.randn(1, outputs, generator=torch.Generator().manual_seed(0))
    code = torch.zeros(1, 8)
    draws = RandomStreams([0]).at(Purpose.PLANNING)
    drawn = torch.stack([prediction.advance(output, code, draws) for _ in range(400)])
    likely = prediction.most_likely(output, code)
    for dimension in range(4):
        of_dimension = drawn.view(400, 4, 2)[:, dimension]
        values, counts = of_dimension.unique(dim=0, return_counts=True)
        torch.testing.assert_close(values[counts.argmax()], likely.view(4, 2)[dimension])


@pytest.mark.parametrize(
    ("method", "override", "message"),
    [
        ("focal", "steps=1", "has no world model to plan with"),
        ("spc", "features=both", "policy sees observations"),
        ("spc", "features=observation", "policy sees observations"),
        ("spc", "features=target-codes", "policy sees codes of the target encoder"),
        ("spc", "backbone=bc", "backbone bc has no critics"),
    ],
)
def test_an_agent_that_cannot_plan_is_refused(method: str, override: str, message: str) -> None:
    agent = Agent(small_config(method, "tiny", override), [0], 2, 2)
    with pytest.raises(InvalidInputError, match=message) as error:
        MPPI(agent, PlannerConfig())
    assert "\n" not in str(error.value)


def test_defaults_are_those_of_td_mpc2() -> None:
    published = {"horizon": 3, "iterations": 6, "samples": 512, "policy_samples": 24, "elites": 64}
    published |= {"temperature": 0.5, "min_std": 0.05, "max_std": 2.0}
    assert PlannerConfig().model_dump() == published
    for wrong in ({"elites": 513}, {"policy_samples": 600}, {"min_std": 3.0}, {"horizon": 0}):
        with pytest.raises(ValueError, match=r"elites|policy_samples|min_std|horizon"):
            PlannerConfig(**wrong)  # type: ignore[arg-type]


def test_noise_is_standard_normal() -> None:
    draws = RandomStreams([0, 1]).at(Purpose.PLANNING).normal(200_000)
    assert draws.shape == (2, 200_000)
    for row in draws:
        for moment, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
            assert float((row**moment).mean()) == pytest.approx(expected, abs=0.08)
    assert not torch.equal(draws[0], draws[1])
