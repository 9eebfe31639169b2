"""Which evaluations and analyses of some runs are reported together, and what the reader is told of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clwm_data.errors import ConflictError
from clwm_train.analysis.results import read_analyses, save_analysis
from clwm_train.evaluation.results import read_evaluations, save_evaluation
from clwm_train.report.choosing import choose_analyses, choose_evaluations
from clwm_train.report.page import write_run_report
from clwm_train.report.scores import gather_scores
from clwm_train.runs.checkpoint import INDEX, CheckpointRecord, checkpoint_name
from clwm_train.runs.run import METRICS, Run, write_model
from clwm_train.settings import DEFAULT_EVALUATION, EvaluationSettings
from tests.train.invented_runs import invent_run


def test_what_learned_otherwise_is_not_pooled(tmp_path: Path) -> None:
    """The same name for another configuration, other data or another update is refused; logging is not."""
    first = invent_run(tmp_path, "cheetah-vel", "spc", 0.9, seeds=[0])
    logging = ["log_every=7", "keep_checkpoints=9"]
    alike = invent_run(tmp_path / "a", "cheetah-vel", "spc", 0.9, seeds=[1], overrides=logging)
    assert len(choose_evaluations([first, alike]).evaluations) == 2
    other = invent_run(tmp_path / "b", "cheetah-vel", "spc", 0.9, seeds=[1], overrides=["iql.expectile=0.9"])
    with pytest.raises(ConflictError, match=r"are both called spc and differ in iql\.expectile: give one"):
        choose_evaluations([first, other])
    longer = invent_run(tmp_path / "c", "cheetah-vel", "spc", 0.9, seeds=[1], overrides=["steps=50"])
    assert first.config.learning_rate_decay > 0.0  # over the steps
    with pytest.raises(ConflictError, match="differ in steps"):
        choose_evaluations([first, longer])
    (evaluation,) = read_evaluations(longer)
    shutil.rmtree(longer.path / "evaluations")
    save_evaluation(longer, evaluation.model_copy(update={"step": 40_000, "checkpoint": "step-000040000"}))
    constant = [
        Run(run.path, run.config.model_copy(update={"learning_rate_decay": 0.0}), run.record)
        for run in (first, longer)
    ]
    assert len(choose_evaluations(constant).evaluations) == 2
    record = alike.record.model_copy(update={"store_sha256": "cd" * 32})
    with pytest.raises(ConflictError, match="learned from different data that is called cheetah-vel"):
        choose_evaluations([first, Run(alike.path, alike.config, record)])
    (evaluation,) = read_evaluations(alike)
    shutil.rmtree(alike.path / "evaluations")
    save_evaluation(alike, evaluation.model_copy(update={"step": 30_000, "checkpoint": "step-000030000"}))
    with pytest.raises(ConflictError, match=r"at update 40,000, .* at update 30,000, and both are spc"):
        choose_evaluations([first, alike])
    # Of one run both updates are kept; the later one is shown.
    save_evaluation(first, evaluation.model_copy(update={"step": 30_000, "checkpoint": "step-000030000"}))
    ((_, shown),) = choose_evaluations([first]).evaluations
    assert shown.step == 40_000


def trained_to(run: Run, step: int) -> None:
    checkpoint = run.checkpoints / checkpoint_name(step)
    checkpoint.mkdir(parents=True)
    write_model(checkpoint / INDEX, CheckpointRecord(step=step, seeds=[*run.record.seeds], files={}))


def test_the_reader_is_told_of_a_run_that_has_learned_on(tmp_path: Path) -> None:
    run = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    trained_to(run, 50_000)
    note, *_ = choose_evaluations([run]).notes
    assert note == f"{run.path.name}: shown at update 40,000, and trained to update 50,000"


def test_a_run_without_what_is_asked_for_is_told_so(tmp_path: Path) -> None:
    noisy = [DEFAULT_EVALUATION, EvaluationSettings(noise=0.3)]
    runs = [
        invent_run(tmp_path, "cheetah-vel", "spc", 0.9, settings=noisy),
        invent_run(tmp_path, "cheetah-vel", "bc", 0.5, method="bc"),
    ]
    notes = choose_evaluations(runs, {"noise": 0.3}).notes
    assert f"not evaluated with noise 0.3: {runs[1].path.name}" in notes, "it was evaluated otherwise"


@pytest.mark.parametrize("evaluated", [True, False])
def test_the_reader_is_told_of_metrics_that_end_before_the_training_did(
    tmp_path: Path, evaluated: bool
) -> None:
    run = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    trained_to(run, 40_000)
    if not evaluated:
        shutil.rmtree(run.path / "evaluations")
    assert choose_evaluations([run]).notes == ()
    file = run.path / METRICS
    lines = file.read_bytes().splitlines(keepends=True)
    for left, told in (
        (lines[:-1], "holds no rows from update 39001 to 40000"),  # of one seed
        ([*lines[:-1], lines[-1][:-9]], "its last line is damaged and left out"),
        ([], "holds no rows from update 1 to 40000"),
    ):
        file.write_bytes(b"".join(left))
        (note,) = choose_evaluations([run]).notes
        assert note.startswith(f"{file}: {told}")
        page, *_ = write_run_report([run], tmp_path / "page.html")
        assert told in page.read_text()


def test_environments_of_ones_own_belong_to_a_dataset(tmp_path: Path) -> None:
    """Another dataset has others, or those of its family; within a dataset they must be the same."""
    own, other = (EvaluationSettings(env=f"mine:{name}") for name in ("make", "others"))
    usual = DEFAULT_EVALUATION
    first = invent_run(tmp_path, "cheetah-vel", "spc", 0.9, settings=[own])
    both = invent_run(tmp_path, "cheetah-vel", "focal", 0.8, method="focal", settings=[usual, own])
    robot = invent_run(tmp_path, "point-robot", "spc", 0.9)
    chosen = choose_evaluations([first, both, robot])
    assert [one.settings.env for _, one in chosen.evaluations] == ["mine:make", "mine:make", None]
    assert chosen.settings == usual
    assert "environments: cheetah-vel in mine:make, point-robot in those of its family" in chosen.notes
    assert "not shown: evaluations with other settings (env none)" in chosen.notes
    write_run_report([first, both, robot], tmp_path / "page.html", chosen)
    assert choose_evaluations([first, both]).settings == own
    assert [one.settings for _, one in choose_evaluations([both, robot]).evaluations] == [usual, usual]
    strange = invent_run(tmp_path / "b", "cheetah-vel", "spc", 0.9, seeds=[7], settings=[other])
    with pytest.raises(ConflictError, match=r"different ways \(env mine:make and mine:others\)"):
        choose_evaluations([first, robot, strange])
    noisy = [EvaluationSettings(noise=0.3)]
    with pytest.raises(ConflictError, match=r"different ways \(noise 0 and 0\.3\)"):
        choose_evaluations([first, invent_run(tmp_path / "c", "point-robot", "spc", 0.9, settings=noisy)])


def test_a_report_shows_analyses_that_all_runs_have(tmp_path: Path) -> None:
    """One that only some have is not shown, nor does it prevent the report; the usual one comes first, unless
    more was measured with another."""
    first = invent_run(tmp_path, "point-robot", "spc", 0.9)
    second = invent_run(tmp_path, "point-robot", "focal", 0.8, method="focal")
    assert choose_analyses([]) is None
    (usual,) = read_analyses(second)
    longer = usual.model_copy(update={"settings": usual.settings.model_copy(update={"horizon": 50})})
    save_analysis(second, longer)
    assert choose_analyses([second, first]) == usual.settings
    (second.path / "analyses" / usual.name).unlink()
    for pair in ([first, second], [second, first]):
        with pytest.raises(ConflictError, match=r"were analysed in different ways \(horizon\)"):
            choose_analyses(pair)
    (whole,) = read_analyses(first)
    save_analysis(first, whole.model_copy(update={"settings": longer.settings}))
    assert choose_analyses([first, second]) == longer.settings
    empty = [seed.model_copy(update={"probe": None}) for seed in usual.seeds]
    save_analysis(second, usual.model_copy(update={"seeds": empty}))
    assert choose_analyses([first, second]) == longer.settings


def test_a_probe_is_of_the_analysis_that_was_asked_for(tmp_path: Path) -> None:
    run = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    (usual,) = read_analyses(run)
    settings = usual.settings.model_copy(update={"contexts": 8})
    perfect = [one.model_copy(update={"probe": {"id": {"velocity": 1.0}}}) for one in usual.seeds]
    save_analysis(run, usual.model_copy(update={"settings": settings, "seeds": perfect}))
    chosen = choose_evaluations([run]).evaluations
    probes = {score.split: score.probe for score in gather_scores(chosen, settings=settings)}
    assert probes == {"train": None, "id": 1.0, "ood": None}
    assert gather_scores(chosen, settings=settings.model_copy(update={"seed": 1}))[0].probe is None
