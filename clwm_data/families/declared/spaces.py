"""Translation of an environment's spaces to flat observations and actions in [-1, 1] (extra ``sim``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.yaml_values import shown


class Translation:
    """Flattens observations and turns vectors in [-1, 1] into the environment's actions.

    A Box action is scaled linearly from [-1, 1], and rounded where the box holds integers; a discrete action
    is the position of the largest entry.

    Attributes:
        observation_size: entries of the flattened observation.
        action_size: entries of the action, or number of discrete actions.
        discrete: actions are discrete.

    Raises:
        InvalidInputError: spaces that cannot be translated.
    """

    def __init__(self, observations: spaces.Space[Any], actions: spaces.Space[Any], where: str) -> None:
        """Between vectors and these spaces; ``where`` names their owner in messages."""
        self._observations, self._actions = observations, actions
        check_observations(observations, where)
        self.observation_size = int(spaces.flatdim(self._observations))
        self.discrete = isinstance(self._actions, spaces.Discrete)
        if isinstance(self._actions, spaces.Discrete):
            self.action_size = int(self._actions.n)
            return
        if not isinstance(self._actions, spaces.Box):
            raise InvalidInputError(
                f"{where}: actions are a {self._actions}: only Box and Discrete actions can be used: wrap "
                "the environment so that it takes one of these (gymnasium.ActionWrapper)"
            )
        self.action_size = int(np.prod(self._actions.shape, dtype=np.int64))
        low, high = (
            np.asarray(bound, np.float64).ravel() for bound in (self._actions.low, self._actions.high)
        )
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise InvalidInputError(
                f"{where}: actions are a {self._actions}: every entry needs finite bounds, the lower "
                "below the upper: give the environment a space with those that actions keep to "
                "(gymnasium.wrappers.TransformAction)"
            )
        self._low, self._high = low, high

    @property
    def sizes(self) -> tuple[int, int, bool]:
        """What an agent of one task needs to find in all others."""
        return self.observation_size, self.action_size, self.discrete

    def observation(self, observation: Any) -> NDArray[np.float64]:
        """Flattened [obs]."""
        return np.asarray(spaces.flatten(self._observations, observation), np.float64)

    @property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | int:
        """Lowest and highest value of each entry of a Box action, or the number of discrete actions."""
        return self.action_size if self.discrete else (self._low, self._high)

    def vector(self, action: Any) -> NDArray[np.float64]:
        """An action as the environment takes it, flattened [act] and not scaled; one-hot if discrete.

        Raises:
            InvalidInputError: it is none of the discrete actions.
        """
        space = self._actions
        if not isinstance(space, spaces.Discrete):
            return np.array(action, np.float64).ravel()
        number = int(action) - int(space.start)
        if not 0 <= number < self.action_size:
            raise InvalidInputError(f"action {action} is none of {space}")
        one_hot = np.zeros(self.action_size)
        one_hot[number] = 1.0
        return one_hot

    def action(self, action: NDArray[np.float64]) -> Any:
        """What the environment's ``step`` gets for an action [act] in [-1, 1]."""
        space = self._actions
        if isinstance(space, spaces.Discrete):
            return space.start + int(np.argmax(action))
        assert isinstance(space, spaces.Box)
        # A weighted sum of the bounds, so that -1 and 1 give them exactly.
        scaled = (1.0 - action) / 2.0 * self._low + (1.0 + action) / 2.0 * self._high
        if np.issubdtype(space.dtype, np.integer):
            scaled = np.rint(scaled)
        return np.clip(scaled.astype(space.dtype).reshape(space.shape), space.low, space.high)


def spaces_of(env: Any, where: str) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Observation and action space of an environment.

    Raises:
        InvalidInputError: it has none; ``where`` names its owner.
    """
    found = []
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, spaces.Space):
            raise InvalidInputError(
                f"{where}: {type(getattr(env, 'unwrapped', env)).__name__} has no {name}: set it to a space "
                "of Gymnasium's"
            )
        found.append(space)
    return found[0], found[1]


def check_observations(space: spaces.Space[Any], where: str) -> None:
    """Refuse observations that networks here cannot take.

    Raises:
        InvalidInputError: they do not flatten to an array, or hold pictures.
    """
    if not space.is_np_flattenable:
        raise InvalidInputError(
            f"{where}: observations are a {space}: only those that flatten to an array can be used (Box, "
            "Discrete, and Dict or Tuple of them)"
        )
    if _has_pictures(space):
        raise InvalidInputError(
            f"{where}: observations hold pictures ({space}): networks here take vectors; let the environment "
            "give states, or features of its pictures"
        )


def _has_pictures(space: spaces.Space[Any]) -> bool:
    """Whether a space is, or contains, pictures: bytes in rows and columns, or three dimensions."""
    if isinstance(space, spaces.Dict):
        return any(map(_has_pictures, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return any(map(_has_pictures, space.spaces))
    if not isinstance(space, spaces.Box):
        return False
    return len(space.shape) >= 3 or (len(space.shape) == 2 and space.dtype == np.uint8)


def reward_of(reward: Any, where: str) -> float:
    """The reward of a step, which may come as an array of one number.

    Raises:
        InvalidInputError: it is none; ``where`` names its step.
    """
    array = np.asarray(reward)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{where}: the reward is {shown(reward)}, expected a number")
    return float(array.reshape(-1)[0])


def success_of(success: Any, where: str) -> bool:
    """Whether a step succeeded, which may come as a number or as an array of one.

    Raises:
        InvalidInputError: it says neither yes nor no; ``where`` names its step.
    """
    array = np.asarray(False if success is None else success)
    if array.size != 1 or array.dtype.kind not in "fiub" or np.isnan(array).any():
        raise InvalidInputError(f"{where}: is {shown(success)}, expected one truth value")
    return bool(array.reshape(-1)[0])


def solved(info: Mapping[str, Any], key: str, where: str) -> bool:
    """Whether a step solved the task.

    Raises:
        InvalidInputError: ``info`` has no such key, or something else than yes or no.
    """
    if key not in info:
        raise InvalidInputError(
            f"{where}: success: info has no {key!r}; it has: {', '.join(map(str, info)) or 'nothing'}"
        )
    return success_of(info[key], f"{where}: {key}")
