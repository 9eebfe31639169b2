"""The families that clwm brings: importing this module registers them."""

from clwm_data.families import metaworld, point_robot

__all__ = ["metaworld", "point_robot"]
