"""``train`` as a function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import clwm_data
from clwm_data.errors import ConflictError, InvalidInputError, UnavailableError
from clwm_data.opening import open_store
from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.runs.checkpoint import latest_checkpoint, read_record
from clwm_train.runs.loading import load_agent
from clwm_train.seeds import seed_numbers
from clwm_train.settings import Execution
from clwm_train.train_store import TrainingRequest, override_texts, train
from tests.train.helpers import SMALL

CPU = Execution(device="cpu")


def test_it_trains_resumes_and_refuses_another_configuration(store_path: Path, tmp_path: Path) -> None:
    other_path = tmp_path / "other.zarr"
    clwm_data.select(store_path, other_path, splits="train")
    overrides = dict(text.split("=") for text in SMALL[:4])
    small = {key: int(value) for key, value in overrides.items()} | {"iql.hidden": [8], "log_every": 2}
    done: list[int] = []
    run = train(
        store_path,
        seeds=(3, 4),
        overrides={**small, "steps": 3},
        out=tmp_path / "run",
        execution=CPU,
        on_progress=lambda step, metrics: done.append(step),
    )
    assert done == [1, 2, 3]
    assert run.label == "spc batch.context=5 batch.horizon=3 batch.tasks=4 batch.windows=3 iql.hidden=[8]"
    assert load_agent(run.path, checkpoint=3, device="auto").seeds == (3, 4)
    with pytest.raises(UnavailableError, match="device 'gpu' cannot be used here"):
        load_agent(run.path, device="gpu")
    with pytest.raises(ConflictError, match="a run is there already"):
        train(store_path, seeds=(3, 4), overrides={**small, "steps": 3}, out=run.path, execution=CPU)
    again = {"seeds": (3, 4), "out": run.path, "execution": CPU, "resume": True}
    with pytest.raises(ConflictError, match=r"was begun with name spc .*, not other"):
        train(store_path, name="other", overrides=small, **again)
    with pytest.raises(ConflictError, match=r"began with other data than .* restore the data"):
        train(other_path, overrides=small, **again)
    with pytest.raises(ConflictError, match=r"was begun with iql.hidden \(8,\), not \(9,\)"):
        train(store_path, overrides={**small, "iql.hidden": [9]}, **again)
    train(store_path, overrides={**small, "steps": 5}, **again)
    assert read_record(latest_checkpoint(run.checkpoints)).step == 5


def test_what_cannot_start_leaves_nothing(store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        train(store_path, overrides={"iql.expectile": 2.0}, out=tmp_path / "runs" / "a", execution=CPU)
    assert not (tmp_path / "runs").exists()


def test_batches_in_two_lines(store_path: Path) -> None:
    sampler = TaskBatchSampler(load_task_data(open_store(store_path)))
    batch = sampler.batch(0)
    assert batch.action.shape == (1, 16, 64, 5, 2)
    from_path = TaskBatchSampler(load_task_data(str(store_path)), seeds=3).batch(0)
    assert from_path.action.shape == batch.action.shape
    assert not torch.equal(from_path.action, batch.action), "another seed"
    with pytest.raises(
        InvalidInputError, match=r"seeds: expected at least one, of 0 or more, not a list \(0 items\)"
    ):
        TaskBatchSampler(sampler.data, seeds=[])


def test_seeds_are_whole_numbers_of_any_kind_each_named_once() -> None:
    """Two agents of one seed are the same agent: intervals would take them for independent ones."""
    assert seed_numbers(3) == seed_numbers(np.int64(3)) == (3,)
    assert seed_numbers(range(2)) == seed_numbers(np.arange(2)) == (0, 1)
    with pytest.raises(InvalidInputError, match="seeds: 4 is named twice"):
        seed_numbers([1, 4, 4])
    with pytest.raises(InvalidInputError, match="seeds: expected at least one, of 0 or more, not -1"):
        seed_numbers(-1)
    for wrong in ("0-2", 1.5, [0.5], None, True, [0, True]):
        with pytest.raises(InvalidInputError, match="seeds: expected a whole number, or several"):
            seed_numbers(wrong)  # type: ignore[arg-type]


def test_a_run_is_shown_in_one_line(store_path: Path, tmp_path: Path) -> None:
    run = TrainingRequest(open_store(store_path), "spc", "tiny", (0, 2), (), None, tmp_path / "r").describe()
    assert repr(run) == f"<Run r: spc on {run.record.store_name}; seeds 0,2; path: {tmp_path}/r>"


def test_overrides_may_be_numbers_of_numpy() -> None:
    given = {"steps": np.int64(3), "iql.expectile": np.float32(0.5), "iql.hidden": np.array([8, 9])}
    assert override_texts(given) == ("steps=3", "iql.expectile=0.5", "iql.hidden=[8, 9]")
    assert override_texts("steps=3") == ("steps=3",)
    with pytest.raises(InvalidInputError, match=r"overrides: steps: .*expected a number, a text"):
        override_texts({"steps": {3}})
    for wrong in ([("steps", 3)], 3, None):
        with pytest.raises(InvalidInputError, match=r"overrides: .*expected keys and their values"):
            override_texts(wrong)  # type: ignore[arg-type]


def test_methods_and_presets_may_be_paths(store_path: Path, tmp_path: Path) -> None:
    method, preset = tmp_path / "mine.yaml", tmp_path / "quick.yaml"
    method.write_text("extends: no-context\n")
    preset.write_text("extends: tiny\nbatch: {tasks: 2, windows: 2}\nsteps: 1\n")
    run = train(store_path, method, preset, out=tmp_path / "run", execution=CPU, track=())
    assert (run.record.method, run.record.preset, run.label) == (str(method), str(preset), "mine")
    assert train(store_path, method, preset, out=run.path, execution=CPU, resume=True).record == run.record
