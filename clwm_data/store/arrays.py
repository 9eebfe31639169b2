"""The arrays of one task, in memory.

Alignment, for a task with two episodes of 3 and 2 steps (N = 5 transitions, E = 2 episodes)::

    observation   o0 o1 o2 o3 | p0 p1 p2        [N + E]  one more row per episode than actions
    action        a0 a1 a2    | b0 b1           [N]
    reward        r0 r1 r2    | s0 s1           [N]      r0 belongs to (o0, a0, o1)
    row           0  1  2     | 3  4
    episode_start 0             3               [E]

The observation before transition ``row`` of episode ``e`` is ``observation[row + e]``, the one after it
``observation[row + e + 1]``: the next observation is never stored twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from clwm_data.pages.numbers import plural
from clwm_data.pages.shapes import shapes

T = TypeVar("T")


@dataclass(frozen=True)
class Episode:
    """One episode of n steps, as views into the arrays of its task.

    Attributes:
        observation: [n + 1, obs] float32.
        action: [n, act] float32, as executed, in [-1, 1].
        reward: [n] float32.
        terminated: [n] bool.
        truncated: [n] bool.
        success: [n] bool, or ``None`` where the family has no success.
        initial_state: [state] float64, the simulator's state after reset, or ``None`` where it is not known.
        seed: seed of the episode, from which everything random in it derives, or ``None``.
        behaviour: index into the task's mixture of behaviours.
        dense_reward: [n] float32, stored beside a sparse reward, or ``None`` where the family has none.
        discrete: actions are discrete; ``action`` holds them one-hot, stores hold their numbers.
    """

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    success: NDArray[np.bool_] | None
    initial_state: NDArray[np.float64] | None
    seed: int | None
    behaviour: int
    dense_reward: NDArray[np.float32] | None = None
    discrete: bool = False

    @property
    def stored_action(self) -> NDArray[np.float32] | NDArray[np.int64]:
        """[n] int64 numbers of discrete actions; else [n, act] float32."""
        return stored_action(self.action, self.discrete)

    def __repr__(self) -> str:
        ended = " and terminated" if self.terminated.any() else ""
        total = f"return {episode_return(self.reward):.4g}{ended}"
        return f"<Episode: {plural(len(self.reward), 'step')}, {total}; {shapes(self)}>"


@dataclass(frozen=True)
class TaskArrays:
    """All episodes of one task, one after another; the module's docstring draws the alignment.

    Attributes:
        observation: [N + E, obs] float32.
        action: [N, act] float32.
        reward: [N] float32.
        terminated: [N] bool.
        truncated: [N] bool.
        success: [N] bool, or ``None``.
        episode_start: [E] int64, first transition row of each episode.
        episode_length: [E] int64, transitions.
        episode_return: [E] float64, sum of the stored rewards.
        episode_seed: [E] uint64, or ``None``.
        episode_behaviour: [E] int16, index into the task's mixture of behaviours.
        episode_initial_state: [E, state] float64, or ``None``.
        dense_reward: [N] float32, or ``None``.
        discrete: actions are discrete; ``action`` holds them one-hot, stores hold their numbers.
    """

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    success: NDArray[np.bool_] | None
    episode_start: NDArray[np.int64]
    episode_length: NDArray[np.int64]
    episode_return: NDArray[np.float64]
    episode_seed: NDArray[np.uint64] | None
    episode_behaviour: NDArray[np.int16]
    episode_initial_state: NDArray[np.float64] | None
    dense_reward: NDArray[np.float32] | None = None
    discrete: bool = False

    @property
    def stored_action(self) -> NDArray[np.float32] | NDArray[np.int64]:
        """[N] int64 numbers of discrete actions; else [N, act] float32."""
        return stored_action(self.action, self.discrete)

    @property
    def episodes(self) -> int:
        """Number of episodes E."""
        return len(self.episode_length)

    @property
    def transitions(self) -> int:
        """Number of transitions N."""
        return len(self.reward)

    def __repr__(self) -> str:
        episodes, transitions = plural(self.episodes, "episode"), plural(self.transitions, "transition")
        return f"<TaskArrays: {episodes}, {transitions}; {shapes(self)}>"

    def observation_row(self) -> NDArray[np.int64]:
        """[N] row of the observation before each transition; the one after it is the next row."""
        episode = np.repeat(np.arange(self.episodes), self.episode_length)
        return np.arange(self.transitions) + episode

    def episode(self, index: int) -> Episode:
        """One episode as views.

        Raises:
            IndexError: no such episode.
        """
        start, length = int(self.episode_start[index]), int(self.episode_length[index])
        index %= self.episodes
        rows = slice(start, start + length)
        return Episode(
            observation=self.observation[start + index : start + index + length + 1],
            action=self.action[rows],
            reward=self.reward[rows],
            terminated=self.terminated[rows],
            truncated=self.truncated[rows],
            success=None if self.success is None else self.success[rows],
            initial_state=None if self.episode_initial_state is None else self.episode_initial_state[index],
            seed=None if self.episode_seed is None else int(self.episode_seed[index]),
            behaviour=int(self.episode_behaviour[index]),
            dense_reward=None if self.dense_reward is None else self.dense_reward[rows],
            discrete=self.discrete,
        )

    def __len__(self) -> int:
        return self.episodes

    def __getitem__(self, index: int) -> Episode:
        return self.episode(index)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(self.episodes))

    def named(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, as they are stored, in the order of the format; optional ones if they exist."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self) if field.name in DTYPES)
        arrays = {name: array for name, array in pairs if array is not None}
        return {**arrays, "action": self.stored_action}

    def sealed(self) -> dict[str, NDArray[Any]]:
        """What :meth:`unsealed` needs."""
        whole = {**self.named(), "action": self.action}
        return {**whole, "discrete": np.array(True)} if self.discrete else whole

    @staticmethod
    def unsealed(arrays: Mapping[str, NDArray[Any]]) -> TaskArrays:
        """The arrays that :meth:`sealed` gave."""
        values: dict[str, Any] = {name: arrays.get(name) for name in DTYPES}
        return TaskArrays(**values, discrete="discrete" in arrays)

    def take(self, episodes: Sequence[int]) -> TaskArrays:
        """Some episodes, in the order given.

        Raises:
            ValueError: no episodes.
        """
        return TaskArrays.from_episodes([self.episode(index) for index in episodes])

    @staticmethod
    def from_episodes(episodes: Sequence[Episode]) -> TaskArrays:
        """Lay episodes out one after another.

        Raises:
            ValueError: no episodes, or something that only some of them have.
        """
        if not episodes:
            raise ValueError("a task needs at least one episode")
        length = np.array([len(episode.reward) for episode in episodes], np.int64)
        success = _all_or_none([episode.success for episode in episodes])
        seed = _all_or_none([episode.seed for episode in episodes])
        state = _all_or_none([episode.initial_state for episode in episodes])
        dense = _all_or_none([episode.dense_reward for episode in episodes])
        if len({episode.discrete for episode in episodes}) > 1:
            raise ValueError("only some episodes have discrete actions")
        return TaskArrays(
            observation=np.concatenate([episode.observation for episode in episodes]),
            action=np.concatenate([episode.action for episode in episodes]),
            reward=np.concatenate([episode.reward for episode in episodes]),
            terminated=np.concatenate([episode.terminated for episode in episodes]),
            truncated=np.concatenate([episode.truncated for episode in episodes]),
            success=None if success is None else np.concatenate(success),
            episode_start=np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64),
            episode_length=length,
            episode_return=np.array([episode_return(episode.reward) for episode in episodes]),
            episode_seed=None if seed is None else np.array(seed, np.uint64),
            episode_behaviour=np.array([episode.behaviour for episode in episodes], np.int16),
            episode_initial_state=None if state is None else np.stack(state),
            dense_reward=None if dense is None else np.concatenate(dense),
            discrete=episodes[0].discrete,
        )


def stored_action(action: NDArray[np.float32], discrete: bool) -> NDArray[np.float32] | NDArray[np.int64]:
    """Actions as stores hold them: numbers [n] int64 of one-hot ones, others [n, act] as they are."""
    return np.argmax(action, axis=-1).astype(np.int64) if discrete else action


def one_hot(numbers: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Discrete actions [n, count] as networks see them, from their numbers [n]."""
    actions = np.zeros((len(numbers), count), np.float32)
    actions[np.arange(len(numbers)), numbers] = 1.0
    return actions


#: Stored type of every array; little-endian. Numbers of discrete actions are int64.
DTYPES: dict[str, DTypeLike] = {
    "observation": np.float32,
    "action": np.float32,
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "success": np.bool_,
    "episode_start": np.int64,
    "episode_length": np.int64,
    "episode_return": np.float64,
    "episode_seed": np.uint64,
    "episode_behaviour": np.int16,
    "episode_initial_state": np.float64,
    "dense_reward": np.float32,
}
_TRANSITION, _EPISODE = ("transition",), ("episode",)
#: Names of the dimensions of every array, as xarray expects them.
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "observation": ("observation_row", "observation_entry"),
    "action": ("transition", "action_entry"),
    **dict.fromkeys(("reward", "dense_reward", "terminated", "truncated", "success"), _TRANSITION),
    **dict.fromkeys(("episode_start", "episode_length", "episode_return"), _EPISODE),
    **dict.fromkeys(("episode_seed", "episode_behaviour"), _EPISODE),
    "episode_initial_state": ("episode", "state_entry"),
}
#: Arrays that a task holds only where their content is known.
OPTIONAL = frozenset({"success", "episode_seed", "episode_initial_state", "dense_reward"})


def episode_return(reward: NDArray[np.float32]) -> float:
    """Undiscounted return: the stored float32 rewards [T] added in float64."""
    return float(np.sum(reward, dtype=np.float64))


def _all_or_none(values: Sequence[T | None]) -> list[T] | None:
    known = [value for value in values if value is not None]
    if known and len(known) != len(values):
        raise ValueError(
            "only some of the episodes have a success, a seed, an initial state or a dense reward"
        )
    return known or None
