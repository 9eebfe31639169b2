"""The posterior over candidate z: against likelihoods maximised numerically, and by counting samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from clwm_train.evaluation import ModelBelief, evaluate
from clwm_train.settings import EvaluationSettings, Execution, Inference
from tests.train.acting.test_model_belief import FAMILY, agent_of, noise
from tests.train.helpers import point_robot_tasks

STEPS, LANES, CANDIDATES = 5, 3, 4


def steps() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    return [
        (
            noise(2, LANES, 2, seed=4 * t),
            noise(2, LANES, 2, seed=4 * t + 1),
            noise(2, LANES, seed=4 * t + 2),
            noise(2, LANES, 2, seed=4 * t + 3),
        )
        for t in range(STEPS)
    ]


def observed(
    inference: Inference, uniform: tuple[float, ...] = (), candidates: Tensor | None = None
) -> Tensor:
    """z after all steps; the episode of lane 1 ends after two of them."""
    given = torch.tanh(noise(2, CANDIDATES, 3, seed=0)) if candidates is None else candidates
    belief = ModelBelief(agent_of("spc"), LANES, given, inference=inference, uniform=uniform)
    for t, step in enumerate(steps()):
        belief.observe(*step, torch.tensor([[True, t < 2, True]] * 2))
    return belief.z


def posterior() -> NDArray[np.float64]:
    """[S, L, P]: for each kind of error the Gaussian likelihood of all steps, at its best variance."""
    agent = agent_of("spc")
    model = agent.world_model
    assert model is not None
    candidates = torch.tanh(noise(2, CANDIDATES, 3, seed=0))
    errors = np.zeros((2, STEPS, 2, LANES, CANDIDATES))
    for t, (observation, action, reward, following) in enumerate(steps()):
        with torch.no_grad():
            code = agent.features(agent.normaliser.observation(observation))
            target = model.encode_target(agent.normaliser.observation(following))
            for p in range(CANDIDATES):
                z = candidates[:, p].unsqueeze(1).expand(-1, LANES, -1)
                output, predicted = model.predict(code, action, z)
                errors[0, t, ..., p] = model.prediction.loss(output, code, target)
                errors[1, t, ..., p] = (predicted - 0.5 * reward).square()
    variances = np.geomspace(1e-6, 1e4, 20_001)
    likelihood = np.zeros((2, LANES, CANDIDATES))
    for lane in range(LANES):
        count = 2 if lane == 1 else STEPS
        for kind in range(2):
            total = errors[kind, :count, :, lane].sum(0)[..., None]  # [S, P, 1]
            logs = -0.5 * count * np.log(variances) - 0.5 * total / variances
            likelihood[:, lane] += logs.max(-1)
    weights = np.exp(likelihood - likelihood.max(-1, keepdims=True))
    found: NDArray[np.float64] = weights / weights.sum(-1, keepdims=True)
    return found


def test_the_mean_is_that_of_the_posterior() -> None:
    candidates = torch.tanh(noise(2, CANDIDATES, 3, seed=0)).numpy()
    expected = np.einsum("slp,spz->slz", posterior(), candidates)
    np.testing.assert_allclose(observed("model-mean").numpy(), expected, atol=2e-4)


def test_samples_are_as_frequent_as_the_posterior_says() -> None:
    probability, count = posterior(), 100
    candidates = torch.tanh(noise(2, CANDIDATES, 3, seed=0))
    drawn = np.zeros_like(probability)
    for place in range(count):
        z = observed("model-sample", ((place + 0.5) / count,) * LANES)
        drawn += (z.unsqueeze(2) == candidates.unsqueeze(1)).all(-1).numpy()
    assert (drawn.sum(-1) == count).all()
    np.testing.assert_allclose(drawn / count, probability, atol=1.0 / count + 1e-3)


def test_the_best_candidate_is_the_likeliest() -> None:
    candidates = torch.tanh(noise(2, CANDIDATES, 3, seed=0))
    best = torch.from_numpy(posterior().argmax(-1))
    expected = candidates.gather(1, best.unsqueeze(-1).expand(-1, -1, 3))
    torch.testing.assert_close(observed("model"), expected)


def test_equal_candidates_share_the_posterior() -> None:
    one = torch.tanh(noise(2, 1, 3, seed=5))
    torch.testing.assert_close(
        observed("model-mean", candidates=one.expand(-1, 6, -1)), one.expand(-1, LANES, -1)
    )


def test_hundreds_of_good_predictions_are_no_overflow() -> None:
    agent = agent_of("spc")
    belief = ModelBelief(agent, 1, torch.tanh(noise(2, 6, 3, seed=0)), inference="model-mean")
    step = [part[:, :1] for part in steps()[0]]
    for _ in range(600):
        belief.observe(step[0], step[1], step[2], step[3], torch.ones(2, 1, dtype=torch.bool))
    assert torch.isfinite(belief.z).all()


@pytest.mark.parametrize("inference", ["model-mean", "model-sample"])
def test_evaluations_with_it(inference: Inference) -> None:
    agent, tasks = agent_of("spc"), point_robot_tasks([6, 7, 12, 13], episodes=1)
    settings = EvaluationSettings(protocols=("zero-shot",), splits=("id",), episodes=2, inference=inference)
    found = evaluate(agent, FAMILY, tasks, settings)
    assert found == evaluate(agent, FAMILY, tasks, settings)
    # A lane's numbers are its own, whatever runs beside it; products of other sizes round differently.
    beside = evaluate(agent, FAMILY, tasks, settings, execution=Execution(lanes=4))
    few, all_at_once = (results[0]["zero-shot"]["id"]["tasks"] for results in (beside, found))
    assert few == pytest.approx(all_at_once, rel=0.01)
    assert found != evaluate(agent, FAMILY, tasks, settings.model_copy(update={"inference": "model"}))


def test_a_sample_needs_its_numbers() -> None:
    with pytest.raises(ValueError, match="0 numbers to sample with for 3 lanes"):
        observed("model-sample")
