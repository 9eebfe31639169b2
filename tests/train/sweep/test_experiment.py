"""Experiments that cost without bound, or whose runs no folder could hold: one line, or a shorter name."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from clwm_data.errors import DamagedDataError, InvalidInputError
from clwm_train.sweep import list_jobs, read_experiment
from clwm_train.sweep.budget import read_timing
from clwm_train.sweep.engine import _outcome
from clwm_train.sweep.job import Job, finished
from tests.train.invented_runs import invent_run

HEAD = "name: e\nstores: [a.zarr]\nmethods:\n  spc:\n"

EXPERIMENTS = {
    "many seeds": (f"{HEAD}seeds: [{', '.join(map(str, range(20_000)))}]\n", "at most 1000 items"),
    "the same seed": (f"{HEAD}seeds: [1, 2, 1]\n", "e.yaml:5: seeds: names 1 twice"),
    "a method's seed": (f"{HEAD}    seeds: [0, 0]\n", "e.yaml:5: methods.spc.seeds: names 0 twice"),
    "a method's store": (f"{HEAD}    stores: [b]\n", "e.yaml:5: methods.spc.stores: b is not one of"),
    "a seed of 64 bits": (f"{HEAD}seeds: [{2**63}]\n", "e.yaml:5: seeds[0]: input should be less than"),
    "steps": (f"{HEAD}steps: 4\n", "e.yaml:5: steps: there is no such key: write budget"),
    "seeds of a shell": (f"{HEAD}seeds: 0-4\n", "e.yaml:5: seeds: expected a list, found '0-4': write every"),
    "a list of methods": (HEAD.replace("\n  spc:", " [spc, bc]"), "(2 items): each is a key: write spc:"),
    "one method": (HEAD.replace("\n  spc:", " spc"), "found 'spc': each is a key: write spc:"),
    "a merge key": (f"{HEAD}    <<: {{seeds: [0]}}\n", "e.yaml:5: not valid YAML: merge keys (<<)"),
    "a name of words": (
        HEAD.replace("name: e", "name: my study"),
        "e.yaml:1: name: expected letters, digits, '.', '_' and '-', a letter or digit first, found 'my",
    ),
    "an escape": (f'{HEAD}description: "\\e[0m"\n', "expected a text without control characters, found"),
    "a function": (f"{HEAD}evaluation: {{env: foo}}\n", "evaluation.env: expected module:function, such as"),
    "endless minutes": (f"{HEAD}budget: {{minutes: 1e308}}\n", "budget.minutes"),
    "no minutes": (f"{HEAD}budget: {{minutes: .inf}}\n", "budget.minutes"),
    "names that differ in case": (
        f"{HEAD}  SPC: {{method: spc}}\n",
        "methods.SPC: its folder is that of spc",
    ),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_one_line_at_once(name: str, tmp_path: Path) -> None:
    text, words = EXPERIMENTS[name]
    (tmp_path / "e.yaml").write_text(text)
    begun = time.process_time()
    with pytest.raises(InvalidInputError) as caught:
        read_experiment(tmp_path / "e.yaml")
    assert time.process_time() - begun < 10.0
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def jobs(tmp_path: Path, label: str, seeds: int) -> list[Job]:
    text = f"name: e\nstores: [a.zarr]\nmethods:\n  {label}: {{method: spc}}\nseeds: {list(range(seeds))}\n"
    (tmp_path / "e.yaml").write_text(text)
    return list_jobs(read_experiment(tmp_path / "e.yaml"), {"a.zarr": Path("a.zarr")}, tmp_path)


def test_names_of_runs_are_as_long_as_file_systems_allow(tmp_path: Path) -> None:
    assert [job.run.name for job in jobs(tmp_path, "spc", 3)] == ["a-spc-s0-1-2"]
    (many,) = jobs(tmp_path, "spc", 1000)
    (others,) = jobs(tmp_path, "spc", 999)
    (long,) = jobs(tmp_path, "x" * 300, 1)
    for job in (many, others, long):
        job.run.mkdir()
        job.timing.touch()
    assert many.run != others.run
    assert many.timing == others.timing != long.timing


@pytest.mark.parametrize(
    "text",
    [
        "set: {steps: 4}\nbudget: {updates: 6}\n",
        "set: {steps: 4}\nbudget: {minutes: 1.0}\n",
        "    set: {steps: 4}\nbudget: {updates: 6}\n",
        "    budget: {updates: 6}\nset: {steps: 4}\n",
    ],
)
def test_updates_are_said_once(text: str, tmp_path: Path) -> None:
    """The budget was taken, without a word."""
    (tmp_path / "e.yaml").write_text(HEAD + text)
    with pytest.raises(InvalidInputError, match=r"yaml:\d: .*set\.steps: contradicts the budget: keep"):
        list_jobs(read_experiment(tmp_path / "e.yaml"), {"a.zarr": Path("a.zarr")}, tmp_path)


def test_runs_that_would_share_a_folder_are_refused(tmp_path: Path) -> None:
    text = "name: e\nstores: [a.zarr, a-b.zarr]\nmethods:\n  B-c: {method: spc}\n  c: {method: focal}\n"
    (tmp_path / "e.yaml").write_text(text)
    stores = {name: Path(name) for name in ("a.zarr", "a-b.zarr")}
    with pytest.raises(
        InvalidInputError, match=r"B-c on a\.zarr and c on a-b\.zarr: .* both called a-b-c-s0"
    ):
        list_jobs(read_experiment(tmp_path / "e.yaml"), stores, tmp_path)


def test_a_damaged_run_is_left_out_of_the_table_of_the_others(tmp_path: Path) -> None:
    runs = [invent_run(tmp_path, "point-robot", label, 0.9, seeds=(0,)) for label in ("a", "b", "c")]
    (runs[0].path / "config.yaml").write_text("")
    next((runs[1].path / "evaluations").iterdir()).write_text("{}")
    (job,) = jobs(tmp_path, "spc", 1)
    notes: list[str] = []
    done = finished([replace(job, run=run.path) for run in runs], notes.append)
    assert [run.path for run, _ in done] == [runs[2].path]
    assert [str(run.path) in note for run, note in zip(runs, notes, strict=False)] == [True, True]


@pytest.mark.parametrize("text", ["1e-300", ".inf", ".nan", "-1.0"])
def test_a_damaged_timing(text: str, tmp_path: Path) -> None:
    """It would decide how many updates a run has: one, or more than there are numbers for."""
    (tmp_path / "t.yaml").write_text(
        f"seconds_per_update: {text}\nseeds: 1\ndevice: cpu\ncompiled: false\nplatform: x\ncreated: y\n"
    )
    with pytest.raises(DamagedDataError, match=r"t\.yaml:1: seconds_per_update.*: restore it, or"):
        read_timing(tmp_path / "t.yaml")


class Dead:
    """A process that a signal ended."""

    def __init__(self, number: int) -> None:
        self.exitcode = -number

    def join(self) -> None:
        """It has ended."""

    def recv(self) -> None:
        """Nothing was sent."""
        raise EOFError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="numbers of signals of Linux")
@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (37, "signal 37")])
def test_any_signal_is_one_runs_failure(tmp_path: Path, number: int, name: str) -> None:
    (job,) = jobs(tmp_path, "spc", 1)
    assert f"its process died (killed by {name};" in str(_outcome(job, Dead(number), Dead(number)))  # type: ignore[arg-type]
