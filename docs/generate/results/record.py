"""A finished run in results/: its configuration, results and thinned metrics, and what they were made with.

::

    results/<experiment>/<run>/
      config.yaml, run.yaml      as in the run's folder, without paths of the machine
      evaluations/, analyses/    those of the last update, numbers rounded to six digits
      metrics.jsonl              ten updates: representations, times, evaluations; all metrics of the last one
      result.yaml                what they were made with (Result)

A run in results/ is opened like any other (:func:`clwm_train.runs.run.open_run`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clwm_data.errors import ConflictError
from clwm_data.store.digest import file_sha256
from clwm_data.strict import StrictModel, Text, build_model, read_yaml
from clwm_train.analysis.results import ANALYSES, read_analyses
from clwm_train.evaluation.results import EVALUATIONS, read_evaluations
from clwm_train.report.scores import known_family
from clwm_train.runs.metrics_log import EVALUATION_PREFIX, SPENT, evaluates, read_metrics
from clwm_train.runs.run import CONFIG, METRICS, RECORD, Run, write_model

#: Raised by hand by a change that makes the numbers of a training, an evaluation or an analysis other ones
#: (CONTRIBUTING.md): results of an earlier number are shown as outdated until they are measured again.
NUMBERS = 1

RESULT = "result.yaml"
DIGITS = 6
#: Updates of which metrics are kept.
UPDATES = 10
#: Metrics that are kept of each of them.
KEPT = ("context_encoder/", EVALUATION_PREFIX)


class Result(StrictModel):
    """What a result was made with.

    Attributes:
        numbers: ``NUMBERS`` of then.
        revision: commit.
        files: SHA-256 of every other file.
    """

    numbers: int
    revision: Text
    files: dict[Text, Text]


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a run in results/ but that of its ``Result``, by its path in the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != RESULT)
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def read_result(run: Run) -> Result:
    """What a run in results/ was made with."""
    return build_model(Result, read_yaml(run.path / RESULT))


def add_run(run: Run, folder: Path, revision: str) -> Path | None:
    """Copy the small files of a run, in place of an earlier copy.

    Args:
        run: the run.
        folder: folder of its experiment in results/.
        revision: commit of the code that made it.

    Returns:
        the copy; ``None`` if the run was not evaluated at the last update of its configuration.

    Raises:
        ConflictError: a file of the run contradicts its configuration.
    """
    steps = run.config.steps
    evaluations = [one for one in read_evaluations(run) if one.step == steps]
    if not evaluations:
        return None
    copy = folder / run.path.name
    if copy.resolve() == run.path.resolve():
        raise ConflictError(f"{run.path}: lies in results/ already: name the folder of the run itself")
    shutil.rmtree(copy, ignore_errors=True)
    (copy / EVALUATIONS).mkdir(parents=True)
    record = run.record.model_copy(
        update={
            "store": f"{run.record.store_name}.zarr",
            "command": f"clwm sweep experiments/{folder.name}.yaml",
        }
    )
    write_model(copy / CONFIG, run.config)
    write_model(copy / RECORD, record)
    family = known_family(run)
    derived = family is not None and family.has_references  # a report computes normalised returns itself
    for evaluation in evaluations:
        kept = evaluation.model_dump(mode="json", exclude_none=True)
        for entry in (
            split for seed in kept["results"] for splits in seed.values() for split in splits.values()
        ):
            if derived:
                entry.pop("task_normalised", None)
                entry.pop("normalised_mean", None)
        _write_json(copy / EVALUATIONS / evaluation.name, kept)
    for analysis in read_analyses(run):
        if analysis.step == steps:
            (copy / ANALYSES).mkdir(exist_ok=True)
            _write_json(copy / ANALYSES / analysis.name, analysis.model_dump(mode="json", exclude_none=True))
    if (run.path / METRICS).is_file():
        rows = list(read_metrics(run.path / METRICS, run.record.seeds))
        lines = [json.dumps(_rounded(row)) for row in _thinned(rows, steps)]
        (copy / METRICS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    made_with = Result(numbers=NUMBERS, revision=revision, files=file_digests(copy))
    write_model(copy / RESULT, made_with)
    return copy


def _thinned(rows: list[dict[str, Any]], steps: int) -> Iterator[dict[str, Any]]:
    """Rows of about ``UPDATES`` updates, and of all evaluations while training."""
    logged = sorted({row["step"] for row in rows if row["step"] <= steps and not evaluates(row)})
    every = max(1, len(logged) // UPDATES)
    kept = {*logged[every - 1 :: every], *logged[-1:]}
    for row in rows:
        if row["step"] > steps or not (row["step"] in kept or evaluates(row)):
            continue
        whole = row["step"] == logged[-1] and not evaluates(row)
        yield {
            name: value
            for name, value in row.items()
            if whole or name in ("step", "seed", *SPENT) or name.startswith(KEPT)
        }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(_rounded(value), separators=(",", ":")) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """The same with numbers of ``DIGITS`` significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
