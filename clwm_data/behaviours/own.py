"""Policies that users wrote: functions that a manifest names.

``package.module:function`` is of one of two kinds, told apart by its parameters:

- ``function(task, generator)`` begins an episode and returns its policy, (observation [obs]) -> action [act],
  which may remember what it saw. All that is random in it comes from ``generator``.
- ``function(task)`` returns a policy for many episodes side by side, (observation [L, obs], noise [L, act])
  -> action [L, act], whose rows do not depend on each other; ``noise`` is standard normal, new in each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clwm_data.behaviours.noise import Floats, NormalNoise, Observations
from clwm_data.errors import ClwmError, InvalidInputError, UnavailableError
from clwm_data.families.base import TaskFamily
from clwm_data.functions import FOREIGN_ERRORS, find_function, in_short
from clwm_data.manifest import BehaviourEntry
from clwm_data.own_policy import takes_generator


class OwnBehaviour(NormalNoise):
    """What both kinds have in common."""

    def __init__(self, family: TaskFamily, task: int, entry: BehaviourEntry, noise: float) -> None:
        super().__init__(family, noise)
        self._where = f"policy {entry.policy}: task {task}"
        self._function = find_function(entry.policy, "policy")
        self._task = family.task(task)
        self._discrete = family.discrete
        #: Lanes with an episode: a user's function promises nothing for what comes after the end of one.
        self._running: set[int] = set()

    def draw(self, generator: np.random.Generator, lane: int = 0) -> Floats:
        """Noise of an episode [horizon, act], which begins in a lane now."""
        self._running.add(lane)
        return super().draw(generator, lane)

    def end(self, lane: int) -> None:
        """The episode of a lane is over."""
        self._running.discard(lane)

    def _called(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What code of others gives.

        Raises:
            UnavailableError: it raised an error.
        """
        try:
            return function(*arguments)
        except ClwmError:
            raise
        except FOREIGN_ERRORS as error:
            raise UnavailableError(f"{self._where}: {in_short(error)}") from error

    def _policy(self, *arguments: Any) -> Callable[..., Any]:
        policy = self._called(self._function, *arguments)
        if not callable(policy):
            raise InvalidInputError(
                f"{self._where}: gives a {type(policy).__name__}, not a policy to be called"
            )
        checked: Callable[..., Any] = policy
        return checked

    def _actions(self, actions: Any, shape: tuple[int, ...], running: Any = ...) -> Floats:
        """Checked actions; of rows without an episode, anything goes that has their shape."""
        try:
            array = np.asarray(actions, np.float64)
        except Exception as error:  # of whatever kind of array it is
            raise InvalidInputError(
                f"{self._where}: gives no numbers as an action: {in_short(error)}"
            ) from error
        if self._discrete and array.shape == shape[:-1]:
            array = self._one_hot(array, shape[-1], running)
        if array.shape != shape:
            raise InvalidInputError(
                f"{self._where}: gives actions of shape {list(array.shape)}, expected {list(shape)}"
            )
        if not np.isfinite(array[running]).all():
            raise InvalidInputError(f"{self._where}: gives an action that is not finite")
        return np.clip(np.nan_to_num(array), -1.0, 1.0)

    def _one_hot(self, numbers: Floats, count: int, running: Any) -> Floats:
        known = np.isin(numbers, range(count))
        wrong = numbers[running][~known[running]]
        if wrong.size:
            raise InvalidInputError(
                f"{self._where}: gives {wrong[0]:g} as an action, expected a whole number from 0 to "
                f"{count - 1}, or {count} numbers"
            )
        return np.eye(count)[np.where(known, numbers, 0.0).astype(np.int64)]


class EpisodeBehaviour(OwnBehaviour):
    """A policy per episode, with Gaussian noise of a fixed standard deviation on its actions."""

    def __init__(self, family: TaskFamily, task: int, entry: BehaviourEntry) -> None:
        super().__init__(family, task, entry, entry.noise)
        self._policies: dict[int, Callable[..., Any]] = {}

    def draw(self, generator: np.random.Generator, lane: int = 0) -> Floats:
        """Noise of an episode [horizon, act]; its policy begins."""
        noise = super().draw(generator, lane)
        self._policies[lane] = self._policy(self._task, generator)
        return noise

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """The policies' actions plus noise [L, act]."""
        actions = np.zeros(noise.shape)
        for lane in self._running:
            proposed = self._called(self._policies[lane], observation[lane].copy())
            actions[lane] = self._actions(proposed, noise.shape[1:])
        return actions + noise


class BatchedBehaviour(OwnBehaviour):
    """One policy for all lanes."""

    def __init__(self, family: TaskFamily, task: int, entry: BehaviourEntry) -> None:
        super().__init__(family, task, entry, 1.0)
        self._act = self._policy(self._task)

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """The policy's actions [L, act]."""
        actions = self._called(self._act, observation.copy(), noise.copy())
        return self._actions(actions, noise.shape, sorted(self._running))


def make_own_behaviour(
    family: TaskFamily, task: int, entry: BehaviourEntry
) -> EpisodeBehaviour | BatchedBehaviour:
    """The behaviour of a function.

    Raises:
        NotFoundError: there is no such function.
        InvalidInputError: it takes other parameters.
        UnavailableError: its module cannot be imported, or it raises an error.
    """
    if takes_generator(entry.policy):
        return EpisodeBehaviour(family, task, entry)
    return BatchedBehaviour(family, task, entry)
