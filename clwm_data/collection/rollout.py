"""Rolling out a segment: many episodes at once, each independent of the others."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviours.base import Ending, Observer, make_behaviour
from clwm_data.collection.plan import Segment, noise_generator
from clwm_data.errors import InvalidInputError
from clwm_data.families import TaskFamily
from clwm_data.manifest import Manifest
from clwm_data.seeds import episode_seed
from clwm_data.store.arrays import Episode
from clwm_data.zoo.threads import single_threaded

if TYPE_CHECKING:
    from clwm_data.families.vector_env import TaskVectorEnv


@lru_cache(maxsize=1)
def _vector_env(family: TaskFamily, task: int, lanes: int) -> TaskVectorEnv:
    # Consecutive segments share a task: building its models for each could cost more than stepping them.
    return family.make_vec_env([task] * lanes)


class _Rollout:
    """A segment that is being rolled out: one episode per lane, the others wait for a free lane."""

    def __init__(self, manifest: Manifest, segment: Segment) -> None:
        family = manifest.task_family
        self._manifest = manifest
        self._segment = segment
        self._behaviour = make_behaviour(family, segment.task, manifest.behaviours[segment.behaviour])
        self._executed, self._discrete = family.executed, family.discrete
        lanes = min(segment.episodes, family.lanes)
        self._env = _vector_env(family, segment.task, lanes)
        self._waiting = list(range(segment.first_episode, segment.first_episode + segment.episodes))
        self._number = np.full(lanes, -1)  # episode of each lane; -1: none
        self._step = np.zeros(lanes, np.int64)
        self._state: list[NDArray[np.float64]] = [np.empty(0)] * lanes
        self._noise = np.zeros((lanes, family.horizon, family.action_size))
        self._observations = np.zeros((lanes, family.horizon + 1, family.observation_size), np.float32)
        self._following = self._observations[:, 1:]
        self._actions = np.zeros((lanes, family.horizon, family.action_size), np.float32)
        self._rewards = np.zeros((lanes, family.horizon), np.float32)
        self._successes = np.zeros((lanes, family.horizon), np.bool_) if family.has_success else None
        self._dense = np.zeros((lanes, family.horizon), np.float32) if family.has_dense_reward else None

    def run(self) -> list[Episode]:
        """All episodes of the segment, in order."""
        finished: dict[int, Episode] = {}
        observation, infos = self._start(np.arange(len(self._number)))
        while (lanes := np.flatnonzero(self._number >= 0)).size:
            at = self._at(lanes)
            noise = self._noise[at]
            if (
                noise.shape[:1] != self._number.shape
            ):  # the arrays also have rows for lanes without an episode
                noise = np.zeros_like(self._noise[:, 0])
                noise[lanes] = self._noise[at]
            proposed = self._behaviour.act(observation, infos.get("privileged"), noise)
            action = self._executed(np.clip(proposed, -1.0, 1.0).astype(np.float32))
            observation, reward, terminated, truncated, infos = self._env.step(action)
            self._actions[at] = action[at[0]]
            self._rewards[at] = reward[at[0]]
            self._following[at] = observation[at[0]]
            if isinstance(self._behaviour, Observer):
                self._show(self._behaviour, lanes, action, reward)
            if self._successes is not None:
                self._successes[at] = infos["success"][at[0]]
            if self._dense is not None:
                self._dense[at] = infos["dense_reward"][at[0]]
            self._step[lanes] += 1
            ended = lanes[(terminated | truncated)[lanes]]
            for lane in ended.tolist():
                finished[int(self._number[lane])] = self._episode(lane, bool(terminated[lane]))
                if isinstance(self._behaviour, Ending):
                    self._behaviour.end(lane)
            self._number[ended] = -1
            if ended.size and self._waiting:
                observation, infos = self._start(ended)
        return [finished[number] for number in sorted(finished)]

    def _show(
        self,
        observer: Observer,
        lanes: NDArray[np.int64],
        action: NDArray[np.float32],
        reward: NDArray[np.float64],
    ) -> None:
        """The steps that were taken, as they are stored."""
        for lane, step in zip(lanes.tolist(), self._step[lanes].tolist(), strict=True):
            before, after = self._observations[lane, step : step + 2]
            observer.observe(lane, before, action[lane], float(np.float32(reward[lane])), after)

    def _at(self, lanes: NDArray[np.int64]) -> tuple[Any, Any]:
        """Index of the present step of ``lanes`` in arrays [L, horizon, ...]; slices where possible."""
        step = self._step[lanes]
        if len(lanes) == len(self._number) and (step == step[0]).all():
            return slice(None), int(step[0])
        return lanes, step

    def _start(self, free: NDArray[np.int64]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin the next waiting episodes in free lanes."""
        lanes = free[: len(self._waiting)]
        seeds = [0] * len(self._number)
        for lane in lanes.tolist():
            number = self._waiting.pop(0)
            self._number[lane] = number
            seeds[lane] = self._seed(number)
            self._noise[lane] = self._behaviour.draw(noise_generator(seeds[lane]), lane)
        self._step[lanes] = 0
        mask = np.isin(np.arange(len(self._number)), lanes)
        observation, infos = self._env.reset(seed=seeds, options={"reset_mask": mask})
        self._observations[lanes, 0] = observation[lanes]
        for lane in lanes.tolist():
            self._state[lane] = self._env.get_state(lane)
        return observation, infos

    def _seed(self, number: int) -> int:
        return episode_seed(self._manifest.seed, self._manifest.family, self._segment.task, number)

    def _episode(self, lane: int, terminated: bool) -> Episode:
        length = int(self._step[lane])
        observation, reward = self._observations[lane, : length + 1], self._rewards[lane, :length]
        if not (np.isfinite(observation).all() and np.isfinite(reward).all()):
            where = f"{self._manifest.family} task {self._segment.task} episode {self._number[lane]}"
            raise InvalidInputError(
                f"{where}: the simulation gave a value that is not finite: leave out the task or the noise"
            )
        last = np.arange(length) == length - 1
        return Episode(
            observation=observation.copy(),
            action=self._actions[lane, :length].copy(),
            reward=reward.copy(),
            terminated=last & terminated,
            truncated=last & (not terminated),
            success=None if self._successes is None else self._successes[lane, :length].copy(),
            initial_state=self._state[lane],
            seed=self._seed(int(self._number[lane])),
            behaviour=self._segment.behaviour,
            dense_reward=None if self._dense is None else self._dense[lane, :length].copy(),
            discrete=self._discrete,
        )


def roll_out(manifest: Manifest, segment: Segment) -> list[Episode]:
    """The episodes of a segment, in order.

    Raises:
        MissingExtraError: the simulator is not installed.
        InvalidInputError: a behaviour gave an invalid action, or the simulation diverged.
    """
    # Numbers too large for float32 become infinite, which ends the episode with a line.
    with single_threaded(), np.errstate(over="ignore"):
        return _Rollout(manifest, segment).run()
