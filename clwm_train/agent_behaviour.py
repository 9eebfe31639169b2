"""Agents of runs as behaviour policies that collect data, see :mod:`clwm_data.policy_file`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clwm_data.behaviours.noise import Floats, NormalNoise, Observations
from clwm_data.errors import InvalidInputError
from clwm_data.families.base import TaskFamily
from clwm_data.manifest import BehaviourEntry
from clwm_data.opening import open_store
from clwm_train.acting.adaptive import AdaptedPolicy, AdaptiveAgent
from clwm_train.acting.context import infer_from_data
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import open_run
from clwm_train.settings import CONTEXT_SIZE
from clwm_train.training.threads import cpu_threads


class AgentBehaviour(NormalNoise):
    """The first seed of a run's agent. It acts in one lane after another, so that its actions do not depend
    on the others' number.

    - ``zero-shot``: every episode begins with z = 0, and z is inferred from the episode so far;
    - ``few-shot``: z is inferred from transitions of the task in the store that the run learned from.
    """

    def __init__(self, family: TaskFamily, task: int, entry: BehaviourEntry) -> None:
        super().__init__(family, entry.noise)
        path = Path(entry.file or "")
        self._agent = _load(path, entry.sha256)
        sizes = self._agent.observation_size, self._agent.action_size
        if sizes != (family.observation_size, family.action_size):
            raise InvalidInputError(
                f"policy {path}: its observations and actions have {sizes[0]} and {sizes[1]} entries, those "
                f"of {family.name} {family.observation_size} and {family.action_size}"
            )
        self._deterministic = entry.deterministic
        self._few_shot = entry.adapted == "few-shot"
        self._z = _z(path, entry.sha256, task) if self._few_shot else self._agent.known_z([task])
        self._policies: dict[int, AdaptedPolicy] = {}
        self._draws: dict[int, list[NDArray[np.float32]]] = {}

    def draw(self, generator: np.random.Generator, lane: int = 0) -> Floats:
        """Noise of an episode [horizon, act], which begins; what the policy draws is drawn, too."""
        self._policies[lane] = AdaptedPolicy(self._agent, 0, self._z)
        size = 0 if self._deterministic else self._agent.policy.noise_size
        drawn = generator.standard_normal((self._shape[0], size)).astype(np.float32)
        self._draws[lane] = list(drawn[::-1])
        return super().draw(generator, lane)

    def act(self, observation: Observations, privileged: Floats | None, noise: Floats) -> Floats:
        """The agent's actions plus noise [L, act]."""
        actions = np.zeros(noise.shape)
        with cpu_threads(1):  # several would round differently from one machine to another
            for lane, policy in self._policies.items():
                if self._draws[lane]:  # else the lane has no episode any more
                    drawn = self._draws[lane].pop()
                    actions[lane] = policy.act(
                        observation[lane], noise=None if self._deterministic else drawn
                    )
        return actions + noise

    def observe(
        self,
        lane: int,
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        reward: float,
        following: NDArray[np.float32],
    ) -> None:
        """Learn from a step of a lane's episode what the task is."""
        if self._z is None:
            self._policies[lane].observe(observation, action, reward, following)


@lru_cache(maxsize=2)
def _load(path: Path, sha256: str | None) -> AdaptiveAgent:
    """The agent of a run; read again if its digest differs."""
    return load_agent(open_run(path))


@lru_cache(maxsize=1024)
def _z(path: Path, sha256: str | None, task: int) -> torch.Tensor:
    """z [S, 1, z] from the data of a task in the run's own store.

    Raises:
        NotFoundError: the store is not there any more, or does not hold the task.
    """
    store = open_store(open_run(path).record.store)
    return infer_from_data(_load(path, sha256), store[task], CONTEXT_SIZE, 0).unsqueeze(1)
