"""Task families: sets of related MDPs, from their parameters to Gymnasium environments."""

from clwm_data.families.base import SPLITS, Split, Task, TaskFamily
from clwm_data.families.registry import family_names, get_family, is_family, register, register_family

__all__ = [
    "SPLITS",
    "Split",
    "Task",
    "TaskFamily",
    "family_names",
    "get_family",
    "is_family",
    "register",
    "register_family",
]
