"""What methods of one table do not share is said, and only that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest

from clwm_train.evaluation.results import Evaluation, read_evaluations
from clwm_train.report.choosing import choose_evaluations
from clwm_train.report.fairness import missing_bounds, unequal
from clwm_train.runs.run import METRICS, Run
from tests.train.invented_runs import invent_run

EQUAL = ("batch.horizon=5", "context.next_observation=true")


def evaluated(
    folder: Path,
    label: str,
    *changes: str,
    method: str = "focal-ln",
    family: str = "point-robot",
    minutes: float | None = None,
) -> tuple[Run, Evaluation]:
    """A run of two seeds that shares all with the others but what is changed."""
    run = invent_run(folder, family, label, 0.8, method=method, seeds=(0, 1), overrides=[*EQUAL, *changes])
    if minutes is not None:
        rows = [
            {"step": step, "seed": seed, "processor_seconds": 2 * 60.0 * minutes * step / run.config.steps}
            for step in (run.config.steps // 2, run.config.steps)
            for seed in (0, 1)
        ]
        (run.path / METRICS).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return run, read_evaluations(run)[0]


def test_methods_that_share_everything(tmp_path: Path) -> None:
    spc, focal = evaluated(tmp_path, "spc", method="spc"), evaluated(tmp_path, "focal")
    assert unequal([spc, focal]) == []
    bounds = [
        evaluated(tmp_path, name, method=name, family="point-robot")[0] for name in ("no-context", "oracle")
    ]
    assert choose_evaluations([spc[0], focal[0], *bounds]).notes == ()


def test_floor_and_ceiling(tmp_path: Path) -> None:
    one, other = evaluated(tmp_path, "spc", method="spc"), evaluated(tmp_path, "focal")
    assert missing_bounds([one]) == []  # nothing is compared
    (note,) = missing_bounds([one, other])
    assert note.startswith("no floor (no-context) and no ceiling (oracle) to compare with on point-robot: ")
    assert note in choose_evaluations([one[0], other[0]]).notes
    floor = evaluated(tmp_path, "nothing told", method="no-context")
    (note,) = missing_bounds([one, other, floor])
    assert note.startswith("no ceiling (oracle) to compare with on point-robot: ")
    ceiling = evaluated(tmp_path, "everything told", method="oracle")
    assert missing_bounds([one, floor, ceiling]) == []
    elsewhere = [evaluated(tmp_path, name, family="cheetah-vel") for name in ("a", "b")]
    (note,) = missing_bounds([one, floor, ceiling, *elsewhere])
    assert "on cheetah-vel: " in note


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (["batch.tasks=4"], "methods differ in tasks of a meta-batch: 8 (spc); 4 (focal), on point-robot"),
        (["batch.context=32"], "context transitions: 64 (spc); 32 (focal)"),
        (["network.style=relu"], "networks: layernorm-mish group-fan-in (spc); relu group-fan-in (focal)"),
        (["context.hidden=[7]"], "hidden layers of the context encoder: 128 x 128 (spc); 7 (focal)"),
        (["iql.hidden=[7, 8]"], "hidden layers of policy and critics: 256 x 256 (spc); 7 x 8 (focal)"),
        (["policy=gaussian"], "policy: mixture (spc); gaussian (focal)"),
        (["context.next_observation=false"], "contexts with the next observation: yes (spc); no (focal)"),
        (["data.standardise_observation=false"], "scaling of the data"),
        (["learning_rate_decay=0"], "decay of the learning rates: 0.5 (spc); 0.0 (focal)"),
        (["precision=mixed"], "precision: fp32 (spc); mixed (focal)"),
        (["batch.horizon=4"], "transitions per update differ by more than 10 %: 512 (focal) to 640 (spc)"),
        (["iql.transitions=first"], "transitions per update differ by more than 10 %: 128 (focal)"),
        (["steps=30000"], "updates differ by more than 10 %: 30,000 (focal) to 40,000 (spc)"),
    ],
)
def test_each_difference_is_said(tmp_path: Path, changes: Sequence[str], note: str) -> None:
    both = [evaluated(tmp_path, "spc", method="spc"), evaluated(tmp_path, "focal", *changes)]
    notes = unequal(both)
    assert len([one for one in notes if note in one]) == 1, notes
    assert notes == [one for one in choose_evaluations([run for run, _ in both]).notes if one in notes]


def test_a_tenth_is_no_difference(tmp_path: Path) -> None:
    spc = evaluated(tmp_path, "spc", minutes=10.0, method="spc")
    assert unequal([spc, evaluated(tmp_path, "a", "steps=36400", minutes=10.9)]) == []
    notes = unequal([spc, evaluated(tmp_path, "b", minutes=11.1)])
    assert notes == [
        "minutes of the processor per seed differ by more than 10 %: 10.0 (spc) to 11.1 (b), on point-robot"
    ]
    quick = [evaluated(tmp_path, "d", minutes=0.004), evaluated(tmp_path, "e", minutes=0.02)]
    assert "%: 0.004 (d) to 0.020 (e)" in unequal(quick)[0], "not 0.0 to 0.0"
    # Where it was not logged, nothing can be said.
    assert unequal([spc, evaluated(tmp_path, "c")]) == []


def test_datasets_with_the_same_difference_share_a_note(tmp_path: Path) -> None:
    runs = [
        evaluated(tmp_path, label, *changes, family=family)
        for family in ("point-robot", "cheetah-vel")
        for label, changes in (("spc", ()), ("focal", ("batch.tasks=4", "batch.windows=32")))
    ]
    notes = unequal(runs)
    assert [note for note in notes if "tasks of a meta-batch" in note] == [
        "methods differ in tasks of a meta-batch: 8 (spc); 4 (focal), on point-robot, cheetah-vel"
    ]
    # Methods on different datasets are not compared.
    assert unequal([runs[0], runs[3]]) == []


def test_other_tasks_or_episodes(tmp_path: Path) -> None:
    spc, (focal, evaluation) = evaluated(tmp_path, "spc"), evaluated(tmp_path, "focal")
    document = json.loads(evaluation.model_dump_json())
    result = document["results"][0]["few-shot"]["id"]
    del result["tasks"]["5"]
    result["return_mean"] = fmean(result["tasks"].values())
    fewer = Evaluation.model_validate(document)
    (note,) = unequal([spc, (focal, fewer)])
    assert note == "methods were evaluated on different tasks or episodes: spc | focal, on point-robot"
