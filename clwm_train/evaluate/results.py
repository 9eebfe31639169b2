"""The results of an evaluation, kept with the run."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import Field, ValidationError

from clwm_data.errors import ClwmError
from clwm_data.store.atomic import write_json
from clwm_data.store.root import parse_json
from clwm_data.strict import StrictModel, Text, first_mistake
from clwm_train.acting.context import Inference, PriorName
from clwm_train.acting.planner import PlannerConfig
from clwm_train.evaluate.protocols import Results
from clwm_train.runs.run import Run

#: Of the policy, which is what a published run shows; what a planner did is kept beside it.
EVALUATION = "evaluation.json"
PLANNED = "evaluation-mppi.json"


class SplitResult(StrictModel):
    """Results of a protocol on the tasks of a split.

    Attributes:
        return_mean: over tasks and episodes.
        episodes: per task.
        tasks: task -> mean return.
        success: mean over tasks, where the family has success.
        task_success: task -> share of successful episodes.
        normalised_mean: mean over tasks of the normalised return, where the family has reference returns.
        task_normalised: task -> normalised return.
    """

    return_mean: float
    episodes: int
    tasks: dict[Text, float]
    success: float | None = None
    task_success: dict[Text, float] | None = None
    normalised_mean: float | None = None
    task_normalised: dict[Text, float] | None = None


class Evaluation(StrictModel):
    """An evaluation of a checkpoint.

    Attributes:
        checkpoint: name of its folder.
        episodes: per task.
        context_size: transitions of a context.
        seed: of contexts and episodes.
        store_sha256: content of the store that gave the contexts.
        prior: what a task is taken to be at first, ``zero`` or ``mean``.
        prior_weight: transitions that the prior counts for.
        inference: what infers a task from the agent's own transitions, ``encoder`` or ``model``.
        planner: constants of MPPI; ``None``: the policy acted.
        noise: standard deviation of the policy's actions, in those that it was trained with.
        results: for each seed of the run, protocol -> split -> result.
    """

    checkpoint: Text
    episodes: int = Field(ge=1)
    context_size: int = Field(ge=0)
    seed: int = Field(ge=0)
    store_sha256: Text
    prior: PriorName = "zero"
    prior_weight: float = Field(default=0.0, ge=0.0)
    inference: Inference = "encoder"
    planner: PlannerConfig | None = None
    noise: float = Field(default=0.0, ge=0.0)
    results: list[dict[Text, dict[Text, SplitResult]]]

    def same_settings_as(self, other: Evaluation) -> bool:
        """Whether both describe the same checkpoint, evaluated in the same way."""
        settings = set(Evaluation.model_fields) - {"results"}
        return self.model_dump(include=settings) == other.model_dump(include=settings)


def evaluation_of(
    results: Sequence[Results],
    *,
    checkpoint: str,
    episodes: int,
    context_size: int,
    seed: int,
    store_sha256: str,
    prior: PriorName = "zero",
    prior_weight: float = 0.0,
    inference: Inference = "encoder",
    planner: PlannerConfig | None = None,
    noise: float = 0.0,
) -> Evaluation:
    """Results of :func:`~clwm_train.evaluate.evaluate` with the settings that gave them."""
    # Through JSON, whose keys are texts.
    plain = json.loads(json.dumps(list(results), allow_nan=False))
    return Evaluation(
        checkpoint=checkpoint,
        episodes=episodes,
        context_size=context_size,
        seed=seed,
        store_sha256=store_sha256,
        prior=prior,
        prior_weight=prior_weight,
        inference=inference,
        planner=planner,
        noise=noise,
        results=[
            {
                protocol: {split: SplitResult(**entry) for split, entry in parts.items()}
                for protocol, parts in of.items()
            }
            for of in plain
        ],
    )


def save_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Keep an evaluation in the run's folder; protocols and splits of an earlier, alike one stay."""
    file = EVALUATION if evaluation.planner is None else PLANNED
    before = read_evaluation(run, file)
    if before is not None and before.same_settings_as(evaluation):
        merged = [
            {
                key: {**old.get(key, {}), **new.get(key, {})}
                for key in (*old, *(k for k in new if k not in old))
            }
            for old, new in zip(before.results, evaluation.results, strict=True)
        ]
        evaluation = evaluation.model_copy(update={"results": merged})
    write_json(run.path / file, evaluation.model_dump(mode="json", exclude_none=True))


def read_evaluation(run: Run, name: str = EVALUATION) -> Evaluation | None:
    """An evaluation in the run's folder, or ``None`` where there is none.

    Raises:
        ClwmError: the file is damaged.
    """
    file = run.path / name
    if not file.is_file():
        return None
    try:
        return Evaluation.model_validate(parse_json(file.read_bytes(), str(file)))
    except ValidationError as error:
        raise ClwmError(f"{file}: {first_mistake(error)}: delete it and run `clwm eval` again") from error
