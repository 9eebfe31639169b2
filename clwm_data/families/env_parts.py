"""Shared by the single and the vector environment: spaces, checks, specification, copies (extra ``sim``)."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.families.base import TaskFamily
from clwm_data.families.gym_registration import ENTRY_POINT, environment_id
from clwm_data.families.own_family import is_ours

if TYPE_CHECKING:
    from clwm_data.families.simulation.simulator import Simulator

Observation = NDArray[np.float32]
Info = dict[str, Any]
ActionCheck = Callable[[Any], NDArray[np.float64]]

#: Frames per second of families whose simulation has no clock.
DEFAULT_FPS = 30


class ResetNeededError(InvalidInputError, gymnasium.error.ResetNeeded):
    """A step before the first reset, or after the end of an episode."""


def spaces(family: TaskFamily) -> tuple[Any, Any]:
    """Observation and action space of one environment."""
    return (
        gymnasium.spaces.Box(-np.inf, np.inf, (family.observation_size,), np.float32),
        gymnasium.spaces.Box(-1.0, 1.0, (family.action_size,), np.float32),
    )


def frames_per_second(family: TaskFamily) -> int:
    """Rate at which one picture per agent step shows the motion in real time."""
    return DEFAULT_FPS if family.step_seconds is None else round(1.0 / family.step_seconds)


def specification(family: TaskFamily, **kwargs: Any) -> EnvSpec:
    """The specification that Gymnasium's wrappers read, above all the horizon."""
    return EnvSpec(
        id=environment_id(family.name),
        entry_point=ENTRY_POINT,
        max_episode_steps=family.horizon,
        kwargs={"family": family.name, **kwargs},
    )


def action_check(family: TaskFamily, shape: tuple[int, ...]) -> ActionCheck:
    """A function that turns a user's actions into float64 in [-1, 1]; fast, since it runs at every step."""
    # Bounds of the full shape: NumPy takes longer to broadcast a number than to compare a few.
    low, high = np.full(shape, -1.0, np.float32), np.full(shape, 1.0, np.float32)

    def check(action: Any) -> NDArray[np.float64]:
        try:
            array = np.asarray(action, dtype=np.float32)  # actions are stored as float32: execute the same
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{family.name}: action is not an array of numbers of shape {shape}: {error}"
            ) from error
        if array.shape != shape:
            raise InvalidInputError(f"{family.name}: action has shape {array.shape}, expected {shape}")
        flat = array.ravel()
        # One call suffices if the sum of squares is finite; huge finite numbers need a second check.
        if not isfinite(flat.dot(flat)) and not np.isfinite(array).all():
            raise InvalidInputError(f"{family.name}: action holds a value that is not finite: {array}")
        bounded: NDArray[np.float64] = np.minimum(np.maximum(array, low), high).astype(np.float64)
        return bounded

    return check


def checked_state(family: TaskFamily, simulator: Simulator, lane: int, state: Any) -> NDArray[np.float64]:
    """A copy of what a user wants to restore as the state of a lane.

    Raises:
        InvalidInputError: it cannot be a state of the lane's task.
    """
    where = f"{family.name} task {simulator.tasks[lane]}"
    try:
        numbers = np.array(state, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{where}: a state is an array of numbers: {error}") from error
    if family.has_states and is_ours(family):
        expected = simulator.get_state(lane).shape
        if numbers.shape != expected:
            raise InvalidInputError(
                f"{where}: a state has shape {expected}, not {numbers.shape}: take one of get_state()"
            )
    return numbers


class Closed:
    """Stands for the simulator of an environment that was closed: whatever is asked of it is refused."""

    def __init__(self, family: TaskFamily) -> None:
        self._name = family.name

    def close(self) -> None:
        """Nothing is left to close."""

    def __getattr__(self, name: str) -> Any:
        raise InvalidInputError(f"{self._name}: the environment was closed: make another one")


class Copyable:
    """Pickling and deep copies of an environment: the simulator is rebuilt and its states are restored.

    Anything else that the simulator remembers is lost: the path shown in pictures, and the last step, which
    ``rewards_across`` refers to.
    """

    _simulator: Simulator
    _checked: ActionCheck
    family: TaskFamily
    _begun: NDArray[np.bool_]  # [L]: lanes that were reset at least once

    def _connect(self) -> None:
        """Build ``_simulator`` and ``_checked``."""
        raise NotImplementedError

    def _release(self) -> None:
        """Release the simulator."""
        self._simulator.close()
        self._simulator = Closed(self.family)  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        """All attributes but the simulator, and the state of each of its lanes."""
        attributes = {
            key: value for key, value in vars(self).items() if key not in ("_simulator", "_checked")
        }
        states = {int(lane): self._simulator.get_state(int(lane)) for lane in np.flatnonzero(self._begun)}
        return {**attributes, "_states": states}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        states = attributes.pop("_states")
        vars(self).update(attributes)
        self._connect()
        for lane, state in states.items():
            self._simulator.set_state(lane, state)
