"""Collection: plan, roll out what is missing, and put each task into the store when it is complete."""

from __future__ import annotations

import errno
import json
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from clwm_data.collect.engine import Engine, run_segments
from clwm_data.collect.plan import Segment
from clwm_data.collect.task_collection import TaskCollection
from clwm_data.errors import ClwmError
from clwm_data.extras import require
from clwm_data.manifest import Manifest
from clwm_data.opening import open_store
from clwm_data.ranges import format_indices
from clwm_data.store.arrays import TaskArrays
from clwm_data.store.format import METADATA, STAGING, TASKS, Provenance, task_folder
from clwm_data.store.lock import locked
from clwm_data.store.provenance import current_provenance, simulator_differences
from clwm_data.store.reader import Store
from clwm_data.store.replacement import replace_store, undo_killed_replacement
from clwm_data.store.writer import write_root, write_task

#: Called with (episodes on disk, episodes that this collection needs in all, as far as is known by now).
Progress = Callable[[int, int], None]


def collect(
    manifest: Manifest,
    out: Path | str,
    *,
    tasks: Sequence[int] | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Collect a manifest's dataset into a store, continuing what an earlier call left.

    A task appears in the store when all its episodes are there. A process that is killed loses at most the
    segments that it was rolling out; the same call then resumes, to the same bytes.

    Args:
        manifest: what to collect.
        out: folder of the store; made if it does not exist.
        tasks: only these of the manifest's tasks; the others can be collected later.
        engine: ``local``: processes of this machine; ``ray``: a Ray cluster whose machines share ``out``.
        workers: how many roll out; by default one process, or as many as the cluster has CPUs. The result
            depends on neither.
        overwrite: collect anew; the old store is replaced once the new one is complete.
        progress: called after each finished segment.

    Raises:
        ClwmError: ``out`` holds something else, another process writes to it, a package is missing, a worker
            died, or the disk is full.
    """
    out = Path(out)
    manifest = manifest.resolved()
    chosen = _chosen_tasks(manifest, tasks)
    if workers is not None and workers < 1:
        raise ClwmError(f"workers must be at least 1, not {workers}")
    require("gymnasium", "sim", f"collecting {manifest.name}")
    if engine == "ray":
        require("ray", "ray", "--engine ray")
    undo_killed_replacement(out)
    target = _replacement(out) if overwrite and out.exists() else out
    if out.exists():
        _check_existing(out, None if overwrite else manifest)
        if overwrite and tasks is not None:
            _refuse_losing_tasks(out, chosen)
    if target != out and target.exists():
        _discard_unless_resumable(target, manifest)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with locked(target):
            _collect_into(target, manifest, chosen, engine, workers, progress)
            if target != out:
                with locked(out):
                    replace_store(out, target)
    except OSError as error:
        mend = "free space" if error.errno == errno.ENOSPC else "mend it"
        raise ClwmError(
            f"{error.filename or target}: {error.strerror or error}: {mend} and run the same command again; "
            "it resumes"
        ) from error
    return open_store(out)


def _collect_into(
    store: Path,
    manifest: Manifest,
    tasks: Sequence[int],
    engine: Engine,
    workers: int | None,
    progress: Progress | None,
) -> None:
    pending = [task for task in tasks if not (store / TASKS / task_folder(task) / METADATA).is_file()]
    provenance = _first_provenance(store)
    if pending and (differences := simulator_differences(provenance)):
        raise ClwmError(
            f"{store}: was begun with another simulator ({'; '.join(differences)}): go on where it is the "
            "same, choose another --out, or --overwrite it"
        )
    _remove_leftovers(store)
    write_root(store, manifest.published(), provenance)
    collections = {task: TaskCollection(store, manifest, task) for task in pending}
    done = 0

    def report() -> None:
        if progress is not None:
            progress(done, sum(collection.episodes for collection in collections.values()))

    def advance(collection: TaskCollection) -> list[Segment]:
        more = collection.plan()
        if not more:
            _assemble(store, manifest, collection)
            write_root(store, manifest.published(), provenance)
        return more

    queue = deque(segment for collection in collections.values() for segment in advance(collection))
    done = sum(collection.episodes for collection in collections.values()) - sum(s.episodes for s in queue)
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


def _chosen_tasks(manifest: Manifest, tasks: Sequence[int] | None) -> list[int]:
    listed = manifest.task_indices()
    for task in tasks or ():
        if task not in listed:
            raise ClwmError(f"manifest {manifest.name} has no task {task}")
    return sorted(set(listed if tasks is None else tasks))


def _check_existing(out: Path, manifest: Manifest | None) -> None:
    """Refuse to touch what is not a store, or to add to one that another manifest made."""
    if not out.is_dir():
        raise ClwmError(f"{out}: is a file: choose another --out")
    if not (out / METADATA).is_file():
        if any(path.name != STAGING for path in out.iterdir()):
            raise ClwmError(f"{out}: is a folder but not a store: choose another --out")
        return
    there = open_store(out)
    if manifest is not None and there.record.edited is not None:
        raise ClwmError(
            f"{out}: was made by {there.record.edited.operation}, no collection can continue it: "
            "choose another --out, or --overwrite it"
        )
    if manifest is not None and not there.manifest.same_data_as(manifest):
        raise ClwmError(
            f"{out}: was collected from a different manifest ({there.manifest.name}): "
            "choose another --out, or --overwrite it"
        )


def _refuse_losing_tasks(out: Path, chosen: Sequence[int]) -> None:
    """An overwritten store holds what was collected anew, and nothing else."""
    if not (out / METADATA).is_file():
        return
    lost = sorted(set(open_store(out).tasks) - set(chosen))
    if lost:
        raise ClwmError(
            f"{out}: --overwrite with --tasks would lose tasks {format_indices(lost)}: leave --tasks out, "
            "or choose another --out (`clwm merge` joins stores)"
        )


def _replacement(out: Path) -> Path:
    """Where a store that will replace ``out`` is collected: beside it, to be moved in one step."""
    return out.with_name(f".{out.name}.overwrite")


def _discard_unless_resumable(target: Path, manifest: Manifest) -> None:
    """An interrupted overwrite is continued if it was the same one, and dropped otherwise."""
    try:
        if open_store(target).manifest.same_data_as(manifest):
            return
    except ClwmError:
        pass
    with locked(target):
        shutil.rmtree(target)


def _first_provenance(store: Path) -> Provenance:
    if (store / METADATA).is_file():
        root = json.loads((store / METADATA).read_text(encoding="utf-8"))
        return Provenance.model_validate(root["attributes"]["provenance"])
    return current_provenance()


def _remove_leftovers(store: Path) -> None:
    """Remove what a killed process left: unfinished files, and segments of tasks that are complete."""
    staging = store / STAGING
    for pattern in ("*.partial", "*/*.partial"):
        for path in list(staging.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for group in (store / TASKS).glob(f"*/{METADATA}"):
        shutil.rmtree(staging / group.parent.name, ignore_errors=True)
