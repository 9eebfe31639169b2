"""Finding the store or the run that a user names: a path, a name under data/ or runs/, or a published one.

Stores are imported where they are needed: the options of a command that finds one are shown without them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clwm_data.errors import ClwmError, NotFoundError
from clwm_data.hub.reference import is_address
from clwm_data.paths import store_file

from .transfers import bytes_bar, quiet_hub

if TYPE_CHECKING:
    from clwm_data.store import Store
    from clwm_train.runs.run import Run


def default_store(name: str) -> Path:
    """The default path of a dataset's store."""
    from clwm_data.opening import DATA

    return DATA / store_file(name)


def find_store(text: str) -> Path:
    """The folder of the store that a user means; one that is published is downloaded into the cache.

    Raises:
        ClwmError: there is none, or it cannot be downloaded.
    """
    from clwm_data.opening import DATA, download_located, locate

    located = locate(text, DATA)
    if isinstance(located, Path):
        return located
    quiet_hub()
    with bytes_bar(f"downloading {text}") as on_progress:
        return download_located(located, text, on_progress)


def find_local_store(text: str) -> Path:
    """The store that a user wants to change or to publish: a path, or the name of one under ``data/``.

    Raises:
        NotFoundError: there is none.
    """
    from clwm_data.opening import DATA, locate_here

    return locate_here(text, DATA)


def look_at_store(text: str) -> Store:
    """The store that a user means; of a published one only the metadata is downloaded.

    Raises:
        ClwmError: there is no such store.
    """
    from clwm_data.opening import DATA, locate, open_located

    located = locate(text, DATA)
    if not isinstance(located, Path):
        quiet_hub()
    return open_located(located, text)


def find_run(text: str) -> Path:
    """The folder of the run that a user means: a path, the name of one under ``runs/``, or a published one.

    Raises:
        ClwmError: there is none, or it cannot be downloaded.
    """
    from clwm_data.opening import RUNS
    from clwm_train.runs import finding

    located = finding.locate_run(text, RUNS)
    if isinstance(located, Path):
        return located
    quiet_hub()
    return finding.find_run(text)


def local_run(text: str) -> Path | None:
    """The folder of the run on this machine that a text names: a path, or a name under ``runs/`` that is not
    that of a store as well; ``None`` if it names none."""
    from clwm_data.mistaken import MARKS
    from clwm_data.opening import RUNS
    from clwm_data.paths import expand_home

    path, (mark, _) = expand_home(text), MARKS["run"]
    if (path / mark).is_file():
        return path
    named = RUNS / text
    is_name = path.name == text and not path.exists() and not default_store(text).exists()
    return named if is_name and (named / mark).is_file() else None


def is_own(text: str) -> bool:
    """Whether the run that a user means is one of their own, not a cached download."""
    from clwm_data.opening import RUNS
    from clwm_train.runs.finding import locate_run

    return isinstance(locate_run(text, RUNS), Path)


def is_run(text: str) -> bool:
    """Whether a text names a run rather than a store: here, or on the Hub, which is then asked.

    Text that could name a dataset or an agent on the Hub names the dataset if there is one.
    """
    from clwm_data.opening import RUNS
    from clwm_train.runs.finding import locate_run
    from clwm_train.runs.run import RECORD

    try:
        located = locate_run(text, RUNS)
    except ClwmError:
        return False
    if isinstance(located, Path):
        return (located / RECORD).is_file()
    if is_address(text):
        return True
    try:
        look_at_store(text)
    except NotFoundError:
        return True
    return False


def store_of_run(run: Run, given: str | None) -> Path:
    """The store of a run's data: the one given, the one it was trained on, or the published one.

    Raises:
        NotFoundError: none of these exists.
    """
    if given is not None:
        return find_store(given)
    path = Path(run.record.store)
    if path.is_absolute() and path.exists():
        return path
    origin = run.record.origin
    if origin is None:
        what = f"is no longer at {path}" if path.is_absolute() else f"({path}) was not published with it"
        raise NotFoundError(f"{run.path}: its data {what}: say where it is with --store")
    return find_store(f"hf://datasets/{origin.repository}@{origin.revision}/{origin.store}")
