"""What people are told of how a store was made."""

import re
from html import escape
from pathlib import Path

import numpy as np

from clwm_data import Recorder, merge, open_store, relabel, select
from clwm_data.report.page import write_report
from clwm_data.store.history import describe_edit, history
from tests.conftest import Clwm


def _record(store: Path, tasks: int) -> None:
    for task in range(tasks):
        with Recorder(store, task=task, parameters={"load": 0.1 * task}, session={"who": "Ada"}) as recorder:
            for _ in range(2):
                recorder.add_episode(np.zeros((4, 1)), np.zeros((3, 1)), np.ones(3), terminated=True)


def test_a_recording_is_told_in_a_few_words(tmp_path: Path, clwm: Clwm) -> None:
    _record(tmp_path / "mine.zarr", 12)
    edited = open_store(tmp_path / "mine.zarr").record.edited
    assert edited is not None
    assert describe_edit(edited) == "record (24 episodes in 12 sessions)"
    text = clwm("info", "mine.zarr").stdout
    assert f"{edited.by.created}: record (24 episodes in 12 sessions); no manifest" in text


def test_edits_of_edits(tmp_path: Path) -> None:
    _record(tmp_path / "mine.zarr", 2)
    mine = open_store(tmp_path / "mine.zarr")
    relabel(mine.path, tmp_path / "new.zarr", lambda observation, *rest: observation[:, 0])
    select(tmp_path / "new.zarr", tmp_path / "first.zarr", tasks=[0])
    select(mine.path, tmp_path / "second.zarr", tasks=[1])
    merge([tmp_path / "first.zarr", tmp_path / "second.zarr"], tmp_path / "both.zarr")
    both = open_store(tmp_path / "both.zarr")
    assert both.record.edited is not None
    lines = [line.split("Z: ")[-1].split("+00:00: ")[-1] for line in history(both.record.edited)]
    assert [line.split(" (")[0] for line in lines] == [
        "merge from first",
        *("select", "relabel", "record"),
        *("select", "record"),
    ]
    digest = mine.record.content_sha256
    assert lines[-2] == f"select (tasks 1) from mine (sha256 {digest[:12]})"
    assert not re.search("[0-9a-f]{13}", " ".join(lines)), "a digest in full"
    write_report(both.path, tmp_path / "both.html", pictures=False)
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert all(escape(line) in page for line in lines)


def test_many_tasks_and_stores_are_counted(tmp_path: Path, clwm: Clwm) -> None:
    _record(tmp_path / "mine.zarr", 8)
    assert clwm("convert", "mine.zarr", "rows", "--to", "parquet").stderr == ""
    assert clwm("convert", "rows", "back.zarr", "--from", "parquet", "--family", "mine").stderr == ""
    edited = open_store(tmp_path / "back.zarr").record.edited
    assert edited is not None
    assert ", task 0 rows: task 0, 6 more, task 7 rows: task 7)" in describe_edit(edited)
    parts = [tmp_path / f"part-{task}.zarr" for task in range(8)]
    for task, part in enumerate(parts):
        select(tmp_path / "mine.zarr", part, tasks=[task])
    whole = merge(parts, tmp_path / "whole.zarr").record.edited
    assert whole is not None
    assert re.fullmatch(
        r"merge from part-0 \(sha256 \w{12}\), 6 more, part-7 \(sha256 \w{12}\)", describe_edit(whole)
    )
