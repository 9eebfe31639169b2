"""Datasets for offline meta-reinforcement learning: collect, check, share and read them.

Importing this package needs neither torch nor a simulator; where Gymnasium is installed, the environments
``clwm/<family>-v0`` are registered with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from clwm_data.errors import ClwmError
from clwm_data.families.gym_registration import register_environments
from clwm_data.families.registry import family_names, get_family

if TYPE_CHECKING:
    from clwm_data.opening import open_store
    from clwm_data.store import Episode, Store, TaskArrays

register_environments()

__all__ = ["ClwmError", "Episode", "Store", "TaskArrays", "family_names", "get_family", "open_store"]

# Imported when first asked for: Zarr takes longer to import than all else here, and who wants an environment
# does not need it.
_LAZY = {
    "Episode": "store",
    "Store": "store",
    "TaskArrays": "store",
    "open_store": "opening",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
