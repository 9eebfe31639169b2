"""Policies of Stable-Baselines3 (extra ``behaviour``) as behaviours.

Of a saved model only the policy is rebuilt, so its algorithm need not be named. Statistics of
``VecNormalize`` are not a part of that file: a model that was trained with them acts on wrong inputs.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from clwm_data.behaviours.noise import Floats, NormalNoise, Observations
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError
from clwm_data.extras import require
from clwm_data.families.base import TaskFamily
from clwm_data.functions import FOREIGN_ERRORS, in_short
from clwm_data.manifest import BehaviourEntry
from clwm_data.pages.numbers import plural


class Sb3Behaviour(NormalNoise):
    """A policy that acts in one lane after another: its actions do not depend on the number of lanes."""

    def __init__(self, family: TaskFamily, task: int, entry: BehaviourEntry) -> None:
        super().__init__(family, entry.noise)
        self._where = f"policy {entry.file}"
        self._policy = _load(Path(entry.file or ""), entry.sha256)
        self._deterministic = entry.deterministic
        #: Seed of each step of each lane's episode.
        self._seeds: dict[int, list[int]] = {}
        observation, action = self._policy.observation_space, self._policy.action_space
        size = gymnasium.spaces.flatdim(observation)
        if size != family.observation_size:
            raise InvalidInputError(
                f"{self._where}: takes observations of {plural(size, 'entry')}, {family.name} has "
                f"{family.observation_size}"
            )
        discrete = isinstance(action, gymnasium.spaces.Discrete)
        if not discrete and not isinstance(action, gymnasium.spaces.Box):
            raise InvalidInputError(f"{self._where}: gives actions of {action}, not of a Box or Discrete")
        if gymnasium.spaces.flatdim(action) != family.action_size or discrete != family.discrete:
            kind = "discrete actions" if family.discrete else "actions of"
            raise InvalidInputError(
                f"{self._where}: gives actions of {action}, {family.name} has {kind} {family.action_size}"
            )

    def draw(self, generator: np.random.Generator, lane: int = 0) -> Floats:
        """Noise of an episode [horizon, act]; its seeds are drawn, too."""
        self._seeds[lane] = generator.integers(2**31, size=self._shape[0]).tolist()[::-1]
        return super().draw(generator, lane)

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """The policy's actions plus noise [L, act]."""
        actions = np.zeros(noise.shape)
        # What this process draws elsewhere must not change.
        state, threads = np.random.get_state(), torch.get_num_threads()  # noqa: NPY002 (what policies use)
        torch.set_num_threads(1)  # several would round differently from one machine to another
        try:
            with torch.random.fork_rng(devices=[]):
                for lane, seeds in self._seeds.items():
                    if seeds:  # else the lane has no episode any more
                        actions[lane] = self._action(observation[lane], seeds.pop())
        finally:
            np.random.set_state(state)  # noqa: NPY002
            torch.set_num_threads(threads)
        return actions + noise

    def _action(self, observation: NDArray[np.float32], seed: int) -> Floats:
        """One action [act] in [-1, 1]."""
        space = self._policy.action_space
        if not self._deterministic:  # some policies draw with torch, some with NumPy
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
        given = gymnasium.spaces.unflatten(self._policy.observation_space, observation)
        try:
            action, _ = self._policy.predict(given, deterministic=self._deterministic)
        except FOREIGN_ERRORS as error:
            raise InvalidInputError(f"{self._where}: {in_short(error)}") from error
        if isinstance(space, gymnasium.spaces.Discrete):
            one_hot: Floats = np.eye(int(space.n))[int(action) - int(space.start)]
            return one_hot
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        return np.asarray((2.0 * (action - low) / (high - low) - 1.0).reshape(-1), np.float64)


@lru_cache(maxsize=4)
def _load(path: Path, sha256: str | None) -> Any:
    """The policy in a file of Stable-Baselines3; the file is read again if its digest differs.

    Raises:
        DamagedDataError: there is none in it.
        InvalidInputError: the policy is recurrent.
        MissingExtraError: Stable-Baselines3 is not installed.
    """
    require("stable_baselines3", "behaviour", f"acting with {path}")
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.save_util import load_from_zip_file

    try:
        loaded = load_from_zip_file(path, device="cpu")
        data, parameters = dict(loaded[0] or {}), loaded[1]
        kind = data["policy_class"]
        options = dict(data.get("policy_kwargs") or {})
        if issubclass(kind, ActorCriticPolicy):
            options["use_sde"] = data.get("use_sde", False)
        policy = kind(data["observation_space"], data["action_space"], lambda _: 0.0, **options)
        policy.load_state_dict(parameters["policy"])
        policy.set_training_mode(False)
    except ClwmError:
        raise
    except FOREIGN_ERRORS as error:  # a file of anything
        raise DamagedDataError(f"{path}: holds no policy of Stable-Baselines3: {in_short(error)}") from error
    if hasattr(policy, "lstm_actor"):
        raise InvalidInputError(f"{path}: is a recurrent policy: record it instead (`clwm_data.Recorder`)")
    return policy
