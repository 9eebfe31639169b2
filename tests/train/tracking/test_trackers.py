"""Trackers: a failing one harms nothing; each is told everything once; the real packages, offline."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_train import open_run, train
from clwm_train.runs.metrics_log import THROUGHPUT, Row, read_metrics
from clwm_train.runs.run import Run
from clwm_train.tracking import opening
from clwm_train.tracking.base import Tracked
from tests.cli.conftest import SMALL_OPTIONS
from tests.conftest import Clwm
from tests.train.helpers import SMALL
from tests.train.invented_runs import invent_run

TABLES = {"final", "results"}
SHORT = (*SMALL, "log_every=2", "checkpoint_every=4", "evaluation.every=4", "evaluation.episodes=1")


class Fake:
    """Remembers what it is told; ``fails`` at that method."""

    def __init__(self, tracked: Tracked, fails: str = "") -> None:
        self.tracked, self.fails = tracked, fails
        self.rows: list[Row] = []
        self.tables: list[tuple[int, str, list[Any]]] = []
        self.closed = False
        if fails == "open":
            raise OSError("no\nnetwork")

    def log(self, row: Row) -> None:
        if self.fails == "log":
            raise RuntimeError("quota")
        self.rows.append(row)

    def table(self, seed: int, name: str, header: Sequence[str], rows: Sequence[Any]) -> None:
        self.tables.append((seed, name, list(rows)))

    def flush(self) -> None:
        if self.fails == "flush":
            raise ValueError("gone")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """All trackers that are opened, each a fake one; it fails where its name says."""
    fakes: list[Fake] = []

    def make(name: str, tracked: Tracked) -> Fake:
        fakes.append(Fake(tracked, name.removeprefix("fails-")))
        return fakes[-1]

    names = ("fake", "fails-open", "fails-log", "fails-flush")
    monkeypatch.setattr(opening, "TRACKERS", dict.fromkeys(names, ("json", "train")))
    monkeypatch.setattr(opening, "_make", make)
    return fakes


def logged(run: Run) -> list[Row]:
    return list(read_metrics(run.path / "metrics.jsonl"))


def test_a_tracker_is_told_every_row_once_and_the_last_ones_as_a_table(
    opened: list[Fake], collected: Path, tmp_path: Path
) -> None:
    run = train(collected, seeds=[3, 5], overrides=SHORT, out=tmp_path / "run", track="fake")
    (fake,) = opened
    assert fake.rows == logged(run)
    assert {row["step"] for row in fake.rows} == {2, 4, 6, 8}
    assert fake.closed
    assert fake.tracked.config(5)["seed"] == 5
    assert fake.tracked.config(5)["batch"]["tasks"] == run.config.batch.tasks
    assert fake.tracked.tags == ["point-robot", "tiny", "spc"]
    assert [fake.tracked.name(seed) for seed in (3, 5)] == ["run, seed 3", "run, seed 5"]
    assert [(seed, name) for seed, name, _ in fake.tables] == [(3, "final"), (5, "final")]
    (score,) = [row["eval/few-shot/id/return"] for row in fake.rows if "eval/few-shot/id/return" in row][
        -2:-1
    ]
    assert ("few-shot/id/return", score) in fake.tables[0][2]
    assert not (run.path / "tensorboard").exists()


def test_a_resumed_run_goes_on_with_its_trackers_and_identities(
    opened: list[Fake], collected: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"seeds": [3, 5], "out": tmp_path / "run"}
    train(collected, overrides=SHORT, track=["fake"], **options)
    more = [text for text in SHORT if not text.startswith("steps=")] + ["steps=11"]
    train(collected, overrides=more, resume=True, **options)
    train(collected, overrides=[*more[:-1], "steps=12"], resume=True, **options)
    first, second, third = opened
    assert first.tracked.ids == second.tracked.ids == third.tracked.ids
    assert (first.tracked.resumed, second.tracked.resumed, second.tracked.step) == (False, True, 8)
    assert [row["step"] for row in second.rows] == [10, 10, 11, 11]
    assert second.tracked.rows == first.rows
    assert [row["step"] for row in third.rows if "iql/q" in row] == [12, 12]


def test_what_an_interrupted_training_told_is_marked_as_repeated(
    opened: list[Fake], collected: Path, tmp_path: Path
) -> None:
    """Rows beyond the last checkpoint were told; the resumed training tells them again."""
    run = train(collected, overrides=SHORT, out=tmp_path / "run", track="fake")
    (run.path / "checkpoints" / "step-000000008").rename(tmp_path / "gone")
    train(collected, overrides=SHORT, out=tmp_path / "run", resume=True)
    first, second = opened
    assert second.tracked.repeated == {(6, 0, False), (8, 0, False), (8, 0, True)}
    without = [{k: v for k, v in row.items() if k not in THROUGHPUT} for row in first.rows]
    again = [{k: v for k, v in row.items() if k not in THROUGHPUT} for row in second.rows]
    assert again == without[3:], "bit for bit"


@pytest.mark.parametrize("where", ["open", "log", "flush"])
def test_a_failing_tracker_gives_a_line_and_the_run_is_the_same(
    opened: list[Fake], collected: Path, tmp_path: Path, where: str
) -> None:
    warned: list[str] = []
    run = train(
        collected, overrides=SHORT, out=tmp_path / "run", track=[f"fails-{where}", "fake"], warn=warned.append
    )
    (line,) = warned
    assert line.startswith(f"fails-{where} {'cannot be opened' if where == 'open' else 'has failed'}: ")
    assert "going on without it" in line
    assert "\n" not in line
    plain = train(collected, overrides=SHORT, out=tmp_path / "plain", track=())
    assert opened[-1].rows == logged(run), "another tracker is not affected"
    for name in ("agent.safetensors", "learner.safetensors"):
        parts = [one.checkpoints / "step-000000008" / name for one in (run, plain)]
        assert parts[0].read_bytes() == parts[1].read_bytes()


def test_a_folder_that_cannot_be_written_is_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard's thread told it by one."""
    run = invent_run(tmp_path, "point-robot", "spc", 0.9, seeds=[0])
    monkeypatch.setattr("os.access", lambda *arguments: False)
    warned: list[str] = []
    opening.open_trackers(run, ["tensorboard"], warned.append)
    (line,) = warned
    assert "tensorboard cannot be opened: PermissionError: " in line
    assert line.count("cannot be written") == 1
    assert not (run.path / "tensorboard").exists()


def test_names_of_trackers(collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match=r"no tracker is called 'wandbb': did you mean wandb\?"):
        train(collected, overrides=SMALL, out=tmp_path / "run", track="wandbb")
    with pytest.raises(InvalidInputError, match=r"stands alone \(in Python: track=\(\)\)"):
        train(collected, overrides=SMALL, out=tmp_path / "run", track="none")
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(UnavailableError, match=r'needs the package wandb: pip install "clwm\[wandb\]"'):
        train(collected, overrides=SMALL, out=tmp_path / "run", track="wandb")
    assert not (tmp_path / "run").exists(), "nothing has begun"


def test_wandb_and_trackio_hold_the_run_offline(
    clwm: Clwm, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, resumed further and evaluated by commands: one run per seed at each tracker."""
    pytest.importorskip("wandb")
    pytest.importorskip("trackio")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    options = [part for text in ("log_every=2", "checkpoint_every=4") for part in ("--set", text)]
    train_ = (
        "train",
        collected,
        "--out",
        "run",
        *SMALL_OPTIONS,
        *options,
        "--seeds",
        "3,5",
        "--eval-every",
        4,
    )
    done = clwm(*train_, "--track", "wandb,trackio")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("run: 8 updates done"), "their words go to stderr"
    done = clwm("train", collected, "--out", "run", "--resume", "--steps", 10)
    assert done.returncode == 0, done.stderr
    done = clwm("eval", "run", "--episodes", 1, "--context-size", 5, "--track", "wandb,trackio")
    assert done.returncode == 0, done.stderr

    run = open_run(tmp_path / "run")
    ids = json.loads((run.path / "tracking.json").read_text())["ids"]
    for seed in ("3", "5"):
        rows = [row for row in logged(run) if row["seed"] == int(seed)]
        assert [row["step"] for row in rows] == [2, 4, 4, 6, 8, 8, 10]
        told = [{k: v for k, v in row.items() if k not in ("step", "seed")} for row in rows]

        history = []
        files = sorted((run.path / "wandb").glob(f"offline-run-*-{ids['wandb'][seed]}/*.wandb"))
        assert len(files) == 3
        for file in files:
            for record in wandb_records(file):
                if record.HasField("run"):
                    assert (record.run.project, record.run.run_group) == ("clwm", "run")
                    assert list(record.run.tags) == ["point-robot", "tiny", "spc"]
                    config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                    assert config["seed"] == int(seed)
                elif record.HasField("history"):
                    history.append(
                        {
                            item.key or item.nested_key[0]: json.loads(item.value_json)
                            for item in record.history.item
                        }
                    )
        curves = [{k: v for k, v in row.items() if k[0] != "_"} for row in history if not TABLES & set(row)]
        assert curves == [{**row, "update": line["step"]} for row, line in zip(told, rows, strict=True)]
        tables = [(name, row.get("update")) for row in history for name in row if name in TABLES]
        assert tables == [("final", 8), ("final", 10), ("results", 10)], "each at its update"

        with sqlite3.connect(tmp_path / "trackio" / "clwm.db") as base:
            name = f"run, seed {seed} ({ids['trackio'][seed]})"
            found = base.execute(
                "select step, metrics from metrics where run_name = ? order by id", (name,)
            ).fetchall()
        shown = [(step, json.loads(text)) for step, text in found]
        assert [(step, row) for step, row in shown if not TABLES & set(row)] == [
            (line["step"], row) for line, row in zip(rows, told, strict=True)
        ]
        assert "results/zero-shot/id/return" in shown[-1][1]


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: 7 bytes, then LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[import-not-found]

    data, block, place, parts = path.read_bytes(), 32768, 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record
