"""The experiment file: which methods on which stores with which seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from clwm_data.errors import InvalidInputError
from clwm_data.strict import StrictModel, Text, build_model, read_yaml
from clwm_train.settings import (
    DEFAULT_ANALYSIS,
    DEFAULT_EVALUATION,
    DEFAULT_EXECUTION,
    AnalysisSettings,
    EvaluationSettings,
    Execution,
    Seed,
)
from clwm_train.sweep.job import Job

Count = Annotated[int, Field(ge=1)]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Seeds = Annotated[list[Seed], Field(min_length=1)]
Stores = Annotated[list[Text], Field(min_length=1)]


class MethodEntry(StrictModel):
    """One row of the results: a method, and what is different for it.

    Attributes:
        method: bundled name or the path of a YAML file; the entry's own name unless given.
        preset: the experiment's unless given.
        steps: likewise.
        stores: likewise, some of the experiment's.
        seeds: likewise.
        set: keys of the configuration to override, over the experiment's.
    """

    method: Text | None = None
    preset: Text | None = None
    steps: Count | None = None
    stores: Stores | None = None
    seeds: Seeds | None = None
    set: dict[Text, Any] = Field(default={})


class Experiment(StrictModel):
    """What ``clwm sweep`` reads.

    Attributes:
        name: names the folder of the runs.
        description: one or two sentences.
        stores: paths, names of stores under data/, or user/repo on the Hub.
        seeds: of every method.
        stacked: the seeds of a method are trained together in one run, which is quicker than one by one.
        preset: tiny, small or paper, or the path of a YAML file.
        steps: iterations; the preset's unless given.
        set: keys of the configuration to override, such as ``batch.tasks: 8``.
        methods: name -> what is different for it.
        evaluation: how every run is evaluated.
        analysis: how every run is analysed; ``null``: not at all.
    """

    name: Label
    description: Text = ""
    stores: Stores
    seeds: Seeds = Field(default=[0])
    stacked: bool = True
    preset: Text = "small"
    steps: Count | None = None
    set: dict[Text, Any] = Field(default={})
    methods: Annotated[dict[Label, MethodEntry | None], Field(min_length=1)]
    evaluation: EvaluationSettings = DEFAULT_EVALUATION
    analysis: AnalysisSettings | None = DEFAULT_ANALYSIS

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        for what, entry in (
            ("", self),
            *((f"methods.{name}.", given) for name, given in self.methods.items()),
        ):
            for key in ("stores", "seeds"):
                listed = getattr(entry, key, None) or []
                twice = [value for value in listed if listed.count(value) > 1]
                if twice:
                    raise ValueError(f"{what}{key} names {twice[0]} twice: keep one")
        for name, method in self.methods.items():
            unknown = set((method and method.stores) or []) - set(self.stores)
            if unknown:
                raise ValueError(
                    f"methods.{name}.stores: {min(unknown)} is not one of the experiment's stores"
                )
        return self


def read_experiment(path: Path) -> Experiment:
    """An experiment file.

    Raises:
        InvalidInputError: it cannot be read, or the first mistake in it with file, line and key.
    """
    return build_model(Experiment, read_yaml(path))


def list_jobs(
    experiment: Experiment,
    stores: Mapping[str, Path],
    folder: Path,
    execution: Execution = DEFAULT_EXECUTION,
) -> list[Job]:
    """The runs of an experiment: store by store, method by method.

    Args:
        experiment: what to run.
        stores: where each of its stores is.
        folder: of the runs.
        execution: where and how each run is trained.

    Raises:
        InvalidInputError: two stores of the same name.
    """
    names: dict[str, str] = {}
    for text in experiment.stores:
        name = stores[text].name.removesuffix(".zarr")
        if name in names:
            raise InvalidInputError(f"stores {names[name]} and {text} are both called {name}: rename one")
        names[name] = text
    jobs = []
    for name, text in names.items():
        for label, given in experiment.methods.items():
            entry = given or MethodEntry()
            if text not in (entry.stores or experiment.stores):
                continue
            seeds = tuple(entry.seeds or experiment.seeds)
            for group in [seeds] if experiment.stacked else [(seed,) for seed in seeds]:
                jobs.append(
                    Job(
                        run=folder / f"{name}-{label}-s{'-'.join(map(str, group))}",
                        store=stores[text],
                        label=label,
                        method=entry.method or label,
                        preset=entry.preset or experiment.preset,
                        overrides=_overrides(experiment, entry),
                        seeds=group,
                        evaluation=experiment.evaluation,
                        analysis=experiment.analysis,
                        execution=execution,
                    )
                )
    return jobs


def _overrides(experiment: Experiment, entry: MethodEntry) -> tuple[str, ...]:
    """As ``--set`` takes them; the entry's come later, so they win."""
    steps = entry.steps or experiment.steps
    both = [*experiment.set.items(), *entry.set.items()]
    return (*(f"{key}={json.dumps(value)}" for key, value in both), *([f"steps={steps}"] if steps else []))
