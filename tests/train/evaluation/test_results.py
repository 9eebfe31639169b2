"""Files of evaluations: what contradicts itself is refused, and no result is taken for another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_train.evaluation.results import read_evaluations, save_evaluation
from clwm_train.runs.run import Run
from tests.train.invented_runs import invent_run

Document = dict[str, Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return invent_run(tmp_path, "point-robot", "spc", 0.8, seeds=(0,))


def split_of(document: Document) -> Document:
    split: Document = document["results"][0]["few-shot"]["id"]
    return split


def change_task(document: Document) -> None:
    tasks = split_of(document)["tasks"]
    tasks[next(iter(tasks))] += 1.0


CHANGES: dict[str, tuple[Callable[[Document], object], str]] = {
    "a mean": (lambda doc: split_of(doc).update(return_mean=-1.0), "return_mean is not the mean"),
    "a task": (change_task, "return_mean is not the mean"),
    "no task": (lambda doc: split_of(doc).update(tasks={}), "at least 1 item"),
    "the name of a task": (lambda doc: split_of(doc).update(tasks={"a": -1.0}), "tasks.a"),
    "a success rate alone": (lambda doc: split_of(doc).update(success=0.5), "success and its values"),
    "a normalised return": (
        lambda doc: split_of(doc).update(normalised_mean=0.5, task_normalised={"5": 0.25}),
        "normalised_mean is not the mean",
    ),
    "a protocol": (
        lambda doc: doc["results"][0].update(foo=doc["results"][0].pop("few-shot")),
        "results of foo, which is not one of the settings' protocols",
    ),
    "a split": (
        lambda doc: doc["results"][0]["few-shot"].update(foo=doc["results"][0]["few-shot"].pop("id")),
        "results of foo, which is not one of the settings' splits",
    ),
    "the step": (lambda doc: doc.update(step=21), "is not that of step 21"),
    "the checkpoint": (
        lambda doc: doc.update(step=20, checkpoint="step-000000020"),
        "not those that the file is named after",
    ),
    "a setting": (
        lambda doc: doc["settings"].update(noise=0.5),
        "not those that the file is named after",
    ),
    "the data": (lambda doc: doc.update(store_sha256="cd" * 32), "not those that the file is named after"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_contradicts_itself_is_one_line(run: Run, name: str) -> None:
    change, words = CHANGES[name]
    (file,) = (run.path / "evaluations").iterdir()
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(DamagedDataError) as caught:
        read_evaluations(run)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert words in message
    assert message.endswith("delete it and run `clwm eval` again")
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"step": NaN}'])
def test_what_is_no_json_is_one_line(run: Run, content: bytes) -> None:
    (file,) = (run.path / "evaluations").iterdir()
    file.write_bytes(content)
    with pytest.raises(DamagedDataError) as caught:
        read_evaluations(run)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert message.endswith(": delete it and run `clwm eval` again")
    assert "\n" not in message


def test_a_copy_under_another_kind_of_name_counts_once(run: Run) -> None:
    (file,) = (run.path / "evaluations").iterdir()
    file.with_name("copy of it.json").write_bytes(file.read_bytes())
    assert len(read_evaluations(run)) == len(read_evaluations(str(run.path))) == 1
    file.with_name("step-000000020-00000000.json").write_bytes(file.read_bytes())
    with pytest.raises(DamagedDataError, match="named after"):
        read_evaluations(run)


def test_an_evaluation_is_shown_as_a_table(tmp_path: Path) -> None:
    """Not with all its tasks, as a model would be: it is what a cell of a notebook ends with."""
    run = invent_run(tmp_path, "point-robot", "spc", 0.8, seeds=(0, 3))
    (evaluation,) = read_evaluations(run)
    lines = repr(evaluation).splitlines()
    assert str(evaluation) == repr(evaluation)
    assert lines[0] == f"Evaluation of update {evaluation.step:,}"
    assert lines[1].startswith("protocols few-shot, zero-shot; splits")
    assert [line for line in lines if line.startswith("seed")] == ["seed 1 of 2:", "seed 2 of 2:"]
    cells = [line.split() for line in lines]
    for seed in evaluation.results:
        for protocol, splits in seed.items():
            for split, result in splits.items():
                row = [protocol, split, f"{result.return_mean:.2f}", str(len(result.tasks))]
                assert row in cells
    assert max(map(len, lines)) <= 160


def test_an_evaluation_of_other_seeds_is_not_kept_with_a_run(run: Run, tmp_path: Path) -> None:
    (evaluation,) = read_evaluations(invent_run(tmp_path, "point-robot", "two", 0.8, seeds=(0, 1)))
    before = sorted((run.path / "evaluations").iterdir())
    with pytest.raises(InvalidInputError, match="holds results of 2 seeds, the run has 1"):
        save_evaluation(run, evaluation)
    assert sorted((run.path / "evaluations").iterdir()) == before
