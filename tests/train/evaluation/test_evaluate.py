from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from clwm_data import references
from clwm_data.errors import ClwmError
from clwm_data.families import SPLITS, Task, TaskFamily, get_family
from clwm_data.families.point_robot.family import PointRobot
from clwm_train.evaluation import (
    PROTOCOLS,
    EvaluationSettings,
    Gathering,
    PolicyActor,
    Protocol,
    Results,
    RunningBelief,
    evaluate,
    gather_context,
    infer_from_data,
    make_prior,
    protocols,
    roll_out,
)
from clwm_train.evaluation.curve import context_curves
from clwm_train.evaluation.lanes import Lanes
from clwm_train.evaluation.protocols import Callbacks
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent
from clwm_train.report.curve_figure import curve_figure
from clwm_train.settings import Execution, PlannerConfig
from tests.train.evaluation.test_lanes import LastingFamily
from tests.train.helpers import MemoryTask, small_config

FAMILY = get_family("point-robot")


def single_seed(agent: Agent, row: int) -> Agent:
    config = small_config("spc", "tiny", "context.next_observation=true")
    alone = Agent(config, [agent.seeds[row]], 2, 2)
    copies = {
        name: value if name.startswith("normaliser") else value.chunk(len(agent.seeds))[row]
        for name, value in agent.state_dict().items()
    }
    alone.load_state_dict(copies)
    return alone


def episode_by_hand(agent: Agent, task: int, seed: int, z: torch.Tensor | None) -> float:
    """One episode of one task in the single environment; z = None infers it from the episode."""
    env = FAMILY.make_env(task)
    observation, _ = env.reset(seed=seed)
    votes: list[torch.Tensor] = []
    total, over = 0.0, False
    while not over:
        now = z if z is not None else torch.stack(votes).mean(0) if votes else torch.zeros(3)
        action = agent.act(torch.from_numpy(observation)[None, None], now[None, None])[0, 0]
        following, reward, terminated, truncated, _ = env.step(action.numpy())
        over = terminated or truncated
        total += reward
        scaled = agent.normaliser.observation
        x = torch.cat(
            [
                scaled(torch.from_numpy(observation)),
                action,
                torch.tensor([0.5 * reward], dtype=torch.float32),
                scaled(torch.from_numpy(following)),
            ]
        )
        with torch.no_grad():
            votes.append(torch.tanh(agent.context_encoder.network(x[None, None]))[0, 0])
        observation = following
    return total


def test_protocols_are_the_hand_written_loops(agent: Agent, tasks: dict[int, MemoryTask]) -> None:
    results = evaluate(agent, FAMILY, tasks, EvaluationSettings(episodes=2, context_size=30, seed=5))
    for row in (0, 1):
        alone = single_seed(agent, row)
        for index in (0, 6, 12):
            split = FAMILY.task(index).split
            few_shot = infer_from_data(alone, tasks[index], 30, 5)[0]
            seeds = [derive(5, Purpose.EVALUATION, index, 1 + number) for number in (0, 1)]
            for protocol, z in (("few-shot", few_shot), ("zero-shot", None)):
                by_hand = np.mean([episode_by_hand(alone, index, seed, z) for seed in seeds])
                ours = results[row][protocol][split]["tasks"][index]
                assert ours == pytest.approx(by_hand, abs=1e-3), (row, index, protocol)
    assert results[0] != results[1]


def gathered_by_hand(agent: Agent, task: int, seed: int, size: int, *, prior: bool) -> torch.Tensor:
    """z from transitions gathered in the single environment: on z = 0, or at random and then on z so far."""
    env = FAMILY.make_env(task)
    random = np.random.default_rng(derive(seed, Purpose.GATHERING, task))
    votes: list[torch.Tensor] = []
    number, over = 0, True
    observation = np.zeros(2, np.float32)
    for step in range(size):
        if over:
            observation, _ = env.reset(seed=derive(seed, Purpose.GATHERING, task, 1 + number))
            number += 1
        z = torch.zeros(3) if prior or not votes else torch.stack(votes).mean(0)
        if not prior and step < 100:
            action = torch.from_numpy(random.uniform(-1.0, 1.0, 2).astype(np.float32))
        else:
            action = agent.act(torch.from_numpy(observation)[None, None], z[None, None])[0, 0]
        following, reward, terminated, truncated, _ = env.step(action.numpy())
        over = terminated or truncated
        parts = [torch.from_numpy(observation), action, torch.tensor(reward), torch.from_numpy(following)]
        x = agent.transition(*(part.float()[None, None] for part in parts))
        with torch.no_grad():
            votes.append(agent.context_encoder.embed(x)[0, 0])
        observation = following
    return torch.stack(votes).mean(0)


@pytest.mark.parametrize(("protocol", "size"), [("online-context", 50), ("non-prior", 130)])
def test_contexts_that_the_agent_gathers_are_the_hand_written_loops(
    agent: Agent, protocol: Protocol, size: int
) -> None:
    results = evaluate(
        agent, FAMILY, {}, EvaluationSettings(protocols=(protocol,), episodes=2, context_size=size, seed=5)
    )
    for row in (0, 1):
        alone = single_seed(agent, row)
        for index in (0, 6, 12):
            z = gathered_by_hand(alone, index, 5, size, prior=protocol == "online-context")
            seeds = [derive(5, Purpose.EVALUATION, index, 1 + number) for number in (0, 1)]
            by_hand = np.mean([episode_by_hand(alone, index, seed, z) for seed in seeds])
            ours = results[row][protocol][FAMILY.task(index).split]["tasks"][index]
            assert ours == pytest.approx(by_hand, abs=1e-3), (row, index)


def test_gathering_goes_on_over_episodes_that_end_early(agent: Agent) -> None:
    """Lanes whose episodes last 1, 3 and 5 steps gather 7 transitions each; z is their mean vote."""
    z = gather_context(
        PolicyActor(agent),
        LastingFamily(),  # type: ignore[arg-type]
        [1, 3, 5],
        RunningBelief(agent, 3),
        Gathering(steps=7, keep_prior=True),
    )
    for lane, length in enumerate((1, 3, 5)):
        votes = []
        for step in range(7):
            now = step % length
            before = torch.full((2, 1, 2), float(now))
            action = agent.act(before, torch.zeros(2, 1, 3))
            parts = before, action, torch.ones(2, 1), torch.full((2, 1, 2), now + 1.0)
            with torch.no_grad():
                votes.append(agent.context_encoder.embed(agent.transition(*parts)))
        torch.testing.assert_close(z[:, lane], torch.cat(votes, 1).mean(1))


def test_priors(agent: Agent, tasks: dict[int, MemoryTask]) -> None:
    """z of no transition is the prior; its weight counts as so many transitions."""
    mean = make_prior(agent, tasks, "mean", 4.0, 0)
    of_train = [infer_from_data(agent, tasks[index], 600, 0) for index in (12, 13)]
    torch.testing.assert_close(mean.z, (of_train[0] + of_train[1]) / 2)
    torch.testing.assert_close(infer_from_data(agent, tasks[6], 0, 0, mean), mean.z)
    plain = infer_from_data(agent, tasks[6], 12, 0)
    torch.testing.assert_close(infer_from_data(agent, tasks[6], 12, 0, mean), (12 * plain + 4 * mean.z) / 16)
    torch.testing.assert_close(
        infer_from_data(agent, tasks[6], 12, 0, make_prior(agent, {}, "zero", 0.0, 0)), plain
    )
    torch.testing.assert_close(RunningBelief(agent, 5, mean).z, mean.z.unsqueeze(1).expand(-1, 5, -1))
    with pytest.raises(ClwmError, match="no train task has data"):
        make_prior(agent, {6: tasks[6]}, "mean", 0.0, 0)


def test_a_context_of_no_transitions_is_the_prior(agent: Agent, tasks: dict[int, MemoryTask]) -> None:
    prior = make_prior(agent, tasks, "mean", 0.0, 0)
    settings = EvaluationSettings(
        protocols=PROTOCOLS[:3], splits=("id",), episodes=1, context_size=0, prior="mean"
    )
    results = evaluate(agent, FAMILY, tasks, settings)
    by_hand = episode_by_hand(single_seed(agent, 0), 6, derive(0, Purpose.EVALUATION, 6, 1), prior.z[0])
    for protocol in PROTOCOLS[:3]:
        assert results[0][protocol]["id"]["tasks"][6] == pytest.approx(by_hand, abs=1e-3)


def test_normalised_returns_are_those_of_the_references(
    agent: Agent, tasks: dict[int, MemoryTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    (result, _) = evaluate(agent, FAMILY, tasks, EvaluationSettings(protocols=("few-shot",), episodes=1))
    train = result["few-shot"]["train"]
    for index, value in train["tasks"].items():
        random, expert = FAMILY.reference_returns(index)
        assert train["task_normalised"][index] == pytest.approx((value - random) / (expert - random))
    assert train["normalised_mean"] == pytest.approx(np.mean(list(train["task_normalised"].values())))
    monkeypatch.setattr(references, "has_references", lambda family: False)  # an installation without any
    (result, _) = evaluate(agent, FAMILY, tasks, EvaluationSettings(protocols=("few-shot",), episodes=1))
    assert not {"normalised_mean", "task_normalised"} & set(result["few-shot"]["train"])


def test_curves_hold_every_size(agent: Agent, tasks: dict[int, MemoryTask], tmp_path: Path) -> None:
    def evaluate_at(protocols: Sequence[Protocol], size: int) -> list[Results]:
        settings = EvaluationSettings(protocols=tuple(protocols), episodes=1, context_size=size)
        return evaluate(agent, FAMILY, tasks, settings)

    curves = context_curves(evaluate_at, ["few-shot", "online-context", "zero-shot"], [0, 7])
    assert [curve["context_sizes"] for curve in curves] == [[0, 7]] * 2
    at_seven, zero_shot = evaluate_at(["few-shot", "zero-shot"], 7)[1].values()
    for split in SPLITS:
        assert curves[1]["few-shot"][split]["return_mean"][1] == at_seven[split]["return_mean"]
        assert curves[1]["zero-shot"][split]["return_mean"] == zero_shot[split]["return_mean"]
    assert len(curves[0]["online-context"]["ood"]["normalised_mean"]) == 2
    curve_figure(curves, tmp_path / "curve.svg", title="point-robot")
    drawn = ElementTree.parse(tmp_path / "curve.svg").getroot()
    words = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for expected in ("few-shot", "online-context", "normalised return", "7", "dashed: zero-shot"):
        assert expected in words


def test_results_by_split(agent: Agent, tasks: dict[int, MemoryTask]) -> None:
    warnings: list[str] = []
    (result, _) = evaluate(
        agent, FAMILY, tasks, EvaluationSettings(episodes=1), callbacks=Callbacks(warnings.append)
    )
    assert list(result) == ["few-shot", "zero-shot"]
    assert {split: list(part["tasks"]) for split, part in result["few-shot"].items()} == {
        "train": [12, 13],
        "id": [6],
        "ood": [0],
    }
    assert {split: len(part["tasks"]) for split, part in result["zero-shot"].items()} == {
        "train": 20,
        "id": 10,
        "ood": 10,
    }
    train = result["few-shot"]["train"]
    assert train["return_mean"] == pytest.approx(np.mean(list(train["tasks"].values())))
    assert "success" not in train
    assert len(warnings) == 1
    assert "no context for task" in warnings[0]
    assert "1-5,7-11,14-39" in warnings[0]


def test_few_shot_without_any_data_is_refused(agent: Agent) -> None:
    with pytest.raises(ClwmError, match="none of the tasks has data, so there is no context"):
        evaluate(agent, FAMILY, {}, EvaluationSettings(protocols=("few-shot",)))


def test_an_absent_split_is_absent(agent: Agent, tasks: dict[int, MemoryTask]) -> None:
    class WithoutOod(PointRobot):
        def list_tasks(self) -> Iterable[Task]:
            return [replace(task, split="id") if task.split == "ood" else task for task in FAMILY.tasks]

    (result, _) = evaluate(agent, WithoutOod(), tasks, EvaluationSettings(episodes=1))
    assert {protocol: list(parts) for protocol, parts in result.items()} == {
        "few-shot": ["train", "id"],
        "zero-shot": ["train", "id"],
    }
    with pytest.raises(ClwmError, match="has no ood tasks: its splits are train, id"):
        evaluate(agent, WithoutOod(), tasks, EvaluationSettings(protocols=("zero-shot",), splits=("ood",)))
    (asked, _) = evaluate(agent, FAMILY, tasks, EvaluationSettings(splits=("id",), episodes=1))
    assert {protocol: list(parts) for protocol, parts in asked.items()} == {
        "few-shot": ["id"],
        "zero-shot": ["id"],
    }


def test_evaluation_is_deterministic(agent: Agent, tasks: dict[int, MemoryTask]) -> None:
    runs = [
        evaluate(agent, FAMILY, tasks, EvaluationSettings(episodes=1, context_size=7, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(("limit", "most"), [(1, 4), (10, 8), (128, 128)])
def test_tasks_in_groups_have_the_results_of_all_at_once(
    agent: Agent, tasks: dict[int, MemoryTask], monkeypatch: pytest.MonkeyPatch, limit: int, most: int
) -> None:
    settings = EvaluationSettings(protocols=PROTOCOLS, episodes=2, context_size=7)
    together = evaluate(agent, FAMILY, tasks, settings, execution=Execution(lanes=10_000))
    counts = []

    def counted(agent: Agent, family: TaskFamily, of: Sequence[int], *, threads: int = 1) -> Lanes:
        counts.append(len(agent.seeds) * len(of))
        return Lanes(agent, family, of, threads=threads)

    for module in ("rollout", "gathering"):
        monkeypatch.setattr(f"clwm_train.evaluation.{module}.Lanes", counted)
    apart = evaluate(agent, FAMILY, tasks, settings, execution=Execution(lanes=limit))
    assert max(counts) <= most
    for one, other in zip(apart, together, strict=True):
        assert one.keys() == other.keys() == set(PROTOCOLS)
        for protocol, splits in one.items():
            for split, entry in splits.items():
                assert entry["tasks"] == pytest.approx(other[protocol][split]["tasks"], rel=1e-4)


@pytest.mark.parametrize(
    "way",
    [
        {"noise": 0.5},
        {"planner": PlannerConfig(horizon=2, iterations=2, samples=16, policy_samples=4, elites=4)},
    ],
    ids=str,
)
def test_a_task_does_not_depend_on_its_companions(
    agent: Agent, tasks: dict[int, MemoryTask], way: dict[str, Any]
) -> None:
    """Alone, beside others, and with more episodes: the same episodes have the same returns."""
    shared: dict[str, Any] = {"protocols": PROTOCOLS, "episodes": 1, "context_size": 45, **way}
    whole = evaluate(agent, FAMILY, tasks, EvaluationSettings(**shared))
    alone = evaluate(agent, FAMILY, {6: tasks[6]}, EvaluationSettings(splits=("id",), **shared))
    for row in (0, 1):
        for protocol in PROTOCOLS:
            one, other = (found[row][protocol]["id"]["tasks"] for found in (alone, whole))
            assert one[6] == pytest.approx(other[6], rel=1e-4), (row, protocol)


def test_success_is_reported_where_the_family_has_it(agent: Agent) -> None:
    episodes = [
        roll_out(PolicyActor(agent), LastingFamily(), [task] * 2, RunningBelief(agent, 2), [0] * 2)  # type: ignore[arg-type]
        for task in (1, 3)
    ]
    summary = protocols._summary(FAMILY, [6, 7], SPLITS, episodes, 0, 2)
    assert summary["id"]["success"] == 0.5
    assert summary["id"]["task_success"] == {6: 0.0, 7: 1.0}
    assert summary["id"]["episodes"] == 2
    assert list(summary) == ["id"]
