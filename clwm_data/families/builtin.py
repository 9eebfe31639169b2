"""The families that clwm brings: importing this module registers them."""

from clwm_data.families import point_robot

__all__ = ["point_robot"]
