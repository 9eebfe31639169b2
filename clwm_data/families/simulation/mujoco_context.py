"""Physical quantities of a MuJoCo model that a task may vary, by name.

| name | what it scales or sets | neutral value |
| --- | --- | --- |
| ``gravity`` | factor on gravity | 1 |
| ``mass`` | factor on all masses and inertias | 1 |
| ``friction`` | factor on all friction coefficients of geoms | 1 |
| ``damping`` | factor on the damping of all joints | 1 |
| ``actuator_strength`` | factor on the actuators' gear: force or torque per control | 1 |
| ``wind`` | (x, y) acceleration in m/s^2, or x alone: a force on each body in proportion to its mass | 0 |

The vocabulary is that of CARL (Benjamins et al. 2023, contextually adaptive RL).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clwm_data.errors import InvalidInputError
from clwm_data.families.simulation.rendering import import_mujoco

Value = float | tuple[float, ...]


def _gravity(model: Any, factor: float) -> None:
    model.opt.gravity[:] *= factor


def _mass(model: Any, factor: float) -> None:
    model.body_mass[:] *= factor
    model.body_inertia[:] *= factor


def _friction(model: Any, factor: float) -> None:
    model.geom_friction[:] *= factor


def _damping(model: Any, factor: float) -> None:
    model.dof_damping[:] *= factor


def _actuator_strength(model: Any, factor: float) -> None:
    model.actuator_gear[:] *= factor


#: Factors, none of which may be negative.
FACTORS: Mapping[str, Callable[[Any, float], None]] = {
    "gravity": _gravity,
    "mass": _mass,
    "friction": _friction,
    "damping": _damping,
    "actuator_strength": _actuator_strength,
}
WIND = "wind"


def apply_context(model: Any, context: Mapping[str, Value]) -> None:
    """Change a compiled ``MjModel`` in place; constants that MuJoCo derives from masses are recomputed.

    Raises:
        InvalidInputError: an unknown name, a factor that is negative or no number, a mass of 0, or a wind
            that is neither one number nor two.
    """
    for name, value in context.items():
        if name == WIND:
            continue
        if name not in FACTORS:
            raise InvalidInputError(
                f"mujoco-context knows no {name!r}; it knows: {', '.join((*FACTORS, WIND))}"
            )
        if (
            isinstance(value, tuple)
            or not np.isfinite(value)
            or value < 0.0
            or (name == "mass" and not value)
        ):
            raise InvalidInputError(f"mujoco-context: {name} is a factor above 0, not {value}")
        FACTORS[name](model, value)
    if WIND in context:  # after the factor on gravity, which must not scale it
        wind = np.atleast_1d(np.asarray(context[WIND], np.float64))
        if wind.shape not in ((1,), (2,)):
            raise InvalidInputError(f"mujoco-context: {WIND} is one number or two, not {context[WIND]}")
        # A constant force on every body in proportion to its mass is an addition to gravity.
        model.opt.gravity[: len(wind)] += wind
    if "mass" in context:
        mujoco = import_mujoco("simulating MuJoCo models")
        mujoco.mj_setConst(model, mujoco.MjData(model))


def apply_to_environment(env: Any, context: Mapping[str, Value]) -> None:
    """:func:`apply_context` for an environment over a MuJoCo model, such as Gymnasium's.

    Raises:
        InvalidInputError: as :func:`apply_context`, or the environment has no MuJoCo model.
    """
    model = getattr(env.unwrapped, "model", None)
    if model is None or not hasattr(model, "opt") or not hasattr(model, "body_mass"):
        raise InvalidInputError(f"mujoco-context: {env.unwrapped} has no MuJoCo model")
    apply_context(model, context)
