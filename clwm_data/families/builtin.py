"""The built-in families: name -> class and arguments; a class is imported when its family is first used."""

from __future__ import annotations

from clwm_data.families.metaworld.names import TASK_NAMES

_HERE = "clwm_data.families"

BUILTIN: dict[str, tuple[str, tuple[str, ...]]] = {
    "ant-dir": (f"{_HERE}.gymnasium_mujoco.ant:AntDir", ()),
    "ant-goal": (f"{_HERE}.gymnasium_mujoco.ant:AntGoal", ()),
    "cheetah-vel": (f"{_HERE}.gymnasium_mujoco.cheetah_vel:CheetahVel", ()),
    "cheetah-vel-sparse": (f"{_HERE}.gymnasium_mujoco.cheetah_vel_sparse:CheetahVelSparse", ()),
    "cheetah-dir": (f"{_HERE}.gymnasium_mujoco.cheetah_dir:CheetahDir", ()),
    "cheetah-wind": (f"{_HERE}.gymnasium_mujoco.cheetah_wind:CheetahWind", ()),
    "cheetah-speed": (f"{_HERE}.dm_control.cheetah:CheetahSpeed", ()),
    "cheetah-ls": (f"{_HERE}.dm_control.cheetah:CheetahLengthSpeed", ()),
    "finger-speed": (f"{_HERE}.dm_control.finger:FingerSpeed", ()),
    "finger-ls": (f"{_HERE}.dm_control.finger:FingerLengthSpeed", ()),
    "walker-speed": (f"{_HERE}.dm_control.walker:WalkerSpeed", ()),
    "walker-ls": (f"{_HERE}.dm_control.walker:WalkerLengthSpeed", ()),
    "hopper-mass": (f"{_HERE}.gymnasium_mujoco.hopper_walker:HopperMass", ()),
    "hopper-friction": (f"{_HERE}.gymnasium_mujoco.hopper_walker:HopperFriction", ()),
    "walker-mass": (f"{_HERE}.gymnasium_mujoco.hopper_walker:WalkerMass", ()),
    "walker-friction": (f"{_HERE}.gymnasium_mujoco.hopper_walker:WalkerFriction", ()),
    "hopper-param": (f"{_HERE}.gymnasium_mujoco.random_parameters:HopperParam", ()),
    "walker-param": (f"{_HERE}.gymnasium_mujoco.random_parameters:WalkerParam", ()),
    **{f"mw-{name}": (f"{_HERE}.metaworld.family:MetaWorld", (name,)) for name in TASK_NAMES},
    "ml10": (f"{_HERE}.metaworld.meta_learning:MetaLearning", ("ml10",)),
    "ml45": (f"{_HERE}.metaworld.meta_learning:MetaLearning", ("ml45",)),
    "point-robot": (f"{_HERE}.point_robot.family:PointRobot", ()),
    "point-robot-sparse": (f"{_HERE}.point_robot.open_field:PointRobotSparse", ()),
    "point-robot-wind": (f"{_HERE}.point_robot.open_field:PointRobotWind", ()),
}
