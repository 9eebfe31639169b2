"""The results of evaluations, stored with the run: one file per checkpoint, settings and data."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError
from clwm_data.families import SPLITS
from clwm_data.pages.numbers import plural
from clwm_data.store.atomic import replacing
from clwm_data.store.format import TaskKey
from clwm_data.store.root import parse_json
from clwm_data.strict import StrictModel, Text, first_mistake
from clwm_train.evaluation.protocols import Results
from clwm_train.evaluation.table import results_lines
from clwm_train.runs.checkpoint import BEST, checkpoint_name
from clwm_train.runs.finding import run_at
from clwm_train.runs.run import Run
from clwm_train.settings import (
    DEFAULT_EVALUATION,
    PROTOCOLS,
    EvaluationSettings,
    check_result_name,
    describe,
    result_name,
)

#: Folder of a run.
EVALUATIONS = "evaluations"
#: The file of the only result in earlier versions of clwm.
EARLIER = ("evaluation.json", "evaluation-mppi.json")
REMEDY = "delete it and run `clwm eval` again"
#: A mean must agree with the values of the tasks up to this, relative to the largest of them.
MEAN_TOLERANCE = 1e-4

TaskValues = Annotated[dict[TaskKey, float], Field(min_length=1)]


class GroupResult(StrictModel):
    """Results on the tasks of one benchmark, in a family that joins several.

    Attributes:
        tasks: number of tasks.
        return_mean: mean return over tasks and episodes.
        success: mean success over tasks, if the family has success.
    """

    tasks: int = Field(ge=1)
    return_mean: float
    success: float | None = None


class SplitResult(StrictModel):
    """Results of a protocol on the tasks of a split.

    Attributes:
        return_mean: mean return over tasks and episodes.
        episodes: episodes per task.
        tasks: task -> mean return.
        success: mean success over tasks, if the family has success.
        task_success: task -> share of successful episodes.
        normalised_mean: mean normalised return over tasks, if the family has reference returns.
        task_normalised: task -> normalised return.
        groups: benchmark -> results on its tasks, in a family that joins several.
    """

    return_mean: float
    episodes: int
    tasks: TaskValues
    success: float | None = None
    task_success: TaskValues | None = None
    normalised_mean: float | None = None
    task_normalised: TaskValues | None = None
    groups: dict[Text, GroupResult] | None = None

    @model_validator(mode="after")
    def _means_fit(self) -> Self:
        for name, mean, values in (
            ("return_mean", self.return_mean, self.tasks),
            ("success", self.success, self.task_success),
            ("normalised_mean", self.normalised_mean, self.task_normalised),
        ):
            if (mean is None) != (values is None):
                raise ValueError(f"{name} and its values of the tasks go together")
            if mean is not None and values is not None:
                scale = max(map(abs, values.values()))
                if not math.isclose(
                    mean, fmean(values.values()), rel_tol=0.0, abs_tol=MEAN_TOLERANCE * scale
                ):
                    raise ValueError(f"{name} is not the mean of the values of the tasks")
        return self


class Evaluation(StrictModel):
    """An evaluation of a checkpoint.

    Attributes:
        checkpoint: name of the checkpoint at that update, also for the best one, which another may replace.
        step: update of the checkpoint.
        store_sha256: digest of the content of the store that the contexts come from.
        settings: settings of the evaluation.
        results: for each seed of the run, protocol -> split -> result.
    """

    checkpoint: Text
    step: int = Field(ge=0)
    store_sha256: Text
    settings: EvaluationSettings
    results: list[dict[Text, dict[Text, SplitResult]]]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.checkpoint not in (BEST, checkpoint_name(self.step)):
            raise ValueError(f"checkpoint {self.checkpoint} is not that of step {self.step}")
        for protocols in self.results:
            for protocol, splits in protocols.items():
                if protocol not in self.settings.protocols:
                    raise ValueError(f"results of {protocol}, which is not one of the settings' protocols")
                for split in splits:
                    if split not in self.settings.splits:
                        raise ValueError(f"results of {split}, which is not one of the settings' splits")
        return self

    @classmethod
    def of(
        cls,
        results: Sequence[Results],
        settings: EvaluationSettings,
        *,
        step: int,
        store_sha256: str,
    ) -> Evaluation:
        """Results of :func:`~clwm_train.evaluation.evaluate` with everything that determined them."""
        plain = json.loads(json.dumps(list(results), allow_nan=False))  # turns the keys into text
        return cls(
            checkpoint=checkpoint_name(step),
            step=step,
            store_sha256=store_sha256,
            settings=settings,
            results=plain,
        )

    @property
    def name(self) -> str:
        """Name of its file: the same for the same checkpoint, settings and data."""
        return result_name(self.checkpoint, self.settings, self.store_sha256)

    def __repr__(self) -> str:
        lines = [f"Evaluation of update {self.step:,}", describe(self.settings)]
        for number, results in enumerate(self.plain_results()):
            if len(self.results) > 1:
                lines.append(f"seed {number + 1} of {len(self.results)}:")
            lines += results_lines(results)
        return "\n".join(lines)

    def __str__(self) -> str:
        return repr(self)

    def plain_results(self) -> list[Results]:
        """As :func:`~clwm_train.evaluation.evaluate` returns them, with task indices as text."""
        return [
            {
                protocol: {split: entry.model_dump(exclude_none=True) for split, entry in splits.items()}
                for protocol, splits in seed_results.items()
            }
            for seed_results in self.results
        ]


def save_evaluation(run: Run | str | Path, evaluation: Evaluation) -> Path:
    """Store an evaluation in the folder of a run, in place of one of the same checkpoint, settings and data.

    One of the same returns that has normalised ones, too, by references that were named then, stays.

    Args:
        run: the run, or the path of its folder.
        evaluation: the evaluation.

    Returns:
        the file.

    Raises:
        InvalidInputError: it is of another number of seeds than the run's.
        OSError: it cannot be written.
    """
    run = run_at(run)
    if len(evaluation.results) != len(run.record.seeds):
        raise InvalidInputError(f"the evaluation is not one of {run.path}: {_seeds(evaluation, run)}")
    file = run.path / EVALUATIONS / evaluation.name
    file.parent.mkdir(exist_ok=True)
    with suppress(ClwmError, OSError):  # there is none, or a damaged one
        if _not_normalised(_read(file, run)) == evaluation:
            return file
    with replacing(file) as temporary:
        temporary.write_text(evaluation_text(evaluation), encoding="utf-8", newline="\n")
    return file


def _not_normalised(evaluation: Evaluation) -> Evaluation:
    without = {"normalised_mean": None, "task_normalised": None}
    results = [
        {
            protocol: {split: result.model_copy(update=without) for split, result in splits.items()}
            for protocol, splits in protocols.items()
        }
        for protocols in evaluation.results
    ]
    return evaluation.model_copy(update={"results": results})


def evaluation_text(evaluation: Evaluation) -> str:
    """The content of an evaluation's file.

    Raises:
        ValueError: a result is NaN or infinite.
    """
    return json.dumps(evaluation.model_dump(mode="json", exclude_none=True), indent=1, allow_nan=False)


def read_evaluations(run: Run | str | Path) -> list[Evaluation]:
    """All evaluations in the run's folder: the latest checkpoint first, then the published settings first.

    Args:
        run: the run, or the path of its folder.

    Raises:
        DamagedDataError: a file is damaged.
    """
    run = run_at(run)
    kept = [_read(run.path / name, run) for name in EARLIER if (run.path / name).is_file()]
    kept += [_read(file, run) for file in sorted((run.path / EVALUATIONS).glob("*.json"))]
    named = {evaluation.name: evaluation for evaluation in kept}
    published = DEFAULT_EVALUATION
    return sorted(named.values(), key=lambda one: (-one.step, one.settings != published, one.name))


def find_evaluation(
    run: Run, checkpoint: str, settings: EvaluationSettings, store_sha256: str
) -> Evaluation | None:
    """The evaluation of a checkpoint with these settings and data, or ``None`` if there is none."""
    for evaluation in read_evaluations(run):
        key = (checkpoint, settings, store_sha256)
        if (evaluation.checkpoint, evaluation.settings, evaluation.store_sha256) == key:
            return evaluation
    return None


def _read(file: Path, run: Run) -> Evaluation:
    try:
        document = parse_json(read_bounded(file), str(file))
    except ClwmError as error:
        raise DamagedDataError(f"{error}: {REMEDY}") from error
    try:
        evaluation = Evaluation.model_validate(_upgraded(document) if file.name in EARLIER else document)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = first_mistake(error) if isinstance(error, ValidationError) else "is not an evaluation"
        raise DamagedDataError(f"{file}: {what}: {REMEDY}") from error
    if evaluation.checkpoint == BEST:  # as it was stored before
        evaluation = evaluation.model_copy(update={"checkpoint": checkpoint_name(evaluation.step)})
    if len(evaluation.results) != len(run.record.seeds):
        raise DamagedDataError(f"{file}: {_seeds(evaluation, run)}: {REMEDY}")
    check_result_name(file, evaluation.name, REMEDY)
    return evaluation


def _seeds(evaluation: Evaluation, run: Run) -> str:
    return f"holds results of {plural(len(evaluation.results), 'seed')}, the run has {len(run.record.seeds)}"


def _upgraded(document: Any) -> dict[str, Any]:
    """Convert a document of ``EARLIER`` versions of clwm, whose settings were beside the results."""
    first: dict[str, Any] = document["results"][0]
    outside = {"checkpoint", "store_sha256", "results"}
    settings = {key: value for key, value in document.items() if key not in outside}
    settings["protocols"] = [protocol for protocol in PROTOCOLS if protocol in first]
    settings["splits"] = [split for split in SPLITS if any(split in parts for parts in first.values())]
    return {
        **{key: document[key] for key in outside},
        "step": int(document["checkpoint"].removeprefix("step-")),
        "settings": settings,
    }
