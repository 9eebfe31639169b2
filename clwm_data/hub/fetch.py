"""Bringing the files of one task, each checked against its published digest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import huggingface_hub

from clwm_data.errors import ClwmError
from clwm_data.hub.client import call
from clwm_data.hub.published import PublishedStore
from clwm_data.store.digest import file_sha256
from clwm_data.store.format import METADATA, FileRecord, task_folder

#: Downloads at the same time, as many as the Hub's own client.
WORKERS = 8
#: Indentations with which clwm and zarr write JSON.
INDENTATIONS = (1, 2)


def task_files(published: PublishedStore, index: int) -> dict[str, FileRecord]:
    """Size and digest of every file of a task, by its path below the task's group.

    Raises:
        ClwmError: the repository lacks a file, or has it in another size than the store says.
    """
    prefix = published.task_path(index)
    record = published.records[index]
    group = FileRecord(
        bytes=published.sizes.get(f"{prefix}/{METADATA}", 0), sha256=published.root.record.tasks[str(index)]
    )
    files = {METADATA: group, **record.files}
    for path, file in files.items():
        size = published.sizes.get(f"{prefix}/{path}")
        if size is None:
            raise ClwmError(f"{published}/{prefix}/{path}: is missing: its upload is not complete")
        if size != file.bytes:
            raise ClwmError(
                f"{published}/{prefix}/{path}: has {size} bytes, the store says {file.bytes}: another upload "
                "is under way, or the repository was altered"
            )
    return files


def fetch_task(
    published: PublishedStore, index: int, staging: Path, arrived: Callable[[int], object]
) -> Path:
    """Have all files of a task in a folder of the staging folder, checked.

    Args:
        published: where from.
        index: of the task.
        staging: folder for unfinished downloads; what is there already and sound is not downloaded again.
        arrived: called with the size of every file when it is there.

    Returns:
        The folder, ready to become the task's group.

    Raises:
        ClwmError: a file cannot be had, or does not have its digest.
    """
    folder = staging / task_folder(index)

    def fetch(path: str, file: FileRecord) -> None:
        _fetch_file(published, index, path, file, folder / path, staging)
        arrived(file.bytes)

    files = task_files(published, index)
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(fetch, *item) for item in files.items()]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for future in futures:
        if not future.cancelled():
            future.result()
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    return folder


def is_sound(path: Path, file: FileRecord) -> bool:
    """Whether a file is there with the size and the digest that it must have."""
    return path.is_file() and path.stat().st_size == file.bytes and file_sha256(path) == file.sha256


def _fetch_file(
    published: PublishedStore, index: int, path: str, file: FileRecord, target: Path, staging: Path
) -> None:
    if is_sound(target, file):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    inside = f"{published.task_path(index)}/{path}"
    if _rebuild(published.root.nodes, inside, target, file):
        return
    for again in (False, True):
        downloaded = call(
            f"{published}/{inside}",
            huggingface_hub.hf_hub_download,
            published.reference.repository,
            f"{published.folder}/{inside}",
            revision=published.commit,
            repo_type=published.reference.kind,
            local_dir=staging / "hub",
            force_download=again,
            library_name="clwm",
        )
        if is_sound(Path(downloaded), file):
            Path(downloaded).replace(target)
            return
    raise ClwmError(
        f"{published}/{inside}: what arrives does not have the published digest: the repository or the "
        "connection alters it"
    )


def _rebuild(nodes: Mapping[str, Any], inside: str, target: Path, file: FileRecord) -> bool:
    """Write a metadata file from its copy in the root, if that gives the published bytes.

    Half of a task's files are such; the Hub counts requests.
    """
    folder, _, name = inside.rpartition("/")
    if name != METADATA or folder not in nodes:
        return False
    for indentation in INDENTATIONS:
        target.write_text(json.dumps(nodes[folder], indent=indentation), encoding="utf-8")
        if is_sound(target, file):
            return True
    target.unlink()
    return False
