"""Collection: plan, roll out the missing episodes, and add each task to the store once it is complete."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clwm_data.bounded import read_bounded
from clwm_data.collection.engine import Engine, run_segments
from clwm_data.collection.plan import Segment
from clwm_data.collection.repeat import check_repeats
from clwm_data.collection.staging import is_unbegun
from clwm_data.collection.task_collection import TaskCollection
from clwm_data.disk import disk_errors
from clwm_data.errors import ClwmError, ConflictError, InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.manifest import Manifest, load_manifest
from clwm_data.opening import DATA, open_store
from clwm_data.paths import target_path
from clwm_data.progress import ProgressCallback
from clwm_data.ranges import IndexChoice, indices_of, task_list, whole
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.atomic import remove, remove_tree
from clwm_data.store.format import METADATA, STAGING, TASKS, Provenance, task_folder
from clwm_data.store.litter import carry_over, is_litter
from clwm_data.store.lock import locked
from clwm_data.store.provenance import current_provenance, simulator_differences
from clwm_data.store.reader import Store
from clwm_data.store.replacement import (
    beside,
    is_outdated,
    remove_if_empty,
    remove_replaced,
    replace_store,
    settle,
)
from clwm_data.store.root_writer import RootWriter
from clwm_data.store.writer import write_task


def collect(
    manifest: Manifest | Path | str,
    out: Path | str | None = None,
    *,
    tasks: IndexChoice | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    overwrite: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Store:
    """Collect a manifest's dataset into a store, continuing where an earlier call ended.

    A task appears in the store when all its episodes are there. A process that is killed loses at most the
    segments that it was rolling out; the same call then resumes, to the same bytes.

    Args:
        manifest: what to collect: a manifest, its file, or the name of one that ships with clwm.
        out: folder of the store, created if it does not exist; ``data/NAME.zarr`` unless given.
        tasks: only these of the manifest's tasks: their indices, one index, or text such as ``0-4,7``; the
            others can be collected later.
        engine: ``local``: processes of this machine; ``ray``: a Ray cluster whose machines share ``out``.
        workers: number of processes; by default one, or as many as the cluster has CPUs. The result does not
            depend on it or on the engine. Several are spawned: a script needs the usual ``if __name__ ==
            "__main__":``.
        overwrite: collect everything again; the old store is replaced once the new one is complete.
        on_progress: called after each finished segment with (episodes on disk, episodes needed in all).

    Raises:
        InvalidInputError: ``out`` cannot be the folder of a store, ``tasks`` are no such choice, or there is
            less than one worker.
        NotFoundError: a task that the manifest does not have.
        ConflictError: ``out`` holds something else, or another process writes to it.
        DamagedDataError: a segment that an earlier call left cannot be read.
        UnavailableError: a package is missing, a worker died, or the disk is full.
    """
    manifest = (manifest if isinstance(manifest, Manifest) else load_manifest(str(manifest))).resolved()
    target = target_path(DATA / f"{manifest.name}.zarr" if out is None else out)
    chosen = _chosen_tasks(manifest, tasks)
    if workers is not None and (whole(workers) or 0) < 1:
        raise InvalidInputError(f"workers: expected a whole number from 1 on, not {workers!r}")
    require("gymnasium", "sim", f"collecting {manifest.name}")
    if engine == "ray":
        require("ray", "ray", "--engine ray")
    with disk_errors(target, "it resumes"):
        settle(target)
        was_there = target.exists()
        if was_there:
            _check_existing(target, None if overwrite else manifest)
            if overwrite and tasks is not None:
                _refuse_losing_tasks(target, chosen)
        if overwrite and (target / METADATA).is_file():
            _overwrite(target, manifest, chosen, engine, workers, on_progress)
        else:
            try:
                with locked(target), _nothing_unbegun(target):
                    if (target / METADATA).is_file():  # another process may have begun it meanwhile
                        _check_existing(target, manifest)
                    _collect_into(target, manifest, chosen, engine, workers, on_progress)
            finally:
                if not was_there:
                    remove_if_empty(target)
    return open_store(target)


@contextmanager
def _nothing_unbegun(store: Path) -> Iterator[None]:
    """A block that collects. Where it fails before its first segment, it leaves no store, since neither a
    mended manifest nor another simulator could continue that."""
    try:
        yield
    except BaseException:
        if is_unbegun(store):
            (store / METADATA).unlink(missing_ok=True)
        raise


def _overwrite(
    store: Path,
    manifest: Manifest,
    tasks: Sequence[int],
    engine: Engine,
    workers: int | None,
    on_progress: ProgressCallback | None,
) -> None:
    """Collect beside a store, or continue to, and replace it."""
    replacement = beside(store, "overwrite")
    _discard_unless_resumable(replacement, manifest)
    with locked(replacement, name=str(store)) as new:
        _collect_into(replacement, manifest, tasks, engine, workers, on_progress)
        with locked(store) as old:
            remove_replaced(store)
            carry_over(store, replacement)
            replace_store(old, new)
    remove_if_empty(replacement)


def _collect_into(
    store: Path,
    manifest: Manifest,
    tasks: Sequence[int],
    engine: Engine,
    workers: int | None,
    on_progress: ProgressCallback | None,
) -> None:
    pending = [task for task in tasks if not (store / TASKS / task_folder(task) / METADATA).is_file()]
    provenance = _first_provenance(store)
    if pending and (differences := simulator_differences(provenance)):
        raise ConflictError(
            f"{store}: was begun with another simulator ({'; '.join(differences)}): continue where it is "
            "the same, choose another --out, or --overwrite it"
        )
    if pending:
        check_repeats(manifest, pending[0])
    _remove_leftovers(store)
    root = RootWriter(store, manifest.published(), provenance)
    collections = {task: TaskCollection(store, manifest, task) for task in pending}
    done = planned = 0  # episodes; running totals, because summing over thousands of tasks is slow

    def report() -> None:
        if on_progress is not None:
            on_progress(done, planned)

    def advance(collection: TaskCollection) -> list[Segment]:
        nonlocal planned
        before = collection.episodes
        more = collection.plan()
        planned += collection.episodes - before
        if not more:
            _assemble(store, manifest, collection)
            root.add(collection.task)
        return more

    with root.adding():
        queue = deque(segment for collection in collections.values() for segment in advance(collection))
        done = planned - sum(segment.episodes for segment in queue)
        report()
        for segment in run_segments(manifest, store, queue, engine, workers):
            collection = collections[segment.task]
            collection.missing.discard(segment)
            done += segment.episodes
            if not collection.missing:
                queue.extendleft(reversed(advance(collection)))
            report()


def _assemble(store: Path, manifest: Manifest, collection: TaskCollection) -> None:
    """Turn a task's segments into its group."""
    task = manifest.task_family.task(collection.task)
    arrays = TaskArrays.from_episodes(collection.load())
    write_task(store, task, manifest.published().behaviours, arrays, manifest.storage)
    shutil.rmtree(store / STAGING / task_folder(task.index))


def _chosen_tasks(manifest: Manifest, tasks: IndexChoice | None) -> list[int]:
    listed = manifest.task_indices()
    chosen = listed if tasks is None else indices_of(tasks, listed)
    for task in chosen:
        if task not in listed:
            raise NotFoundError(f"manifest {manifest.name} has no task {task}")
    return sorted(chosen)


def _check_existing(out: Path, manifest: Manifest | None) -> None:
    """Refuse a folder that is not a store, or a store that was collected from another manifest."""
    if not out.is_dir():
        raise ConflictError(f"{out}: is a file: choose another --out")
    if not (out / METADATA).is_file():
        if any(path.name != STAGING and not is_litter(path) for path in out.iterdir()):
            raise ConflictError(f"{out}: is a folder but not a store: choose another --out")
        return
    store = open_store(out)
    if manifest is None or is_unbegun(out):
        return
    if store.record.edited is not None:
        raise ConflictError(
            f"{out}: was made by {store.record.edited.operation}, no collection can continue it: "
            "choose another --out, or --overwrite it"
        )
    if not store.manifest.same_data_as(manifest):
        raise ConflictError(
            f"{out}: was collected from a different manifest ({store.manifest.name}): "
            "choose another --out, or --overwrite it"
        )


def _refuse_losing_tasks(out: Path, chosen: Sequence[int]) -> None:
    """Refuse an overwrite that would drop tasks: the new store holds only what is collected now."""
    if not (out / METADATA).is_file():
        return
    lost = sorted(set(open_store(out).tasks) - set(chosen))
    if lost:
        raise ConflictError(
            f"{out}: --overwrite with --tasks would lose {task_list(lost)}: leave --tasks out, "
            "or choose another --out (`clwm merge` joins stores)"
        )


def _discard_unless_resumable(replacement: Path, manifest: Manifest) -> None:
    """Keep an interrupted overwrite if it was of the same manifest and simulator; else discard it."""
    if not replacement.exists():
        return
    try:
        begun = open_store(replacement)
        same = begun.manifest.same_data_as(manifest) and not simulator_differences(begun.record.provenance)
        if same and not is_outdated(replacement):
            return
    except ClwmError:
        pass  # it has no root yet, or is damaged
    with locked(replacement):
        remove_tree(replacement)


def _first_provenance(store: Path) -> Provenance:
    if (store / METADATA).is_file() and not is_unbegun(store):
        root = json.loads(read_bounded(store / METADATA))
        return Provenance.model_validate(root["attributes"]["provenance"])
    return current_provenance()


def _remove_leftovers(store: Path) -> None:
    """Remove what a killed process left: unfinished files, and segments of tasks that are complete."""
    staging = store / STAGING
    for pattern in ("*.partial", "*/*.partial"):
        for path in list(staging.glob(pattern)):
            remove(path)
    for group in (store / TASKS).glob(f"*/{METADATA}"):
        shutil.rmtree(staging / group.parent.name, ignore_errors=True)
