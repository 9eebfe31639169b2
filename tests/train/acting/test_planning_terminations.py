"""MPPI of TD-MPC2: against plain NumPy, one lane at a time, with terminations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_train.acting.planner import MPPI, PlannerConfig
from clwm_train.acting.planner.imagination import Scene
from clwm_train.evaluation import FixedBelief
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent
from tests.train.acting.test_planning import DISCOUNT, GOALS, PLACES, LineAgent, LineWorld
from tests.train.helpers import small_config
from tests.train.reference import decoded, mlp, simnorm
from tests.train.training.test_learner import disturb

Floats = NDArray[np.float64]
SEEDS, LANES, Z = (3, 4), 2, 3
CONFIG = PlannerConfig(horizon=3, iterations=3, samples=12, policy_samples=3, elites=4, max_std=1.0)


class CliffWorld(LineWorld):
    """Right of 0.5 episodes end with probability 3/4."""

    def continuation(self, code: Tensor, action: Tensor, z: Tensor) -> Tensor:
        return torch.where(code.squeeze(-1) > 0.5, 0.25, 1.0)


def test_what_follows_a_termination_counts_by_its_probability() -> None:
    agent: Any = LineAgent()
    scene = Scene(agent.backbone, CliffWorld(), PLACES, GOALS)  # type: ignore[arg-type]
    actions = 2.0 * torch.rand(2, 3, 5, 3, 1, generator=torch.Generator().manual_seed(0)) - 1.0
    value = scene.value(actions)
    beyond = 0
    for s, lane, n in itertools.product(range(2), range(3), range(5)):
        x, goal, total, alive = float(PLACES[s, lane]), float(GOALS[s, lane]), 0.0, 1.0
        for t, action in enumerate(actions[s, lane, n, :, 0].tolist()):
            goes_on = 0.25 if x > 0.5 else 1.0
            beyond += x > 0.5
            x += 0.5 * action
            total -= alive * DISCOUNT**t * (x - goal) ** 2  # the step itself is still rewarded
            alive *= goes_on
        total -= alive * DISCOUNT**3 * 5.0 * abs(x - 2.0 * goal)
        assert float(value[s, lane, n]) == pytest.approx(total, abs=1e-5)
    assert beyond > 10


class Numbers:
    """One seed of an agent: its networks, in NumPy's precision, one state at a time."""

    def __init__(self, agent: Agent, row: int) -> None:
        self.agent, self.row = agent, row
        self.weights = {name: p.detach().double() for name, p in agent.named_parameters()}

    def network(self, name: str, *inputs: Floats, member: int | None = None) -> Tensor:
        x = torch.from_numpy(np.concatenate(inputs))
        return mlp(self.weights, name, x, self.row if member is None else member)

    def code(self, observation: Floats) -> Floats:
        return simnorm(self.network("world_model.encoder", observation), 2).numpy()

    def policy(self, code: Floats, z: Floats, noise: Floats | float = 0.0) -> Floats:
        mean, raw = self.network("backbone.policy.network", code, z).numpy().reshape(2, -1)
        std = np.exp(-5.0 + 3.5 * (np.tanh(raw) + 1.0))
        return np.clip(np.tanh(mean) + std * noise, -1.0, 1.0)

    def step(self, code: Floats, action: Floats, z: Floats) -> tuple[Floats, float, float]:
        inputs = (code, action, z)
        following = simnorm(self.network("world_model.dynamics", *inputs), 2).numpy()
        reward = float(decoded(self.network("world_model.reward_head", *inputs).float()))
        ends = 1.0 / (1.0 + np.exp(-float(self.network("world_model.termination_head", *inputs))))
        return following, reward, ends

    def value(self, code: Floats, actions: Floats, z: Floats) -> float:
        total, alive = 0.0, 1.0
        for t, action in enumerate(actions):
            code, reward, ends = self.step(code, action, z)
            total += 0.99**t * alive * reward
            alive *= 1.0 - ends
        state = (code, z, self.policy(code, z))
        q = [
            float(decoded(self.network("backbone.critics", *state, member=5 * self.row + critic).float()))
            for critic in range(5)
        ]
        return total + 0.99 ** len(actions) * alive * float(np.mean(q))

    def plan(self, code: Floats, z: Floats, mean: Floats, draws: np.random.Generator) -> Floats:
        """The refined mean [H, act] of one lane."""
        horizon, size = mean.shape
        proposed = draws.standard_normal((CONFIG.policy_samples, horizon, size), dtype=np.float32)
        others = CONFIG.samples - CONFIG.policy_samples
        noise = [
            draws.standard_normal((others, horizon, size), dtype=np.float32) for _ in range(CONFIG.iterations)
        ]
        from_policy = []
        for numbers in proposed:
            at, actions = code, []
            for t in range(horizon):
                actions.append(self.policy(at, z, numbers[t]))
                at, _, _ = self.step(at, actions[-1], z)
            from_policy.append(np.stack(actions))
        std = np.full_like(mean, CONFIG.max_std)
        for numbers in noise:
            candidates = [*from_policy, *(np.clip(mean + std * row, -1.0, 1.0) for row in numbers)]
            values = np.array([self.value(code, actions, z) for actions in candidates])
            best = np.argsort(-values)[: CONFIG.elites]
            weight = np.exp(CONFIG.temperature * (values[best] - values.max()))
            weight /= weight.sum()
            elites = np.stack([candidates[index] for index in best])
            mean = np.einsum("n,nha->ha", weight, elites)
            std = np.sqrt(np.einsum("n,nha->ha", weight, (elites - mean) ** 2))
            std = np.clip(std, CONFIG.min_std, CONFIG.max_std)
        return mean


def test_planning_is_the_algorithm_in_numpy() -> None:
    """Two steps of two lanes of two seeds; the second step starts from the first one's plan."""
    agent = Agent(small_config("tdmpc2", "tiny", "tdmpc2.bins=101"), SEEDS, 2, 2)
    disturb(agent)
    planner = MPPI(agent, CONFIG)
    episodes = np.array([[5, 6], [7, 8]])
    planner.begin(np.ones((2, LANES), np.bool_), episodes)
    generator = torch.Generator().manual_seed(1)
    z = torch.rand(2, LANES, Z, generator=generator)
    streams = {
        (row, lane): np.random.Generator(
            np.random.SFC64(derive(SEEDS[row], Purpose.PLANNING, int(episodes[row, lane])))
        )
        for row, lane in itertools.product(range(2), range(LANES))
    }
    plans = {key: np.zeros((3, 2)) for key in streams}
    for _ in range(2):
        observation = torch.randn(2, LANES, 2, generator=generator)
        action = planner.act(observation, FixedBelief(z))
        for (row, lane), draws in streams.items():
            numbers = Numbers(agent, row)
            of_task = z[row, lane].double().numpy()
            code = numbers.code(observation[row, lane].double().numpy())
            plan = numbers.plan(code, of_task, plans[row, lane], draws)
            np.testing.assert_allclose(action[row, lane].numpy(), plan[0], atol=1e-3)
            plans[row, lane] = np.concatenate([plan[1:], np.zeros((1, 2))])


def test_a_world_model_without_terminations_goes_on() -> None:
    agent = Agent(small_config("spc", "tiny"), SEEDS, 2, 2)
    assert agent.world_model is not None
    code, action, z = (torch.randn(2, 5, size) for size in (8, 2, Z))
    assert torch.equal(agent.world_model.continuation(code, action, z), torch.ones(2, 5))


def test_every_formulation_can_learn_terminations() -> None:
    agent = Agent(small_config("spc", "tiny", "world_model.termination=true"), SEEDS, 2, 2)
    disturb(agent)
    assert agent.world_model is not None
    code, action, z = (torch.randn(2, 5, size) for size in (8, 2, Z))
    goes_on = agent.world_model.continuation(code, action, z)
    assert ((goes_on > 0.0) & (goes_on < 1.0)).all()
