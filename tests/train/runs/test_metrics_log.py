from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from clwm_data.errors import DamagedDataError
from clwm_train.runs.metrics_log import MetricsLog, read_metrics
from clwm_train.tracking.base import Tracked
from clwm_train.tracking.tensorboard import TensorBoard

Curve = list[tuple[int, float]]


@pytest.fixture(autouse=True)
def _files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads the files of one second in the order of their numbers as text: 10 before 9."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def write(
    folder: Path,
    step: int,
    rows: list[tuple[int, int, dict[str, float]]],
    seeds: tuple[int, ...] = (3,),
) -> list[str]:
    """What is warned of when a log of rows every 10 updates goes on after ``step``."""
    warnings: list[str] = []
    path = folder / "metrics.jsonl"
    with MetricsLog(path, seeds=seeds, step=step, every=10, warn=warnings.append) as log:
        run: Any = SimpleNamespace(path=folder)
        tensorboard = TensorBoard(Tracked(run, dict.fromkeys(seeds, ""), step=step, rows=log.kept))
        for row in rows:
            tensorboard.log(log.write(*row))
        log.sync()
        tensorboard.close()
    return warnings


def drawn(folder: Path, seed: int) -> dict[str, Curve]:
    """tag -> (step, value) of what TensorBoard shows of a seed."""
    events = EventAccumulator(str(folder / "tensorboard" / f"seed-{seed}"))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def kept(folder: Path, seed: int) -> dict[str, Curve]:
    """The same of metrics.jsonl."""
    curves: dict[str, Curve] = {}
    for row in read_metrics(folder / "metrics.jsonl"):
        for name in row.keys() - {"step", "seed"}:
            if row["seed"] == seed:
                curves.setdefault(name, []).append((row["step"], row[name]))
    return curves


def test_tensorboard_shows_what_the_file_holds_wherever_a_run_is_resumed(tmp_path: Path) -> None:
    """Rows beyond the checkpoint are dropped, and so is the row of the interval that a run ended in."""
    value, seeds = {"iql/q": 1.0}, (3, 5)
    write(tmp_path, 0, [(step, seed, value) for step in (10, 20, 25) for seed in seeds], seeds)
    write(tmp_path, 25, [(step, seed, {"iql/q": 2.0}) for step in (30, 40) for seed in seeds], seeds)
    write(tmp_path, 35, [(step, seed, {"iql/q": 4.0}) for step in (40, 50) for seed in seeds], seeds)
    curve = [(10, 1.0), (20, 1.0), (30, 2.0), (40, 4.0), (50, 4.0)]
    for seed in seeds:
        assert kept(tmp_path, seed) == drawn(tmp_path, seed) == {"iql/q": curve}


def test_evaluations_are_kept_at_any_update(tmp_path: Path) -> None:
    score = "eval/few-shot/id/return"
    rows: list[tuple[int, int, dict[str, float]]] = [
        (7, 3, {score: -3.0}),
        (10, 3, {"iql/q": 1.0}),
        (14, 3, {score: -2.0}),
        (15, 3, {"iql/q": 9.0}),
        (21, 3, {score: -1.0}),
    ]
    write(tmp_path, 0, rows)
    write(tmp_path, 15, [(20, 3, {"iql/q": 2.0}), (21, 3, {score: -1.5})])
    curves = {score: [(7, -3.0), (14, -2.0), (21, -1.5)], "iql/q": [(10, 1.0), (20, 2.0)]}
    assert kept(tmp_path, 3) == drawn(tmp_path, 3) == curves


def test_the_time_of_training_goes_on_where_a_run_is_resumed(tmp_path: Path) -> None:
    def begin(step: int) -> MetricsLog:
        return MetricsLog(tmp_path / "metrics.jsonl", seeds=(3,), step=step, every=10)

    with begin(0) as log:
        assert log.spent((1.0, 2.0)) == (1.0, 2.0)
        log.write(10, 3, {"seconds": 5.0, "processor_seconds": 10.0})
        log.write(20, 3, {"seconds": 8.0, "processor_seconds": 16.0})
    for step, seconds in ((20, 8.0), (25, 10.0), (15, 7.5)):  # at the speed until the last row that stays
        with begin(step) as log:
            assert log.spent((0.5, 0.25)) == (seconds + 0.5, 2 * seconds + 0.25)


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 0, [(10, 3, {"a": float("nan"), "b": float("inf"), "c": 1.0})])
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10, "seed": 3, "c": 1.0}\n'


@pytest.mark.parametrize(
    "damage",
    [
        b'{"step": 20, "seed": 3, "iql/q": 1\xff.0}',
        b'{"step": 20, "seed": 3, "iql/q": 1.0',
        b'{"stfp": 20, "seed": 3, "iql/q": 1.0}',
        b'{"step": "20", "seed": 3, "iql/q": 1.0}',
        b'{"step": 0, "seed": 3, "iql/q": 1.0}',
        b'{"step": 20, "seed": 3, "iql/q": "1.0"}',
        b'{"step": 20, "seed": 3, "iql/q": true}',
        b'{"step": 20, "seed": 3, "iql/q": NaN}',
        b'{"step": 20, "seed": 3, "iql/q": -Infinity}',
        b'{"step": 20, "seed": 3, "iql/q": 1e999}',
        b'{"step": 20, "seed": 3, "seconds": ' + b"9" * 400 + b"}",
        b"[" * 5000,
        b"20",
        b"",
    ],
)
def test_a_damaged_row_is_told_and_left_out(tmp_path: Path, damage: bytes) -> None:
    write(tmp_path, 0, [(step, 3, {"iql/q": 1.0}) for step in (10, 20, 30)])
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    damaged = b"\n".join([lines[0], damage, lines[2], b""])
    path.write_bytes(damaged)
    with pytest.raises(DamagedDataError, match=r"metrics\.jsonl:2: is damaged"):
        list(read_metrics(path))
    (warning,) = write(tmp_path, 30, [(40, 3, {"iql/q": 2.0})])
    assert "metrics.jsonl: is damaged in line 2: left out" in warning
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 30, 40]
    assert (tmp_path / "metrics.damaged.jsonl").read_bytes() == damaged
    assert write(tmp_path, 40, []) == []
    path.write_bytes(damaged)
    write(tmp_path, 30, [])
    assert {file.name for file in tmp_path.glob("*.jsonl")} == {
        "metrics.jsonl",
        "metrics.damaged.jsonl",
        "metrics.damaged-2.jsonl",
    }


def test_rows_of_a_seed_that_the_run_does_not_have_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, 0, [(step, 3, {"iql/q": 1.0}) for step in (10, 20)])
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 7', 1))
    with pytest.raises(DamagedDataError, match=r"metrics\.jsonl:1: is damaged"):
        list(read_metrics(path, (3,)))
    (warning,) = write(tmp_path, 20, [])
    assert "is damaged in line 1: left out" in warning
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [20]


@pytest.mark.parametrize(("kept_rows", "first"), [(0, 1), (1, 11)])
def test_missing_rows_are_told_and_no_time_is_made_up(tmp_path: Path, kept_rows: int, first: int) -> None:
    path = tmp_path / "metrics.jsonl"
    write(tmp_path, 0, [(step, 3, {"seconds": 0.5 * step}) for step in (10, 20, 30)])
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept_rows]))
    warnings: list[str] = []
    with MetricsLog(path, seeds=(3,), step=35, every=10, warn=warnings.append) as log:
        elapsed = log.spent((1.0, 1.0))[0]
    (warning,) = warnings
    assert f"holds no rows from update {first} to 35" in warning
    assert elapsed == 18.5 if kept_rows else math.isnan(elapsed)


def test_rows_that_one_seed_lacks_are_told(tmp_path: Path) -> None:
    rows = [(step, seed, {"iql/q": 1.0}) for step in (10, 20) for seed in (3, 5)]
    write(tmp_path, 0, rows[:-1], (3, 5))
    (warning,) = write(tmp_path, 20, [], (3, 5))
    assert "holds no rows from update 11 to 20" in warning


def test_a_last_row_that_was_cut_off_is_no_damage(tmp_path: Path) -> None:
    write(tmp_path, 0, [(10, 3, {"iql/q": 1.0})])
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 20, "se')
    assert [row["step"] for row in read_metrics(path)] == [10]
    assert write(tmp_path, 10, []) == []
