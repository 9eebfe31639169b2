"""Evaluation in environments that a function makes, where the family is known from its data alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import clwm_train
from clwm_data.errors import InvalidInputError, NotFoundError, UnavailableError
from clwm_data.families.provided import ProvidedFamily
from clwm_data.store import Store
from clwm_train.evaluation.footage import film_run
from clwm_train.evaluation.results import read_evaluations, save_evaluation
from clwm_train.evaluation.run import evaluate_run
from clwm_train.runs.run import Run
from clwm_train.settings import EvaluationSettings, Execution
from tests.train.evaluation.robots import Robot, make
from tests.train.helpers import SMALL
from tests.train.runs.test_stored_family import foreign

SETTINGS = EvaluationSettings(protocols=("few-shot", "zero-shot"), splits=("id",), episodes=2)
MADE = "tests.train.evaluation.robots:make"


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Run, Store]:
    store = foreign(tmp_path)
    return clwm_train.train(store, overrides=SMALL, out=tmp_path / "run"), store


def test_every_task_is_acted_in_as_long_as_the_data(trained: tuple[Run, Store]) -> None:
    run, store = trained
    evaluation = evaluate_run(run, store, SETTINGS, env=make)
    assert evaluate_run(str(run.path), store.path, SETTINGS, env=make).results == evaluation.results
    assert evaluation.settings.env == MADE
    for result in evaluation.plain_results()[0].values():
        assert result["id"]["tasks"] == {"9": 6 * 1.5, "12": 6 * 2.5}
        assert "normalised_mean" not in result["id"]
    named = evaluate_run(run, store, SETTINGS.model_copy(update={"env": MADE}), checkpoint="8")
    assert named == evaluation
    spread = evaluate_run(run, store, SETTINGS, env=make, execution=Execution(threads=2))
    assert spread == evaluation
    scaled = evaluate_run(run, store, SETTINGS, env=make, references={9: (0.0, 9.0), 12: (0.0, 30.0)})
    assert scaled.plain_results()[0]["few-shot"]["id"]["task_normalised"] == {"9": 1.0, "12": 0.5}
    save_evaluation(run, evaluation)
    save_evaluation(run, scaled)
    save_evaluation(run, evaluation)  # evaluated again, without the references
    assert read_evaluations(run) == [scaled]
    file = save_evaluation(run, scaled)
    file.write_text("damaged")
    save_evaluation(run, evaluation)
    assert read_evaluations(run) == [evaluation]


def test_environments_may_stop_by_themselves_and_have_discrete_actions(trained: tuple[Run, Store]) -> None:
    run, store = trained
    evaluation = evaluate_run(run, store, SETTINGS, env=lambda task, parameters: Robot(1.0, 4, discrete=True))
    assert evaluation.plain_results()[0]["zero-shot"]["id"]["tasks"] == {"9": 4.0, "12": 4.0}


def test_what_cannot_be_acted_in_is_said(trained: tuple[Run, Store]) -> None:
    run, store = trained

    def wrong(task: int, parameters: dict[str, Any]) -> Any:
        return gymnasium.make("CartPole-v1")

    def fails(task: int, parameters: dict[str, Any]) -> Any:
        raise RuntimeError("no\nlicence")

    with pytest.raises(NotFoundError, match="clwm eval RUN --env"):
        evaluate_run(run, store, SETTINGS)
    with pytest.raises(NotFoundError, match="no task family is called 'my-robots' here"):
        film_run(run, store, SETTINGS)
    with pytest.raises(InvalidInputError, match="task 2 has observation size 4, its data 2"):
        evaluate_run(run, store, SETTINGS, env=wrong)
    with pytest.raises(UnavailableError, match="task 2: RuntimeError: no licence"):
        evaluate_run(run, store, SETTINGS, env=fails)
    with pytest.raises(InvalidInputError, match=r"gives a str, no gymnasium\.Env"):
        evaluate_run(run, store, SETTINGS, env=lambda task, parameters: "robot")  # type: ignore[arg-type, return-value]
    with pytest.raises(InvalidInputError, match="cannot be sent to worker processes"):
        evaluate_run(
            run, store, SETTINGS, env=lambda task, parameters: Robot(1.0), execution=Execution(threads=2)
        )
    with pytest.raises(NotFoundError, match="say nothing about task 12"):
        evaluate_run(run, store, SETTINGS, env=make, references={9: (0.0, 9.0)})
    with pytest.raises(InvalidInputError, match="references of task 12: random and expert return are 9"):
        evaluate_run(run, store, SETTINGS, env=fails, references={9: (0.0, 9.0), 12: (9.0, 0.0)})


def test_a_provided_family_is_a_family(trained: tuple[Run, Store]) -> None:
    family = ProvidedFamily(trained[1].task_family, make)
    env = family.make_env(9)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[3] for _ in range(6)]
    assert ends == [False] * 5 + [True]
    assert [task.index for task in family.tasks] == [2, 5, 7, 9, 12]
