"""The experiment file: methods, stores and seeds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.opening import open_store
from clwm_data.paths import fitting_name
from clwm_data.store.digest import json_sha256
from clwm_data.strict import NAME, Mistake, StrictModel, Text, build_model, read_yaml
from clwm_data.suggestions import suggestion
from clwm_train.runs.run import MOST_SEEDS, Seed
from clwm_train.settings import (
    DEFAULT_ANALYSIS,
    DEFAULT_EVALUATION,
    DEFAULT_EXECUTION,
    AnalysisSettings,
    EvaluationSettings,
    Execution,
)
from clwm_train.sweep.budget import Budget
from clwm_train.sweep.job import Job

Label = Annotated[str, StringConstraints(pattern=NAME)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=MOST_SEEDS)]
Stores = Annotated[list[Text], Field(min_length=1)]


class Budgeted(StrictModel):
    """Something that is trained for a budget."""

    budget: Budget | None = None

    @model_validator(mode="before")
    @classmethod
    def _steps_are_a_budget(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "steps" in data:
            raise Mistake("there is no such key: write budget: {updates: ...}", "steps")
        return data


class MethodEntry(Budgeted):
    """One row of the results: a method, and where it differs from the experiment.

    Attributes:
        method: bundled name or the path of a YAML file; the name of the entry by default.
        preset: preset; by default the experiment's.
        budget: how long it is trained; by default the experiment's.
        stores: some of the experiment's stores; by default all.
        seeds: seeds; by default the experiment's.
        set: keys of the configuration to override, in addition to the experiment's.
        evaluations: settings of further evaluations, in addition to the experiment's.
    """

    method: Text | None = None
    preset: Text | None = None
    stores: Stores | None = None
    seeds: Seeds | None = None
    set: dict[Text, Any] = Field(default={})
    evaluations: tuple[EvaluationSettings, ...] = Field(default=(), strict=False)


class Experiment(Budgeted):
    """An experiment file, as ``clwm sweep`` reads it.

    Attributes:
        name: name of the experiment, and of the folder of its runs.
        description: one or two sentences.
        stores: paths, names of stores in data/, or user/repo on the Hub.
        seeds: seeds of every method.
        stacked: train the seeds of a method together in one run, which is faster than one by one.
        preset: tiny, small or paper, or the path of a YAML file.
        budget: how long every method is trained; by default the preset's updates.
        set: keys of the configuration to override, such as ``batch.tasks: 8``.
        methods: name -> where the method differs from the experiment.
        evaluation: settings with which every run is evaluated.
        analysis: settings with which every run is analysed; ``null``: no analysis.
        track: who shows the metrics of the runs: tensorboard, wandb, trackio.
    """

    name: Label
    description: Text = ""
    stores: Stores
    seeds: Seeds = Field(default=[0])
    stacked: bool = True
    preset: Text = "small"
    set: dict[Text, Any] = Field(default={})
    methods: Annotated[dict[Label, MethodEntry | None], Field(min_length=1)]
    evaluation: EvaluationSettings = DEFAULT_EVALUATION
    analysis: AnalysisSettings | None = DEFAULT_ANALYSIS
    track: list[Literal["tensorboard", "wandb", "trackio"]] | None = None

    @model_validator(mode="after")
    def _lists_fit(self) -> Self:
        for at, entry in (((), self), *((("methods", name), given) for name, given in self.methods.items())):
            for key in ("stores", "seeds"):
                listed = getattr(entry, key, None) or []
                twice = next((value for value, count in Counter(listed).items() if count > 1), None)
                if twice is not None:
                    raise Mistake(f"names {twice} twice: keep one", *at, key)
        folded: dict[str, str] = {}
        for name in self.methods:
            if (other := folded.setdefault(name.casefold(), name)) != name:
                told = f"its folder is that of {other} on some systems: rename one of them"
                raise Mistake(told, "methods", name)
        for name, method in self.methods.items():
            unknown = set((method and method.stores) or []) - set(self.stores)
            if unknown:
                hint = suggestion(min(unknown), self.stores, f"these are {', '.join(self.stores)}")
                told = f"{min(unknown)} is not one of the experiment's stores: {hint}"
                raise Mistake(told, "methods", name, "stores")
        return self

    @model_validator(mode="after")
    def _updates_are_said_once(self) -> Self:
        for name, method in self.methods.items():
            entry = method or MethodEntry()
            places = {("set",): self.set, ("methods", name, "set"): entry.set}
            for at, keys in places.items():
                if "steps" in keys and (entry.budget or self.budget) is not None:
                    raise Mistake("contradicts the budget: keep one of the two", *at, "steps")
        return self


def read_experiment(path: Path) -> Experiment:
    """An experiment file.

    Raises:
        InvalidInputError: it cannot be read or contains a mistake; the message names file, line and key.
    """
    return build_model(Experiment, read_yaml(path))


def narrow(experiment: Experiment, stores: Sequence[str] = (), methods: Sequence[str] = ()) -> Experiment:
    """The part of an experiment on some of its stores, with some of its methods; none named: all.

    Raises:
        NotFoundError: the experiment has no such store or method.
        InvalidInputError: none of the methods is run on any of the stores.
    """
    for what, named, known in (("store", stores, experiment.stores), ("method", methods, experiment.methods)):
        for name in named:
            if name not in known:
                hint = suggestion(name, known, f"it has {', '.join(known)}")
                raise NotFoundError(f"{experiment.name}: has no {what} {name!r}: {hint}")
    kept = [store for store in experiment.stores if not stores or store in stores]
    chosen = {}
    for label, entry in experiment.methods.items():
        on = [store for store in kept if entry is None or entry.stores is None or store in entry.stores]
        if on and (not methods or label in methods):
            chosen[label] = entry
    if not chosen:
        raise InvalidInputError(f"{experiment.name}: has no run with these stores and methods")
    return experiment.model_copy(update={"stores": kept, "methods": chosen})


def list_jobs(
    experiment: Experiment,
    stores: Mapping[str, Path],
    folder: Path,
    execution: Execution = DEFAULT_EXECUTION,
    track: Sequence[str] | None = None,
) -> list[Job]:
    """The runs of an experiment: store by store, method by method.

    Args:
        experiment: the experiment.
        stores: path of each of its stores.
        folder: folder of the runs.
        execution: where and how each run is trained.
        track: names of trackers; ``None``: those of the experiment.

    Raises:
        InvalidInputError: two stores have the same name, or two runs the same folder.
    """
    names: dict[str, str] = {}
    trackers = experiment.track if track is None else track
    for text in experiment.stores:
        name = stores[text].name.removesuffix(".zarr")
        alike = next((other for other in names if other.casefold() == name.casefold()), None)
        if alike is not None:
            raise InvalidInputError(
                f"{experiment.name}: stores {names[alike]} and {text} are both called {name}: rename one, or "
                "keep one if they are the same"
            )
        names[name] = text
    jobs = []
    for name, text in names.items():
        for label, given in experiment.methods.items():
            entry = given or MethodEntry()
            if text not in (entry.stores or experiment.stores):
                continue
            budget = entry.budget or experiment.budget
            seeds = tuple(entry.seeds or experiment.seeds)
            for group in [seeds] if experiment.stacked else [(seed,) for seed in seeds]:
                jobs.append(
                    Job(
                        run=folder / _run_name(name, label, group),
                        store=stores[text],
                        label=label,
                        method=entry.method or label,
                        preset=entry.preset or experiment.preset,
                        overrides=_overrides(experiment, entry, budget),
                        seeds=group,
                        minutes=None if budget is None else budget.minutes,
                        evaluations=(experiment.evaluation, *entry.evaluations),
                        analysis=experiment.analysis,
                        execution=execution,
                        track=None if trackers is None else tuple(trackers),
                    )
                )
    _refuse_shared_folders(jobs)
    return jobs


def check_names(stores: Mapping[str, Path]) -> None:
    """Refuse stores that results would take for one dataset, since they have one name within.

    Args:
        stores: path of each of an experiment's stores.

    Raises:
        InvalidInputError: there are such stores.
    """
    names: dict[str, str] = {}
    for text, path in stores.items():
        name = open_store(path).name
        if (other := names.setdefault(name, text)) != text:
            raise InvalidInputError(
                f"stores {other} and {text}: are both called {name} in results, after their manifest:"
                f" `clwm select {text} data/OTHER.zarr` makes a copy that is called OTHER"
            )


def _refuse_shared_folders(jobs: Sequence[Job]) -> None:
    """Refuse names of stores and methods that are the same when joined: a-b with c, and a with b-c."""
    folders: dict[str, Job] = {}
    for job in jobs:
        other = folders.setdefault(job.run.name.casefold(), job)
        if other is not job:
            raise InvalidInputError(
                f"method {other.label} on {other.store.name} and {job.label} on {job.store.name}: their "
                f"runs are both called {job.run.name}: rename a method"
            )


def _run_name(store: str, label: str, seeds: Sequence[int]) -> str:
    return fitting_name(f"{store}-{label}-s{'-'.join(map(str, seeds))}", json_sha256([store, label, *seeds]))


def _overrides(experiment: Experiment, entry: MethodEntry, budget: Budget | None) -> tuple[str, ...]:
    """Overrides in the form of ``--set``; those of the entry come later and take precedence."""
    both = [*experiment.set.items(), *entry.set.items()]
    if budget is not None and budget.updates is not None:
        both.append(("steps", budget.updates))
    return tuple(f"{key}={json.dumps(value)}" for key, value in both)
