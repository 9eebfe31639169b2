"""Every setting of an evaluation counts: for `clwm sweep`, for `clwm report` and for the model card."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from clwm_cli.main import main

from clwm_data.collection.collector import collect
from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.families import SPLITS
from clwm_train.config import BatchConfig, TrainConfig
from clwm_train.evaluation.results import Evaluation, find_evaluation, read_evaluations, save_evaluation
from clwm_train.hub.model_card import CardAgent, model_card
from clwm_train.report.choosing import choose_evaluations
from clwm_train.runs.run import open_run
from clwm_train.settings import (
    DEFAULT_EVALUATION,
    PROTOCOLS,
    AnalysisSettings,
    EvaluationSettings,
    Execution,
    PlannerConfig,
    differences,
    shown,
)
from clwm_train.sweep import job_state, list_jobs, read_experiment
from tests.conftest import tiny_manifest
from tests.train.helpers import SMALL
from tests.train.invented_runs import invent_run

#: Another value of every field.
OTHER: dict[str, Any] = {
    "protocols": ("few-shot",),
    "splits": ("id",),
    "episodes": 7,
    "context_size": 9,
    "seed": 3,
    "prior": "mean",
    "prior_weight": 2.5,
    "inference": "model",
    "noise": 0.3,
    "planner": PlannerConfig(samples=99),
    "context_behaviour": "learned-25",
    "env": "my_robot:make",
}
FIELDS = sorted(EvaluationSettings.model_fields)


def other_settings(field: str) -> EvaluationSettings:
    return EvaluationSettings(**{field: OTHER[field]})


def as_evaluated_with(evaluation: Evaluation, settings: EvaluationSettings) -> Evaluation:
    """The evaluation as if it had been asked for with other settings."""
    results = [
        {
            protocol: {split: result for split, result in splits.items() if split in settings.splits}
            for protocol, splits in protocols.items()
            if protocol in settings.protocols
        }
        for protocols in evaluation.results
    ]
    return evaluation.model_copy(update={"settings": settings, "results": results})


def test_there_is_another_value_of_every_field() -> None:
    assert sorted(OTHER) == FIELDS
    for field in FIELDS:
        assert differences(DEFAULT_EVALUATION, other_settings(field)) == [field]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of one run."""
    folder = tmp_path_factory.mktemp("settings")
    collect(tiny_manifest(tasks=(0, 1, 6, 7, 12, 13), name="six"), folder / "six.zarr")
    settings = {key: yaml.safe_load(value) for key, value in (text.split("=") for text in SMALL)}
    experiment = {
        "name": "one",
        "stores": [str(folder / "six.zarr")],
        "preset": "tiny",
        "set": settings,
        "methods": {"spc": None},
        "evaluation": {"episodes": 1, "context_size": 20},
        "analysis": None,
    }
    (folder / "one.yaml").write_text(yaml.safe_dump(experiment))
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", str(folder / "one.yaml"), "--out", str(folder / "runs"), "--device", "cpu"])
    assert not stopped.value.code
    return folder


@pytest.mark.parametrize("field", FIELDS)
def test_a_sweep_does_not_take_another_evaluation_for_its_own(folder: Path, field: str) -> None:
    experiment = read_experiment(folder / "one.yaml")
    (job,) = list_jobs(experiment, {experiment.stores[0]: folder / "six.zarr"}, folder / "runs")
    run = open_run(job.run)
    (own,) = read_evaluations(run)
    assert job_state(job).stage == "done"
    settings = own.settings.model_copy(update={field: OTHER[field]})
    other = as_evaluated_with(own, settings)
    (run.path / "evaluations" / own.name).unlink()
    file = save_evaluation(run, other)
    try:
        assert job_state(job).stage == "evaluating"
        assert find_evaluation(run, own.checkpoint, settings, own.store_sha256) == other
    finally:
        save_evaluation(run, own)
        assert job_state(job).stage == "done"
        file.unlink()


@pytest.mark.parametrize("field", FIELDS)
def test_a_report_refuses_evaluations_of_two_kinds(tmp_path: Path, field: str) -> None:
    first = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    second = invent_run(tmp_path, "cheetah-vel", "focal", 0.8, method="focal")
    (kept,) = read_evaluations(second)
    (second.path / "evaluations" / kept.name).unlink()
    save_evaluation(second, as_evaluated_with(kept, other_settings(field)))
    values = f"{field} {shown(getattr(DEFAULT_EVALUATION, field))} and {shown(OTHER[field])}"
    with pytest.raises(ConflictError) as refused:
        choose_evaluations([first, second])
    assert f"were evaluated in different ways ({values})" in str(refused.value)
    # With an evaluation of the same kind beside it, it is shown, and the other is named.
    save_evaluation(second, kept)
    chosen = choose_evaluations([first, second])
    assert chosen.settings == DEFAULT_EVALUATION
    assert [evaluation for _, evaluation in chosen.evaluations] == [*read_evaluations(first), kept]
    assert any(shown(OTHER[field]) in note for note in chosen.notes)
    # Of one run alone the one that is asked for.
    asked = choose_evaluations([second], {field: OTHER[field]})
    assert asked.settings == other_settings(field)


@pytest.mark.parametrize("field", FIELDS)
def test_a_model_card_names_what_was_not_as_published(tmp_path: Path, field: str) -> None:
    run = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    (kept,) = read_evaluations(run)

    def card(*evaluations: Evaluation) -> str:
        return model_card("user/agent", CardAgent(run, 40_000, 1, evaluations, None))

    assert "Not as published" not in card(kept)
    text = card(kept, kept.model_copy(update={"settings": other_settings(field)}))
    name = field.replace("_", " ")
    assert f"{name} {shown(OTHER[field])}" in text
    assert f"Not as published: {name}." in text


def test_the_order_of_names_makes_no_difference() -> None:
    assert EvaluationSettings(protocols=PROTOCOLS[::-1], splits=SPLITS[::-1]) == EvaluationSettings(
        protocols=PROTOCOLS, splits=SPLITS
    )
    for text in (DEFAULT_EVALUATION, other_settings("planner")):
        assert EvaluationSettings.model_validate_json(text.model_dump_json()) == text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": 0.3, "planner": PlannerConfig()}, "noise is for the policy"),
        ({"inference": "model", "prior_weight": 1.0}, "counts no transitions"),
        ({"protocols": ("zero-shot",), "context_behaviour": "random"}, "only few-shot takes its contexts"),
        ({"context_behaviour": ""}, "context_behaviour"),
        ({"protocols": ()}, "at least 1"),
        ({"episodes": 0}, "greater than or equal to 1"),
        ({"noise": float("nan")}, "noise"),
        ({"noise": float("inf")}, "noise"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as error:
        EvaluationSettings(**values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: EvaluationSettings(episodes=0),
            "EvaluationSettings: episodes: input should be greater than or equal to 1, found 0",
        ),
        (
            lambda: EvaluationSettings(splits=("od",)),
            "EvaluationSettings: splits[0]: input should be 'train', "
            "'id' or 'ood', found 'od': did you mean ood?",
        ),
        (
            lambda: EvaluationSettings(episode=1),
            "EvaluationSettings: unknown key episode: did you mean episodes?",
        ),
        (
            lambda: Execution(compile="yes"),
            "Execution: compile: input should be a valid boolean, found 'yes': write true",
        ),
        (
            lambda: AnalysisSettings(contexts=1),
            "AnalysisSettings: contexts: input should be greater than or equal to 2, found 1",
        ),
        (lambda: PlannerConfig(elites=600), "PlannerConfig: elites 600 are more than samples 512"),
        (lambda: BatchConfig(tasks=2.0), "BatchConfig: tasks: input should be a valid integer, found 2.0"),
        (
            lambda: BatchConfig(padded=3),
            "BatchConfig: padded: input should be 'auto' or a valid boolean, found 3",
        ),
        (
            lambda: EvaluationSettings(splits=("id", "x", "y")),
            "EvaluationSettings: splits[1]: input should be 'train', 'id' or 'ood', found 'x' (and 1 more)",
        ),
        (
            lambda: TrainConfig(batch={"tasks": 0}),
            "TrainConfig: batch.tasks: input should be greater than or equal to 1, found 0",
        ),
    ],
)
def test_a_mistake_in_python_is_one_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        make()
    assert str(error.value) == message


def test_one_name_is_a_choice() -> None:
    assert EvaluationSettings(splits="id", protocols="few-shot") == EvaluationSettings(  # type: ignore[arg-type]
        splits=("id",), protocols=("few-shot",)
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("learned 25 %", "learned-25"),
        ("learned-025", "learned-25"),
        ("Learned-25", "learned-25"),
        ("learned-100", "learned-100"),
        ("scripted, noise 0.3", "scripted-noise-0.3"),
        ("scripted-noise-0.05", "scripted-noise-0.05"),
        ("random", "random"),
        ("learned-0", "learned-0"),
    ],
)
def test_a_behaviour_has_one_name(text: str, name: str) -> None:
    assert EvaluationSettings(context_behaviour=text).context_behaviour == name
    assert EvaluationSettings(context_behaviour=name).context_behaviour == name


def test_settings_import_no_torch() -> None:
    code = "import sys, clwm_train.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
