"""Datasets for offline meta-reinforcement learning: collect, check, share and read them.

Importing this package needs neither torch nor a simulator; where Gymnasium is installed, the environments
``clwm/<family>-v0`` are registered with it.
"""

from typing import TYPE_CHECKING, Any

from clwm_data.errors import ClwmError
from clwm_data.families.gym_registration import register_environments
from clwm_data.families.registry import family_names, get_family

if TYPE_CHECKING:
    from clwm_data.store import Episode, Store, TaskArrays, open_store

register_environments()

__all__ = ["ClwmError", "Episode", "Store", "TaskArrays", "family_names", "get_family", "open_store"]


def __getattr__(name: str) -> Any:
    # Zarr takes longer to import than all else here, and who wants an environment does not need it.
    if name in __all__:
        from clwm_data import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
