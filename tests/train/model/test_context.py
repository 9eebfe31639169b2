"""Floor and ceiling of task inference: no context, and the task's own parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.families import get_family
from clwm_data.store import Store
from clwm_train.analysis.codes import sample_codes
from clwm_train.data.task_data import load_task_data
from clwm_train.evaluation import evaluate
from clwm_train.methods.resolve import resolve
from clwm_train.model.agent import Agent
from clwm_train.model.context_encoder import NoContext, TaskParameters
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import describe_run, open_run, write_run
from clwm_train.settings import EvaluationSettings
from clwm_train.training.learner import Learner
from clwm_train.training.train import train_run
from tests.train.helpers import random_task, small_config
from tests.train.training.test_learner import make

FAMILY = get_family("point-robot")


def trained(store: Store, path: Path, method: str, *overrides: str) -> Agent:
    config = small_config(method, "tiny", "steps=3", "log_every=1", *overrides)
    write_run(describe_run(path, store, config, method=method, preset="tiny", seeds=(3, 4)))
    assert train_run(open_run(path), store)
    return load_agent(open_run(path))


def test_without_a_context_z_is_zero_whatever_is_seen(store: Store, tmp_path: Path) -> None:
    agent = trained(store, tmp_path / "run", "no-context")
    assert isinstance(agent.context_encoder, NoContext)
    assert not list(agent.context_encoder.parameters())
    z = agent.context_encoder(torch.randn(2, 4, 9, 5))
    assert z.shape == (2, 4, 3)
    assert not z.any()
    settings = EvaluationSettings(
        protocols=("few-shot", "zero-shot"), splits=("id", "ood"), episodes=1, context_size=10
    )
    for result in evaluate(agent, FAMILY, store.tasks, settings):
        for split, part in result["few-shot"].items():
            for task, value in part["tasks"].items():
                assert result["zero-shot"][split]["tasks"][task] == pytest.approx(value, rel=1e-5)


def with_waves(told: NDArray[np.float64], octaves: int) -> NDArray[np.float64]:
    """Powers of exp(i pi p), each the square of the one before: first the sines, then the cosines."""
    powers = [np.exp(1j * np.pi * told)]
    while len(powers) < octaves:
        powers.append(powers[-1] ** 2)
    return np.hstack([told, *(power.imag for power in powers), *(power.real for power in powers)])


def test_an_oracle_acts_on_the_parameters_in_every_protocol_and_split(store: Store, tmp_path: Path) -> None:
    agent = trained(store, tmp_path / "run", "oracle", "context.octaves=4")
    expected = np.asarray([np.hstack([*task.parameters.values()]) for task in FAMILY.tasks])
    low, high = expected.min(0), expected.max(0)
    told = 2.0 * (expected - low) / (high - low) - 1.0
    z = agent.known_z(range(40))
    assert z is not None
    for seed in (0, 1):
        np.testing.assert_allclose(z[seed].numpy(), with_waves(told, 4), atol=1e-5)
    settings = EvaluationSettings(
        protocols=("few-shot", "zero-shot", "online-context", "non-prior"),
        splits=("train", "id", "ood"),
        episodes=1,
        context_size=10,
    )
    for result in evaluate(agent, FAMILY, store.tasks, settings):
        for protocol in ("zero-shot", "online-context", "non-prior"):
            assert result[protocol].keys() == {"train", "id", "ood"}
            for split, part in result["few-shot"].items():
                for task, value in part["tasks"].items():
                    assert result[protocol][split]["tasks"][task] == pytest.approx(value, rel=1e-5)
    # Told other parameters, it acts otherwise: z reaches the policy.
    assert isinstance(agent.context_encoder, TaskParameters)
    before = evaluate(agent, FAMILY, store.tasks, settings)[0]["zero-shot"]["id"]["return_mean"]
    agent.context_encoder.told.neg_()
    assert evaluate(agent, FAMILY, store.tasks, settings)[0]["zero-shot"]["id"]["return_mean"] != before


def test_an_oracle_learns_from_the_parameters_of_the_batchs_own_tasks() -> None:
    """Positions in a batch are those among the train tasks, which need not be the family's first."""
    config = small_config("oracle")
    tasks = {index: random_task(index, [4, 3]) for index in (2, 5, 7)}
    data = load_task_data(tasks, config.data)
    told = np.arange(16, dtype=np.float32).reshape(8, 2)
    learner = Learner(config, Agent(config, [0], 2, 2, told), data.tasks)
    _, sampler, _ = make(small_config("focal"), [0])
    batch = sampler.batch(0)
    z = learner._votes(batch).mean(-2)
    for place, position in enumerate(batch.task[0].tolist()):
        assert z[0, place, :2].tolist() == told[(2, 5, 7)[position]].tolist()


def test_the_analysis_of_an_oracle_finds_the_parameters(store: Store, tmp_path: Path) -> None:
    agent = trained(store, tmp_path / "run", "oracle")
    data = load_task_data(store.tasks, small_config("oracle").data)
    codes = sample_codes(agent, data, contexts=3, size=4, seed=0)
    for row, task in enumerate(codes.tasks):
        expected = FAMILY.conditioning.vectors[task]
        found = codes.z[:, row, :, : len(expected)]
        np.testing.assert_allclose(found, np.broadcast_to(expected, (2, 3, len(expected))))


def test_an_oracle_infers_nothing_and_must_be_told() -> None:
    config = small_config("oracle")
    agent = Agent(config, [0], 2, 2, FAMILY.conditioning.vectors)
    with pytest.raises(InvalidInputError, match="told the parameters of its task"):
        agent.context_encoder(torch.zeros(1, 3, 5))
    with pytest.raises(InvalidInputError, match=r"no task parameters to tell.*another method"):
        Agent(config, [0], 2, 2)


def test_octaves_without_parameters_are_refused() -> None:
    with pytest.raises(ClwmError, match="octaves are of parameters, and context"):
        resolve("spc", "tiny", ["context.octaves=4"])


@pytest.mark.parametrize("source", ["none", "parameters"])
def test_a_world_model_can_do_without_inference(source: str, store: Store, tmp_path: Path) -> None:
    agent = trained(store, tmp_path / "run", "spc", f"context.source={source}", "objectives.infonce=null")
    assert agent.world_model is not None
    with pytest.raises(ClwmError, match=rf"context.source {source} has no encoder that objectives"):
        resolve("focal", "tiny", [f"context.source={source}"])
