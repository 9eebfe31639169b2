"""Writing foreign data to a store, which records its source, and that its collection is unknown."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from clwm_data.convert.border import Border
from clwm_data.convert.seeming import seem_discrete, seeming
from clwm_data.convert.source import Source, plain_text
from clwm_data.convert.tables import TaskTable
from clwm_data.edit.building import building, description, manifest_of
from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.families import TaskFamily, is_family
from clwm_data.families.declared import DeclaredFamily
from clwm_data.families.declared.reading import find_family, is_family_file
from clwm_data.families.stored import FamilyFacts, facts_of
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.paths import dataset_name
from clwm_data.progress import ProgressCallback
from clwm_data.ranges import format_indices
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.format import Edit, Provenance, TaskRecord
from clwm_data.store.format import Source as SourceRecord
from clwm_data.store.provenance import current_provenance
from clwm_data.store.reader import Store
from clwm_data.store.root_writer import write_root
from clwm_data.store.validate import validate
from clwm_data.store.writer import write_task

#: Provenance of data whose collection was not recorded.
UNKNOWN = Provenance(created="", command="", packages={}, platform="")


@dataclass(frozen=True)
class ConvertedTask:
    """What became of a dataset, a file or a group of the source.

    Attributes:
        source: name in the source.
        task: index of the task that it became.
        split: of the task.
        episodes: number of episodes.
        transitions: number of transitions.
        mean_return: mean undiscounted return of the episodes.
    """

    source: str
    task: int
    split: str
    episodes: int
    transitions: int
    mean_return: float


@dataclass(frozen=True)
class Conversion:
    """A store made of foreign data.

    Attributes:
        store: the store.
        tasks: what each part of the source became, in the order of the tasks.
        remarks: what the user should know of how the data was read, a line each.
    """

    store: Store
    tasks: list[ConvertedTask]
    remarks: list[str] = field(default_factory=list)


def write_converted(
    source: Source,
    target: Path | str,
    family: str,
    *,
    tasks: Collection[int] | None = None,
    table: TaskTable | None = None,
    on_progress: ProgressCallback | None = None,
) -> Conversion:
    """Make a store of foreign data: checked, written and validated beside the target, then moved there.

    Args:
        source: the data.
        target: folder of the store, which must not exist yet.
        family: task family, which need not be known here, or the path of a YAML file that declares it.
        tasks: only these of the source.
        table: splits and parameters of the tasks of a family that is not known here; by default all tasks
            are train tasks without parameters.
        on_progress: called after each task.

    Raises:
        InvalidInputError: an invalid episode, or ``family`` is not a valid name.
        NotFoundError: a task that the source or the family does not have.
        ConflictError: ``target`` exists already.
        UnavailableError: the disk is full.
    """
    known = find_family(family) if is_family_file(family) or is_family(family) else None
    if known is not None and table is not None:
        raise InvalidInputError(f"family {family} has splits and parameters of its own: leave yours out")
    if missing := sorted(set(tasks or ()) - set(source.tasks)):
        raise NotFoundError(
            f"{source.name}: has no task {format_indices(missing)}; it has {format_indices(source.tasks)}"
        )
    if not source.tasks:
        raise InvalidInputError(f"{source.name}: holds no transitions")
    table = (table or TaskTable()).completed(source.table)
    chosen = sorted(source.tasks if tasks is None else set(tasks))
    described = {index: known.task(index) if known is not None else table.task(index) for index in chosen}
    template = _template(source, family, known, table.facts)
    _check_references(table, chosen)
    mixtures: dict[int, list[BehaviourEntry]] = {}
    border = Border(known, None if table.facts is None else table.facts.horizon)
    remarks = [*source.remarks, *(source.of_actions if known is None else ())]
    seems = known is None
    with building(target) as aside:
        for done, index in enumerate(chosen):
            if on_progress is not None:
                on_progress(done, len(chosen))
            foreign = source.tasks[index]
            arrays = border.admit(foreign)
            if _in_pieces(arrays):
                remarks.append(
                    f"{foreign.name}: its {plural(arrays.transitions, 'step')} make "
                    f"{plural(arrays.episodes, 'episode')}: few begin where the one before led to (were rows "
                    "shuffled, or next observations scaled otherwise?)"
                )
            seems &= foreign.action_bounds is None and not arrays.discrete and seem_discrete(arrays.action)
            mixtures[index] = [
                BehaviourEntry(policy=plain_text(foreign.policy) or "unknown", episodes=arrays.episodes)
            ]
            write_task(aside, described[index], mixtures[index], arrays, template.storage)
        if seems:
            remarks.append(seeming(source.name, arrays.action.shape[1], 1.0))
        edited = Edit(
            operation="convert",
            options={
                **source.options,
                **({"remarks": "; ".join(map(plain_text, remarks))} if remarks else {}),
                **{f"task {index}": plain_text(source.tasks[index].name) for index in chosen},
            },
            by=current_provenance(),
            sources=[
                SourceRecord(
                    name=plain_text(source.name), content_sha256=source.sha256, manifest=None, provenance=None
                )
            ],
        )
        name = dataset_name(target, template.name)
        write_root(aside, description(name, template, mixtures), UNKNOWN, edited=edited)
        check_valid(aside, target, source.name)
        if on_progress is not None:
            on_progress(len(chosen), len(chosen))
    store = open_store(target)
    return Conversion(
        store,
        [converted_task(source.tasks[index].name, task.record) for index, task in store.tasks.items()],
        list(map(plain_text, remarks)),
    )


def converted_task(name: str, record: TaskRecord) -> ConvertedTask:
    """The record of a dataset of this name that became a task."""
    return ConvertedTask(
        source=plain_text(name),
        task=record.index,
        split=record.split,
        episodes=record.episodes,
        transitions=record.transitions,
        mean_return=record.statistics.returns.mean,
    )


def check_valid(store: Path, target: Path | str, source: object) -> None:
    """Refuse a store that ``clwm validate`` would have findings for, before it is moved into place.

    Raises:
        DamagedDataError: there are findings; the first one is named.
    """
    for finding in validate(store):
        what = str(finding).replace(str(store), str(target))
        raise DamagedDataError(f"{source}: would not become a valid store: {what}")


def _in_pieces(arrays: TaskArrays) -> bool:
    """Whether rows hardly follow each other, though most episodes neither terminated nor were truncated."""
    ended = int((arrays.terminated | arrays.truncated).sum())
    return arrays.episodes > 1 and arrays.transitions < 1.5 * arrays.episodes and ended < arrays.episodes / 2


def _check_references(table: TaskTable, tasks: Collection[int]) -> None:
    """Refuse reference returns of some tasks only."""
    references = None if table.facts is None else table.facts.references
    if references is not None and (missing := [task for task in tasks if str(task) not in references]):
        raise NotFoundError(f"--references: says nothing about task {format_indices(missing)}")


def _template(source: Source, family: str, known: TaskFamily | None, facts: FamilyFacts | None) -> Manifest:
    declared = known.resolved() if isinstance(known, DeclaredFamily) else None
    if known is not None:
        facts = None if declared is not None else facts_of(known)
    return manifest_of(
        source.name,
        name="converted",
        family=family if known is None else known.name,
        declared_family=declared,
        description=plain_text(source.description),
        behaviours=[BehaviourEntry(policy="unknown", episodes=1)],
        authors=[plain_text(author) for author in source.authors],
        family_facts=facts,
    )
