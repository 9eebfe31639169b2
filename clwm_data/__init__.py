"""Datasets for offline meta-reinforcement learning: collect, check, share and read them.

Importing this package needs neither torch nor a simulator; where Gymnasium is installed, the environments
``clwm/<family>-v0`` are registered with it.
"""

from clwm_data.errors import ClwmError
from clwm_data.families.gym_registration import register_environments
from clwm_data.families.registry import family_names, get_family

register_environments()

__all__ = ["ClwmError", "family_names", "get_family"]
