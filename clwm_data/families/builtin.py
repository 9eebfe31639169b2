"""The families that clwm brings: importing this module registers them."""

from clwm_data.families import (
    ant,
    cheetah_vel,
    dm_cheetah,
    dm_finger,
    dm_walker,
    hopper_walker,
    metaworld,
    point_robot,
)

__all__ = [
    "ant",
    "cheetah_vel",
    "dm_cheetah",
    "dm_finger",
    "dm_walker",
    "hopper_walker",
    "metaworld",
    "point_robot",
]
