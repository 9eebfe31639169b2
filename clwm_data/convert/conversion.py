"""Conversion in one call, whatever the format: what ``clwm convert`` does, for programs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from clwm_data.convert.hdf5 import hdf5_source
from clwm_data.convert.lerobot import lerobot_source
from clwm_data.convert.minari import from_minari, to_minari
from clwm_data.convert.npz import npz_source, to_npz
from clwm_data.convert.parquet import to_parquet
from clwm_data.convert.parquet_source import parquet_source
from clwm_data.convert.source import Source
from clwm_data.convert.tables import (
    MAX_TASKS,
    SPLITS,
    TaskTable,
    parse_splits,
    read_parameters,
)
from clwm_data.convert.target import Conversion, write_converted
from clwm_data.convert.tensors import from_tensors, to_tensors
from clwm_data.errors import InvalidInputError
from clwm_data.families.base import Parameters, Split
from clwm_data.families.own_family import checked_parameters
from clwm_data.families.stored import FamilyFacts
from clwm_data.progress import ProgressCallback
from clwm_data.ranges import IndexChoice, indices_of, parse_indices
from clwm_data.references.table import References, read_reference_file, reference_of
from clwm_data.store.reader import Store
from clwm_data.suggestions import suggestion
from clwm_data.yaml_values import shown

SourceFormat = Literal["minari", "tensors", "npz", "hdf5", "parquet", "lerobot"]
TargetFormat = Literal["minari", "tensors", "npz", "parquet"]

#: Formats of flat arrays -> how they are read.
SOURCES: dict[str, Callable[[str | Path, Collection[int] | None], Source]] = {
    "npz": npz_source,
    "hdf5": hdf5_source,
    "parquet": parquet_source,
    "lerobot": lerobot_source,
}


# Fourteen parameters, as many as `clwm convert --from` has options; most are for families not known here.
def convert_from(
    source: str | Path,
    target: str | Path,
    format: SourceFormat,
    *,
    family: str | None = None,
    tasks: IndexChoice | None = None,
    splits: str | Mapping[int, Split] | None = None,
    parameters: str | Path | Mapping[int, Parameters] | None = None,
    action_bounds: tuple[ArrayLike, ArrayLike] | int | None = None,
    varies: Literal["dynamics", "reward"] | None = None,
    horizon: int | None = None,
    references: str | Path | References | None = None,
    warn: Callable[[str], object] = warnings.warn,
    on_progress: ProgressCallback | None = None,
) -> Conversion:
    """Make a store of data in another format; nothing is written unless all of it is valid.

    Args:
        source: file or folder.
        target: folder of the store, which must not exist yet.
        format: of the source: ``minari``, ``tensors``, ``npz``, ``hdf5``, ``parquet`` or ``lerobot``.
        family: task family: a name that is known here, which gives sizes, splits and parameters; the path of
            a YAML file that declares one; or a new name. May be left out for what was converted to Minari.
        tasks: task of each file or dataset, in their order, or those that are read of a file of several:
            ``"0-4,7"``, ``"all"`` (the default), or numbers.
        splits: of the tasks of a new family: ``"train:0-29,id:30-39"``, or task -> split.
        parameters: of the tasks of a new family: a CSV file with a column ``task`` and one for each
            parameter, or task -> parameters.
        action_bounds: lowest and highest value of all action entries, or of each, which become -1 and 1; or
            the number of discrete actions. By default as the format says, else actions are in [-1, 1].
        varies: whether the tasks of a new family differ in their ``dynamics`` (the default) or only in their
            ``reward``.
        horizon: steps after which an episode of a new family is truncated; by default those of the longest
            one in the data, which may lack its last step.
        references: reference returns of a new family: a CSV file with the columns ``task,random,expert``, or
            task -> (random, expert).
        warn: called with what the user should know of how the data was read.
        on_progress: called after each task.

    Returns:
        the store, and what each part of the source became.

    Raises:
        InvalidInputError: an argument cannot be used, or an episode is invalid; file, episode and step are
            named.
        NotFoundError: no such source, task or family.
        DamagedDataError: a file cannot be read.
        ConflictError: ``target`` exists already.
        MissingExtraError: a package that reads the format is not installed.
    """
    _check_format(format, SourceFormat)
    if family is None and format != "minari":
        raise InvalidInputError(f"{source}: the format {format} does not name the task family: give family=")
    chosen = None if tasks is None or (isinstance(tasks, str) and tasks.strip() == "all") else _tasks(tasks)
    table = task_table(splits, parameters, varies, horizon, references)
    bounds, count = _bounds(str(source), action_bounds)
    if format == "tensors":
        if table is not None or action_bounds is not None:
            raise InvalidInputError(f"{source}: tensors take splits, parameters and actions from the family")
        done = from_tensors(source, target, str(family), chosen, on_progress=on_progress)
    elif format == "minari":
        if count is not None:
            raise InvalidInputError(f"{source}: the spaces of Minari's datasets tell what actions there are")
        done = from_minari(
            source, target, family, chosen, table=table, action_bounds=bounds, on_progress=on_progress
        )
    else:
        data = SOURCES[format](source, chosen)
        if count is not None:
            data = data.with_discrete_actions(count)
        if bounds:
            data = data.with_action_bounds(bounds)
        done = write_converted(data, target, str(family), table=table, on_progress=on_progress)
    for remark in done.remarks:
        warn(remark)
    return done


def convert_to(
    source: str | Path | Store,
    target: str | Path,
    format: TargetFormat,
    *,
    on_progress: ProgressCallback | None = None,
) -> list[str]:
    """Write a store in another format.

    Args:
        source: the store.
        target: file or folder, which must not exist yet.
        format: of the target: ``minari``, ``tensors``, ``npz`` or ``parquet``.
        on_progress: called after each task.

    Returns:
        paths of the files, or the ids of Minari's datasets.

    Raises:
        InvalidInputError: there is no such format.
        NotFoundError: no such store.
        ConflictError: ``target`` exists already.
        DamagedDataError: the store is damaged.
        UnavailableError: the disk is full.
        MissingExtraError: a package that writes the format is not installed.
    """
    _check_format(format, TargetFormat)
    if format == "npz":
        return [str(to_npz(source, target))]
    if format == "minari":
        return to_minari(source, target, on_progress=on_progress)
    write = to_parquet if format == "parquet" else to_tensors
    return [str(path) for path in write(source, target, on_progress=on_progress)]


def task_table(
    splits: str | Mapping[int, Split] | None,
    parameters: str | Path | Mapping[int, Parameters] | None,
    varies: Literal["dynamics", "reward"] | None,
    horizon: int | None,
    references: str | Path | References | None,
) -> TaskTable | None:
    """What a user says of the tasks of a new family; arguments as of :func:`convert_from`.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: something else than what is expected.
    """
    if all(value is None for value in (splits, parameters, varies, horizon, references)):
        return None
    if horizon is not None and (not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1):
        raise InvalidInputError(f"horizon: {shown(horizon)} is not a number of steps")
    if varies not in (None, "dynamics", "reward"):
        raise InvalidInputError(f"varies: {shown(varies)} is neither dynamics nor reward")
    if isinstance(splits, str):
        splits = parse_splits(splits)
    for index, split in (splits or {}).items():
        if split not in SPLITS:
            raise InvalidInputError(f"splits: task {index}: {shown(split)} is not one of {', '.join(SPLITS)}")
    if isinstance(parameters, str | Path):
        parameters = read_parameters(Path(parameters))
    elif parameters is not None:
        parameters = {
            index: checked_parameters(f"parameters: task {index}", values)
            for index, values in parameters.items()
        }
    if isinstance(references, str | Path):
        references = read_reference_file(Path(references))
    facts = None
    if varies is not None or horizon is not None or references is not None:
        try:
            returns = (
                None if references is None else {str(task): [*pair] for task, pair in references.items()}
            )
            facts = FamilyFacts(varies=varies or "dynamics", horizon=horizon, references=returns)
        except (ValidationError, TypeError) as error:
            raise InvalidInputError(
                "references: expected two numbers for each task, the mean returns of random actions and of "
                "the expert"
            ) from error
        for task in references or ():
            reference_of(references or {}, task)
    return TaskTable(splits, parameters, facts)


def _tasks(tasks: IndexChoice) -> list[int]:
    """Indices in the order in which they are given: the first one may be that of the first file."""
    known = range(MAX_TASKS)
    if isinstance(tasks, str):
        return list(dict.fromkeys(i for part in tasks.split(",") for i in parse_indices(part, known)))
    named = [*tasks] if isinstance(tasks, Iterable) else [tasks]
    indices = indices_of(named, known)
    if not all(index in known for index in indices):
        raise InvalidInputError(
            f"tasks: {shown(tasks)}: expected whole numbers from 0 to {MAX_TASKS - 1}, or text such as 0-4,7"
        )
    if len(indices) < len(named):
        raise InvalidInputError(f"tasks: {shown(tasks)}: a task is named twice")
    return [*indices]


def _bounds(
    where: str, bounds: tuple[ArrayLike, ArrayLike] | int | None
) -> tuple[list[tuple[float, float]], int | None]:
    """Lowest and highest value of each entry, or of all; or the number of discrete actions."""
    if bounds is None:
        return [], None
    if isinstance(bounds, int | np.integer) and not isinstance(bounds, bool):
        return [], int(bounds)
    try:
        low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in bounds)  # type: ignore[union-attr]
        pairs = np.stack(np.broadcast_arrays(low, high), axis=1).tolist()
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{where}: action_bounds: {shown(bounds)} is neither (low, high) nor a number of discrete actions"
        ) from error
    return [(first, second) for first, second in pairs], None


def _check_format(name: str, formats: Any) -> None:
    known = get_args(formats)
    if name not in known:
        hint = suggestion(str(name), known, f"it is one of {', '.join(known)}")
        raise InvalidInputError(f"no format is called {shown(name)}: {hint}")
