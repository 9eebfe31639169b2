"""Finding a run by a folder, the name of one, or a trained agent on the Hub."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from clwm_data.errors import ConflictError, DamagedDataError, NotFoundError
from clwm_data.hub.reference import HubReference, is_address, looks_like_reference, parse_reference
from clwm_data.opening import RUNS, explaining_hub_errors, is_meant_as_path
from clwm_data.paths import real_path
from clwm_data.suggestions import suggestion
from clwm_train.runs.lock import run_lock
from clwm_train.runs.run import CHECKPOINTS, CONFIG, RECORD, Run, open_run

#: The files of a published run; nothing else is downloaded. (Importing these names would import torch.)
NEEDED_FILES = (CONFIG, RECORD)
EVALUATION_FILE = re.compile(r"evaluations/(step-[0-9]{9})-[0-9a-f]{8}\.json")
CHECKPOINT_FILE = re.compile(rf"{CHECKPOINTS}/(step-[0-9]{{9}})/(agent\.safetensors|checkpoint\.yaml)")
TENSORS = ".safetensors"
#: No text of a run is longer than this.
MAX_TEXT_BYTES = 10**7


def find_run(text: str | Path) -> Path:
    """The folder of a run; one on the Hub is downloaded into the cache.

    Args:
        text: as for :func:`locate_run`.

    Raises:
        NotFoundError: there is no such run.
        DamagedDataError: the repository holds no run, or differs from what was published.
        UnavailableError: the Hub cannot be reached, and the run was not downloaded before.
    """
    located = locate_run(text)
    if isinstance(located, Path):
        return located
    from clwm_data.hub.snapshot import cached_files  # the Hub's client takes half a second to import

    with explaining_hub_errors(located, str(text)):
        return cached_files(located, partial(_files_of_run, located))


def locate_run(text: str | Path, folder: Path | None = None) -> Path | HubReference:
    """The path or the repository that a text names; the Hub is not contacted.

    Args:
        text: a path, the name of a run in ``folder``, or an agent on the Hub: ``user/repo[@revision]``,
            ``hf://user/repo``. An existing path is never looked up on the Hub.
        folder: folder in which runs are found by name.

    Raises:
        NotFoundError: the text is a path that does not exist.
        InvalidInputError: the text is neither a path nor the name of an agent.
    """
    if isinstance(text, Path):  # Path has removed a slash of an address
        text = re.sub(r"^hf:/(?!/)", "hf://", str(text))
    if is_address(text):
        return parse_reference(text, "model")
    path = real_path(text)
    named = folder / text if folder is not None and Path(text).name == text else None
    if named is not None and (named / RECORD).is_file() and not (path / RECORD).is_file():
        return real_path(named)
    if path.exists():
        return path
    if named is not None and any(named.glob(f"*/{RECORD}")):
        return real_path(named)  # an experiment's folder, which is told there
    if looks_like_reference(text) and not is_meant_as_path(text):
        return parse_reference(text, "model")
    names = sorted(entry.parent.name for entry in (folder or path.parent).glob(f"*/{RECORD}"))
    hint = suggestion(path.name, names, "`clwm train` makes one")
    if folder is None and (RUNS / path.name / RECORD).is_file():
        hint = f"did you mean {(RUNS / path.name).as_posix()}?"
    raise NotFoundError(f"{text}: run does not exist: {hint}")


def run_at(run: Run | str | Path) -> Run:
    """A run, or the one at a path, or at ``user/repo[@revision]`` on the Hub.

    Raises:
        NotFoundError: there is no run.
    """
    return run if isinstance(run, Run) else open_run(find_run(run))


def pull_run(reference: HubReference, out: Path) -> str:
    """Download a trained agent from the Hub to its own folder.

    Args:
        reference: the repository.
        out: folder of the run.

    Returns:
        the commit that was downloaded.

    Raises:
        ConflictError: ``out`` exists, or another process works on it.
        ClwmError: as :func:`find_run`.
    """
    from clwm_data.hub.snapshot import download_files

    with run_lock(out):
        if out.exists():
            raise ConflictError(f"{out}: exists: choose another --out")
        return download_files(reference, partial(_files_of_run, reference), out)


def _files_of_run(reference: HubReference, sizes: Mapping[str, int]) -> Collection[str]:
    """Names of the files of the run and of its newest checkpoint, from a repository's file sizes."""
    for name in NEEDED_FILES:
        if name not in sizes:
            raise DamagedDataError(f"{reference}: is not a published run: it has no {name}")
    matches = [match for path in sizes if (match := CHECKPOINT_FILE.fullmatch(path))]
    if not matches:
        raise DamagedDataError(f"{reference}: holds no checkpoint: its upload is not complete")
    newest = max(match[1] for match in matches)
    files = [match[0] for match in matches if match[1] == newest]
    results = [match for path in sizes if (match := EVALUATION_FILE.fullmatch(path))]
    files += [*NEEDED_FILES, *(match[0] for match in results if match[1] == newest)]
    for name in files:
        if not name.endswith(TENSORS) and sizes[name] > MAX_TEXT_BYTES:
            raise DamagedDataError(f"{reference}/{name}: has {sizes[name]} bytes, more than {MAX_TEXT_BYTES}")
    return files
