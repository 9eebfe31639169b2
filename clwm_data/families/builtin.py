"""The families that clwm brings: importing this module registers them."""

from clwm_data.families import cheetah_vel, metaworld, point_robot

__all__ = ["cheetah_vel", "metaworld", "point_robot"]
