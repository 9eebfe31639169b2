"""Some files of a repository at a commit: for trained agents, which have no root as stores do."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

from huggingface_hub.hf_api import RepoFile

from clwm_data.cache import waiting_lock
from clwm_data.disk import disk_errors
from clwm_data.errors import DamagedDataError
from clwm_data.hub.client import read_file
from clwm_data.hub.download import download_file
from clwm_data.hub.memory import Memory
from clwm_data.hub.plan import remote_files
from clwm_data.hub.published import resolve_commit
from clwm_data.hub.reference import HubReference
from clwm_data.store.atomic import move_folder
from clwm_data.store.cached import ExpectedFile, is_sound
from clwm_data.store.digest import file_sha256

#: Given the size of every file in a repository, returns the names of those to download.
Choose = Callable[[Mapping[str, int]], Collection[str]]

#: How often a file is downloaded that does not arrive as it was published.
ATTEMPTS = 2


def cached_files(reference: HubReference, choose: Choose) -> Path:
    """A folder of the cache with chosen files of a repository.

    Raises:
        ClwmError: as ``choose``, or the files are not in the cache and cannot be downloaded.
    """
    commit = resolve_commit(reference)
    memory = Memory.of(reference)
    folder = memory.folder / "files" / commit
    if not _is_sound(memory, commit, folder):
        with waiting_lock(memory.folder / "lock", f"downloading {reference}"):
            if not _is_sound(memory, commit, folder):
                with disk_errors(folder, "it resumes"):
                    shutil.rmtree(folder, ignore_errors=True)
                    _download_to(reference, commit, choose, folder)
                memory.remember_contents(commit, {"files": _digests(folder)})
    return folder


def download_files(reference: HubReference, choose: Choose, folder: Path) -> str:
    """Download chosen files of a repository to a folder that does not exist yet.

    Returns:
        The commit that they belong to.

    Raises:
        ClwmError: as ``choose``, or they cannot be downloaded.
    """
    commit = resolve_commit(reference)
    with disk_errors(folder, "nothing was kept"):
        _download_to(reference, commit, choose, folder)
    return commit


def _download_to(reference: HubReference, commit: str, choose: Choose, folder: Path) -> None:
    files = remote_files(reference, commit)
    building = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(building, ignore_errors=True)
    try:
        for name in choose({path: file.size for path, file in files.items()}):
            _download(reference, commit, files[name], building)
        shutil.rmtree(building / ".cache", ignore_errors=True)  # files of the Hub's client
        move_folder(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _download(reference: HubReference, commit: str, file: RepoFile, folder: Path) -> None:
    name = PurePosixPath(file.path)
    if name.is_absolute() or ".." in name.parts:
        raise DamagedDataError(f"{reference}/{file.path}: its path leads out of the folder")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(ATTEMPTS):
        if file.lfs is None:
            text = read_file(reference, commit, file.path, file.size)
            target.write_bytes(text)
            git = hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False)
            sound = git.hexdigest() == file.blob_id
        else:
            digest = download_file(reference, commit, file.path, file.size, target, folder)
            sound = digest == file.lfs.sha256
        if sound:
            return
    raise DamagedDataError(
        f"{reference}/{file.path}: what arrives does not have the published digest: try again later"
    )


def _digests(folder: Path) -> dict[str, list[int | str]]:
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_sha256(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _is_sound(memory: Memory, commit: str, folder: Path) -> bool:
    files = memory.contents(commit).get("files")
    if not isinstance(files, dict) or not files:
        return False
    return all(is_sound(folder / name, ExpectedFile(*expected)) for name, expected in files.items())
