"""Datasets for offline meta-reinforcement learning: collect, check, share and read them.

A store is a folder with the episodes of the tasks of one family::

    store = clwm_data.open_store("data/point-robot.zarr")
    for task in store:
        arrays = task.load()  # arrays.observation [N + E, obs], arrays.action [N, act], ...

``collect`` makes one from a manifest, ``Recorder`` from episodes of any environment and ``convert_from`` from
data in other formats; ``pull`` and ``open_store`` get one from the Hub, and ``push`` publishes one.
``validate`` checks it, ``select``, ``merge`` and ``relabel`` make new stores from it, and ``delete_episodes``
changes it. ``get_family`` gives the tasks and environments of a family. Every error is a ``ClwmError``.

Importing this package needs neither torch nor a simulator; where Gymnasium is installed, the environments
``clwm/<family>-v0`` are registered with it.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from clwm_data.errors import (
    ClwmError,
    ConflictError,
    DamagedDataError,
    DivergedError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from clwm_data.families.gym_registration import register_environments
from clwm_data.families.registry import family_names, register_family

if TYPE_CHECKING:
    from clwm_data.collection.collector import collect
    from clwm_data.convert.conversion import convert_from, convert_to
    from clwm_data.edit import delete_episodes, merge, relabel, select
    from clwm_data.families.base import Task, TaskFamily, splits_of
    from clwm_data.families.declared.reading import find_family as get_family
    from clwm_data.families.simulation.simulator import Simulator, StepResult
    from clwm_data.hub.pull import pull
    from clwm_data.hub.push import push
    from clwm_data.manifest import Manifest, load_manifest
    from clwm_data.opening import open_store
    from clwm_data.recording import Recorder, recover_recording
    from clwm_data.store import Episode, Store, StoredTask, TaskArrays
    from clwm_data.store.validate import validate

__version__ = version("clwm")

__all__ = [
    "ClwmError",
    "ConflictError",
    "DamagedDataError",
    "DivergedError",
    "Episode",
    "InvalidInputError",
    "Manifest",
    "NotFoundError",
    "Recorder",
    "Simulator",
    "StepResult",
    "Store",
    "StoredTask",
    "Task",
    "TaskArrays",
    "TaskFamily",
    "UnavailableError",
    "collect",
    "convert_from",
    "convert_to",
    "delete_episodes",
    "family_names",
    "get_family",
    "load_manifest",
    "merge",
    "open_store",
    "pull",
    "push",
    "recover_recording",
    "register_family",
    "relabel",
    "select",
    "splits_of",
    "validate",
]

# Imported when first asked for: an environment needs no Zarr, a store on disk needs no client of the Hub.
_LAZY = {
    "Episode": "store",
    "Manifest": "manifest",
    "Recorder": "recording",
    "Simulator": "families.simulation.simulator",
    "StepResult": "families.simulation.simulator",
    "Store": "store",
    "StoredTask": "store",
    "Task": "families.base",
    "TaskArrays": "store",
    "TaskFamily": "families.base",
    "collect": "collection.collector",
    "convert_from": "convert.conversion",
    "convert_to": "convert.conversion",
    "delete_episodes": "edit",
    "get_family": "families.declared.reading:find_family",  # which takes files, too
    "load_manifest": "manifest",
    "merge": "edit",
    "open_store": "opening",
    "pull": "hub.pull",
    "push": "hub.push",
    "recover_recording": "recording",
    "relabel": "edit",
    "select": "edit",
    "splits_of": "families.base",
    "validate": "store.validate",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Last: families of other packages are imported with it, which import names from here.
register_environments()
