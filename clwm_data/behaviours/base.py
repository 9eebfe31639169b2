"""Behaviour policies: deterministic, given noise that was drawn before the episode began."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviours.learned import LearnedBehaviour, deterministic
from clwm_data.behaviours.noise import Floats, NormalNoise, Observations
from clwm_data.behaviours.own import make_own_behaviour
from clwm_data.extras import require
from clwm_data.families.base import ScriptedPolicy, TaskFamily
from clwm_data.functions import is_code
from clwm_data.manifest import LEARNED, BehaviourEntry
from clwm_data.policy_file import MAKERS, file_sha256
from clwm_data.zoo.shipped import find_policies


class Behaviour(Protocol):
    """Acts for several lanes at once.

    All randomness of an episode is drawn from its own generator before it begins, so an episode does not
    depend on which others run beside it.
    """

    def draw(self, generator: np.random.Generator, lane: int = 0) -> Floats:
        """The noise [horizon, act] of one whole episode, which begins in a lane now."""

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """Actions [L, act] for observations [L, obs] and the noise of this step [L, act], not yet clipped."""


@runtime_checkable
class Observer(Protocol):
    """A behaviour that learns from what its actions lead to."""

    def observe(
        self,
        lane: int,
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        reward: float,
        following: NDArray[np.float32],
    ) -> None:
        """A step of a lane's episode: [obs], the executed action [act], its reward, the next [obs]."""


@runtime_checkable
class Ending(Protocol):
    """A behaviour that has to know in which lanes no episode is under way any more."""

    def end(self, lane: int) -> None:
        """The episode of a lane is over."""


class RandomBehaviour:
    """Uniform actions in [-1, 1]."""

    def __init__(self, family: TaskFamily) -> None:
        self._shape = (family.horizon, family.action_size)

    def draw(self, generator: np.random.Generator, lane: int = 0) -> Floats:
        """The actions themselves [horizon, act]."""
        return generator.uniform(-1.0, 1.0, self._shape)

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """The actions that were drawn [L, act]."""
        return noise


class NoisyBehaviour(NormalNoise):
    """A deterministic policy with Gaussian noise of a fixed standard deviation on its actions."""

    def __init__(self, family: TaskFamily, policy: ScriptedPolicy, noise: float) -> None:
        super().__init__(family, noise)
        self._policy = policy

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """The policy's actions plus noise [L, act]."""
        # Clipped before the noise is added: a saturated policy would otherwise hide the noise.
        return np.clip(self._policy(observation, privileged), -1.0, 1.0) + noise


def make_behaviour(family: TaskFamily, task: int, entry: BehaviourEntry) -> Behaviour:
    """The behaviour that an entry of a manifest's mixture describes, for one task.

    Raises:
        ClwmError: the family has no such behaviour, or its function cannot be used.
    """
    if entry.policy == "random":
        return RandomBehaviour(family)
    if entry.file is not None:
        return _of_file(family, task, entry)
    if is_code(entry.policy):
        return make_own_behaviour(family, task, entry)
    if entry.policy != LEARNED:
        return NoisyBehaviour(family, family.scripted_policy(task), entry.noise)
    policies = find_policies(family, entry.zoo, entry.checkpoint_quality, entry.sha256)
    policy = policies.for_task(task)
    if entry.deterministic:
        return NoisyBehaviour(family, deterministic(family, policy, task), entry.noise)
    return LearnedBehaviour(family, policy, task)


def _of_file(family: TaskFamily, task: int, entry: BehaviourEntry) -> Behaviour:
    """The behaviour of a policy that a file holds.

    Raises:
        ClwmError: the file is missing, is not the one of ``sha256``, or holds no policy for the family.
    """
    file_sha256(entry.policy, entry.file or "", entry.sha256)
    require("torch", "train", f"acting with {entry.file}")
    module, name = MAKERS[entry.policy].split(":")
    make: Callable[..., Behaviour] = getattr(import_module(module), name)
    return make(family, task, entry)
