"""Training an agent on a store, as ``clwm train`` does."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.opening import RUNS, open_store
from clwm_data.paths import expand_home
from clwm_data.store import Store
from clwm_data.yaml_values import shown
from clwm_train.config.train import LOGGING_KEYS, RESUMABLE_KEYS, TrainConfig
from clwm_train.evaluation.while_training import training_evaluator
from clwm_train.methods.resolve import overridden, resolve
from clwm_train.runs.differences import differences
from clwm_train.runs.naming import default_folder, default_label
from clwm_train.runs.run import (
    RECORD,
    Run,
    check_free,
    describe_run,
    open_run,
)
from clwm_train.runs.same_data import check_same_data
from clwm_train.seeds import seed_numbers
from clwm_train.settings import Execution
from clwm_train.training.train import train_run
from clwm_train.training.trainer import UpdateCallback

LONGEST_LABEL = 100
#: Keys that say for how long a method is trained and what is written down, and do not make it another one.
NO_OTHER_METHOD = ("steps", *LOGGING_KEYS)

Overrides = Mapping[str, Any] | Sequence[str]


def train(
    store: Store | str | Path,
    method: str | Path = "spc",
    preset: str | Path = "tiny",
    *,
    seeds: int | Sequence[int] = 0,
    overrides: Overrides = (),
    name: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    execution: Execution | None = None,
    track: str | Sequence[str] | None = None,
    on_progress: UpdateCallback | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> Run:
    """Train an agent on a store. (Twelve parameters: the options of ``clwm train``; only one is required.)

    Everything that can be checked is checked first; a training that cannot start leaves no folder behind.

    Args:
        store: the data, or its path, address, or ``user/repo``.
        method: bundled name, or the path of a YAML file.
        preset: ``tiny``, ``small`` or ``paper``, or the path of a YAML file.
        seeds: one seed, or several that are trained together as one run.
        overrides: keys of the configuration and their values, ``{"iql.expectile": 0.9, "steps": 2000}``, or
            as ``--set`` takes them, ``["iql.expectile=0.9"]``.
        name: name in tables and figures; by default its method and overrides.
        out: folder of the run; by default ``runs/<store>-<name>-s<seeds>``.
        resume: continue the run in the folder, if there is one; more ``steps`` make it longer, and it may be
            evaluated otherwise from here on.
        execution: where and how it is trained; by default on a GPU if there is one.
        track: who shows the metrics, beside the run's metrics.jsonl: ``tensorboard`` (the default),
            ``wandb``, ``trackio``, or several; ``()``: nobody. A resumed run goes on with those that it
            began with.
        on_progress: called after every update with the number done and the latest metrics.
        warn: called with warnings.

    Returns:
        the trained run; :func:`clwm_train.runs.loading.load_agent` takes it.

    Raises:
        InvalidInputError: the configuration is wrong, or the store has no train task.
        ConflictError: another run is in the folder, or a process is training it.
        NotFoundError: no such store, method or preset.
        DivergedError: a metric or a weight became infinite or NaN; the last good checkpoint is kept.
        UnavailableError: this machine cannot do it: device, compiler, memory, disk space.
    """
    request = TrainingRequest(
        open_store(store),
        os.fspath(method),
        os.fspath(preset),
        seed_numbers(seeds),
        override_texts(overrides),
        name,
        None if out is None else expand_home(out),
    )
    new = request.describe()
    run = new
    if resume and (new.path / RECORD).exists():
        run = open_run(new.path)
        check_same_data(run, request.store)
        changed = differences(run, new)
        if name is not None and name != run.label:
            changed.append(f"name {run.label}, not {name}")
        if changed:
            raise ConflictError(f"{run.path}: was begun with {changed[0]}: it cannot be resumed with that")
        run = request.resumed(run)
    else:
        check_free(run)
    train_run(
        run,
        request.store,
        execution=execution or Execution(device="auto"),
        steps=new.config.steps,
        on_progress=on_progress,
        evaluator=training_evaluator(run, request.store),
        trackers=[track] if isinstance(track, str) else track,
        warn=warn,
    )
    return open_run(run.path)


@dataclass(frozen=True)
class TrainingRequest:
    """The description of a new training.

    Attributes:
        store: the data.
        method: bundled name, or the path of a YAML file.
        preset: bundled name, or the path of a YAML file.
        seeds: seeds that are trained together.
        overrides: ``a.b=value``, as ``--set`` takes them.
        name: name in tables and figures; ``None``: its method and overrides.
        out: folder of the run; ``None``: one named after store, name and seeds.
    """

    store: Store
    method: str
    preset: str
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    name: str | None = None
    out: Path | None = None

    @property
    def label(self) -> str:
        """Name in tables and figures."""
        changes = [text for text in self.overrides if changed_part(text) not in NO_OTHER_METHOD]
        return self.name or default_label(self.method, changes)

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.out or RUNS / default_folder(self.store.name, self.label, self.seeds)

    def describe(self) -> Run:
        """The run, of which nothing has been written yet.

        Raises:
            InvalidInputError: the configuration is wrong, or the store has no train task.
            NotFoundError: no such method or preset.
        """
        name = self.name
        if name is not None and not (name.strip() and name.isprintable() and len(name) <= LONGEST_LABEL):
            raise InvalidInputError(f"a run cannot be called {name!r}: give some printable characters")
        return describe_run(
            self.folder,
            self.store,
            resolve(self.method, self.preset, self.overrides),
            method=self.method,
            preset=self.preset,
            seeds=self.seeds,
            label=self.label,
        )

    def resumed(self, run: Run) -> Run:
        """An existing run, with the parts of the configuration that this request changes and that change
        nothing that is learned.

        Raises:
            InvalidInputError: the configuration is wrong.
        """
        named = [text for text in self.overrides if changed_part(text) in RESUMABLE_KEYS]
        defaults = {key: TrainConfig.model_fields[key].default for key in map(changed_part, named)}
        return replace(run, config=overridden(run.config.model_copy(update=defaults), named))


def changed_part(override: str) -> str:
    """The part of the configuration that an override changes: ``iql`` of ``iql.expectile=0.9``."""
    return override.partition("=")[0].strip().partition(".")[0]


def override_texts(overrides: Overrides) -> tuple[str, ...]:
    """Overrides as ``--set`` takes them.

    Raises:
        InvalidInputError: a value is none that a configuration can hold, or something else than texts.
    """
    if isinstance(overrides, Mapping):
        return tuple(f"{key}={_value_text(key, value)}" for key, value in overrides.items())
    texts = [overrides] if isinstance(overrides, str) or not isinstance(overrides, Iterable) else [*overrides]
    for text in texts:
        if not isinstance(text, str):
            raise InvalidInputError(
                f"overrides: {shown(text)}: expected keys and their values, {{'steps': 2000}}, or texts, "
                "['steps=2000']"
            )
    return tuple(texts)


def _value_text(key: str, value: object) -> str:
    def plain(inner: object) -> object:
        if isinstance(inner, np.generic | np.ndarray):
            return inner.tolist()
        raise TypeError

    try:
        return json.dumps(value, default=plain)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"overrides: {key}: {shown(value)}: expected a number, a text, true or false, or a list of these"
        ) from error
