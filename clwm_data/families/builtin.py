"""The families that clwm brings: importing this module registers them."""

from clwm_data.families import ant, cheetah_vel, hopper_walker, metaworld, point_robot

__all__ = ["ant", "cheetah_vel", "hopper_walker", "metaworld", "point_robot"]
