"""Contexts that only one behaviour collected."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from clwm_data.collection.collector import collect
from clwm_data.errors import InvalidInputError
from clwm_data.families import get_family
from clwm_data.opening import open_store
from clwm_data.store import Store
from clwm_data.store.arrays import TaskArrays
from clwm_train.acting.context import infer_from_data
from clwm_train.evaluation import evaluate
from clwm_train.evaluation.protocols import Callbacks
from clwm_train.evaluation.results import read_evaluations, save_evaluation
from clwm_train.metrics.aggregate import iqm
from clwm_train.model.agent import Agent
from clwm_train.report.context_shift import WHOLE
from clwm_train.report.page import find_runs, write_run_report
from clwm_train.runs.run import Run
from clwm_train.settings import EvaluationSettings
from tests.conftest import tiny_manifest
from tests.train.helpers import MemoryTask, small_config
from tests.train.invented_runs import invent_run

SCRIPTED, RANDOM = "scripted-noise-0.3", "random"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two tasks of every split; three scripted and two random episodes of each."""
    path = tmp_path_factory.mktemp("behaviours") / "six.zarr"
    collect(tiny_manifest(tasks=(0, 1, 6, 7, 12, 13), name="six"), path)
    return open_store(path)


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent(small_config("focal-ln"), (0, 1), 2, 2).eval()


def only(arrays: TaskArrays, behaviour: int) -> TaskArrays:
    """The same task with the episodes of one behaviour."""
    return TaskArrays.from_episodes([episode for episode in arrays if episode.behaviour == behaviour])


def test_they_are_those_of_a_dataset_without_the_others(store: Store, agent: Agent) -> None:
    """A context of one behaviour, computed from the episodes that remain without the others."""
    task = store.tasks[6]
    assert task.behaviours == (SCRIPTED, RANDOM)
    for number, name in enumerate(task.behaviours):
        alone = MemoryTask(6, "id", only(task.load(), number), (name,))
        mine = infer_from_data(agent, task, 10_000, 0, behaviour=name)
        torch.testing.assert_close(mine, infer_from_data(agent, alone, 10_000, 0))
        assert not torch.allclose(mine, infer_from_data(agent, task, 10_000, 0))
        # A part of it is drawn from the same rows.
        few = infer_from_data(agent, task, 7, 3, behaviour=name)
        torch.testing.assert_close(few, infer_from_data(agent, alone, 7, 3))


def test_an_evaluation_uses_them_for_few_shot_alone(store: Store, agent: Agent) -> None:
    family = get_family("point-robot")

    def run(tasks: Mapping[int, object], behaviour: str | None) -> object:
        settings = EvaluationSettings(splits=("id",), episodes=1, context_behaviour=behaviour)
        return evaluate(agent, family, tasks, settings)  # type: ignore[arg-type]

    tasks = {index: store.tasks[index] for index in (6, 7)}
    alone = {index: MemoryTask(index, "id", only(task.load(), 1), (RANDOM,)) for index, task in tasks.items()}
    assert run(tasks, RANDOM) == run(alone, None)
    whole, random = run(tasks, None), run(tasks, RANDOM)
    assert whole[0]["few-shot"] != random[0]["few-shot"]  # type: ignore[index]
    assert whole[0]["zero-shot"] == random[0]["zero-shot"]  # type: ignore[index]


def test_tasks_without_the_behaviour_are_left_out_or_refused(store: Store, agent: Agent) -> None:
    family = get_family("point-robot")
    settings = EvaluationSettings(
        protocols=("few-shot",), splits=("id",), episodes=1, context_behaviour=RANDOM
    )
    alone = MemoryTask(7, "id", only(store.tasks[7].load(), 0), (SCRIPTED,))
    notes: list[str] = []
    (first, _) = evaluate(
        agent, family, {6: store.tasks[6], 7: alone}, settings, callbacks=Callbacks(warn=notes.append)
    )
    assert list(first["few-shot"]["id"]["tasks"]) == [6]
    assert "the store holds no data of the behaviour random" in notes[0]
    message = "no task has episodes of the behaviour learned-25: the data have scripted-noise-0.3, random"
    with pytest.raises(InvalidInputError, match=message):
        evaluate(agent, family, store.tasks, settings.model_copy(update={"context_behaviour": "learned-25"}))
    empty = dataclasses.replace(alone, behaviours=(SCRIPTED, RANDOM))
    with pytest.raises(InvalidInputError, match="task 7: holds no episode of the behaviour random; it has"):
        infer_from_data(agent, empty, 5, 0, behaviour=RANDOM)


def test_the_matrix_in_the_report(tmp_path: Path) -> None:
    runs = tmp_path / "study"
    for label, method in (("spc", "spc"), ("focal", "focal")):
        run = invent_run(runs, "cheetah-vel", label, 0.9, method=method)
        _with_behaviours(run, {"random": 1.0, "learned-25": 2.0})
    written = write_run_report(find_runs([runs]), tmp_path / "study.html")
    (numbers,) = (path for path in written if path.name == "context-shift.csv")
    with numbers.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["method"], row["split"], row["context"]) for row in rows} == {
        (method, split, context)
        for method in ("spc", "focal")
        for split in ("id", "ood")
        for context in (WHOLE, "random", "learned-25")
    }
    by = {(row["method"], row["split"], row["context"]): float(row["point"]) for row in rows}
    family = get_family("cheetah-vel")
    for name, amount in ((WHOLE, 0.0), ("random", 1.0), ("learned-25", 2.0)):
        expected = [
            [
                family.normalised_return(int(task), np.asarray(value - amount))
                for task, value in seed["few-shot"]["ood"].tasks.items()
            ]
            for seed in next(
                one for one in read_evaluations(run) if one.settings.context_behaviour is None
            ).results
        ]
        assert by["focal", "ood", name] == pytest.approx(float(iqm(np.asarray(expected))))
    assert "Contexts of one behaviour" in written[0].read_text()


def _with_behaviours(run: Run, lower: dict[str, float]) -> None:
    """Evaluations that return so much less with contexts of each behaviour."""
    (kept,) = read_evaluations(run)
    for name, amount in lower.items():
        results = json.loads(kept.model_dump_json())["results"]
        for seed in results:
            del seed["zero-shot"]
            for entry in seed["few-shot"].values():
                entry["tasks"] = {task: value - amount for task, value in entry["tasks"].items()}
                entry["return_mean"] -= amount
        settings = kept.settings.model_copy(update={"protocols": ("few-shot",), "context_behaviour": name})
        document = {**json.loads(kept.model_dump_json()), "results": results}
        changed = type(kept).model_validate({**document, "settings": settings.model_dump(mode="json")})
        save_evaluation(run, changed)
