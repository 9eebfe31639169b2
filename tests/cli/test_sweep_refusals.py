"""``clwm sweep``: what cannot be done is refused before anything is trained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from clwm_data import compiler
from clwm_data.collection.collector import collect
from clwm_data.errors import NotFoundError, UnavailableError
from clwm_train.report.page import find_runs
from clwm_train.sweep.engine import ENGINES, Outcome
from clwm_train.sweep.job import Job
from tests.cli.test_sweep import SHORT, TINY, write
from tests.conftest import Call, tiny_manifest


@pytest.fixture
def folder(six: Path, tmp_path: Path) -> Path:
    """With the store and an experiment."""
    shutil.copytree(six, tmp_path / "six.zarr")
    write(tmp_path, TINY)
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"methods": {"spc": None, "focall": None}}, "six-focall-s0-1: no method is called 'focall'"),
        (
            {"methods": {"spc": None, "focal": {"evaluations": [{"inference": "model"}]}}},
            "six-focal-s0-1: the agent's method has no world model to infer tasks with",
        ),
        (
            {"methods": {"spc": None, "bc": {"evaluations": [{"planner": {}}]}}},
            "six-bc-s0-1: the agent's method has no world model to plan with",
        ),
        ({"evaluation": {"context_behaviour": "expert"}}, "no task has episodes of the behaviour expert"),
        ({"evaluation": {"env": "nowhere:make"}}, "nowhere"),
    ],
)
def test_what_is_impossible_is_found_before_anything_is_trained(
    folder: Path, call: Call, entry: dict[str, Any], message: str
) -> None:
    write(folder, {**SHORT, **entry})
    code, out, err = call("sweep", "tiny.yaml")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert message in err
    assert not (folder / "runs").exists()


def test_an_evaluation_of_splits_without_tasks_is_refused(folder: Path, call: Call) -> None:
    """Of the store few-shot needs data; zero-shot needs none."""
    shutil.rmtree(folder / "six.zarr")
    collect(tiny_manifest(tasks=(12, 13), name="six"), folder / "six.zarr")
    few = {**SHORT, "evaluation": {"protocols": ["few-shot"], "splits": ["id"]}, "methods": {"focal": None}}
    write(folder, few)
    code, _, err = call("sweep", "tiny.yaml")
    assert (code, err.count("\n")) == (1, 1)
    assert "six-focal-s0-1: few-shot: none of the tasks has data" in err


@pytest.mark.parametrize("what", ["six.zarr", "run", "file", "table"])
def test_a_folder_that_is_something_else_is_refused_before_anything_is_trained(
    folder: Path, call: Call, what: str
) -> None:
    (folder / "run").mkdir()
    (folder / "run/run.yaml").write_text("")
    (folder / "file").write_text("precious")
    (folder / "table/results.csv").mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    code, out, err = call("sweep", "tiny.yaml", "--out", what)
    assert (code, out, err.count("\n")) == (1, "", 1)
    expected = {
        "six.zarr": "six.zarr: is a store: choose another folder",
        "run": "run: is a run: choose another folder",
        "file": "file: is a file: choose another folder",
        "table": "table/results.csv: is a folder, where the table of results goes: move it away",
    }
    assert expected[what] in err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"methods": {"focal": None, "focall": None}}, "six-focall-s0-1: no method is called 'focall'"),
        ({"methods": {"focal": {"evaluations": [{"inference": "model"}]}}}, "has no world model to infer"),
        ({"methods": {"focal": None}, "evaluation": {"env": "nowhere:make"}}, None),
    ],
)
def test_a_cluster_is_not_asked_to_do_what_is_a_mistake(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any], message: str | None
) -> None:
    """What is missing here may be there."""
    asked: list[Sequence[Job]] = []

    def cluster(jobs: Sequence[Job], workers: int, until: float | None) -> Iterator[Outcome]:
        asked.append(jobs)
        return iter(())

    monkeypatch.setitem(ENGINES, "ray", cluster)
    write(folder, {**SHORT, **entry, "analysis": None})
    code, _, err = call("sweep", "tiny.yaml", "--engine", "ray")
    if message is None:
        assert (code, len(asked)) == (130, 1)
    else:
        assert (code, len(asked), err.count("\n")) == (1, 0, 1)
        assert message in err


def test_stores_that_results_would_take_for_one_are_refused(folder: Path, call: Call) -> None:
    """All was trained, and then there was neither a table nor a report."""
    shutil.copytree(folder / "six.zarr", folder / "more.zarr")
    write(folder, {**SHORT, "stores": ["six.zarr", "more.zarr"], "methods": {"focal": None}})
    code, out, err = call("sweep", "tiny.yaml")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "stores six.zarr and more.zarr: are both called six in results" in err
    assert not (folder / "runs").exists()
    assert call("select", "more.zarr", "other.zarr")[0] == 0
    write(
        folder, {**SHORT, "stores": ["six.zarr", "other.zarr"], "methods": {"focal": None}, "analysis": None}
    )
    assert call("sweep", "tiny.yaml")[0] == 0
    assert "\nother,focal," in (folder / "runs/tiny/results.csv").read_text()
    write(folder, {**SHORT, "stores": ["other.zarr"], "methods": {"focal": None}, "analysis": None})
    err = call("sweep", "tiny.yaml")[2]
    assert "not in the table: runs of runs/tiny that the file does not name (six-focal-s0-1)" in err


def test_a_run_that_has_lost_its_record_is_told_and_left_as_it_is(folder: Path, call: Call) -> None:
    write(folder, {**SHORT, "analysis": None, "methods": {"focal": None}})
    assert call("sweep", "tiny.yaml")[0] == 0
    run = folder / "runs/tiny/six-focal-s0-1"
    (run / "run.yaml").unlink()
    before = sorted(run.rglob("*"))
    assert "six-focal-s0-1: " in call("sweep", "tiny.yaml", "--status")[1]
    code, out, _ = call("sweep", "tiny.yaml")
    assert code == 1
    assert "six-focal-s0-1: has lost its run.yaml" in out
    assert sorted(run.rglob("*")) == before
    with pytest.raises(NotFoundError, match=r"has lost its run\.yaml"):
        find_runs([folder / "runs/tiny"])


def test_without_a_compiler_compile_leaves_no_run_behind(
    folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler is really gone in the test of ``clwm train``."""

    def check(_: object) -> None:
        raise UnavailableError("nothing can be compiled here")

    monkeypatch.setattr(compiler, "check_compiler", check)
    code, _, err = call("sweep", "tiny.yaml", "--out", "runs", "--compile")
    assert code == 1
    assert err == "clwm: error: nothing can be compiled here\n"
    assert not (folder / "runs").exists()
