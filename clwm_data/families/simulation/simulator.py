"""The simulator behind a family's environments: several lanes, each an independent episode of a task.

Only this interface is written per benchmark; Gymnasium's single and vector APIs, time limits, action
checks and frozen lanes are added around it once, in :mod:`clwm_data.families.envs` and
:mod:`clwm_data.families.vector_env`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class StepResult:
    """What one step of all lanes gave; callers do not write into the arrays, which may be shared.

    Attributes:
        reward: [L] float64.
        terminated: [L] bool; a time limit is not a termination.
        success: [L] bool, or ``None`` where the family has no notion of success.
        truncated: [L] bool: episodes that the simulator cuts off by itself before the horizon; ``None``
            where it never does.
        dense_reward: [L] float64: a reward that is stored beside a sparse one, for analysis; ``None`` where
            there is none.
    """

    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    success: NDArray[np.bool_] | None = None
    truncated: NDArray[np.bool_] | None = None
    dense_reward: NDArray[np.float64] | None = None


class Simulator(ABC):
    """L independent lanes. Nothing a lane does may depend on the other lanes, bit for bit.

    Attributes:
        tasks: [L] task index of each lane.
    """

    tasks: NDArray[np.int64]

    @abstractmethod
    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Start a new episode in ``lanes`` [n]; lane ``lanes[i]`` draws only from ``seeds[i]``."""

    @abstractmethod
    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """One agent step.

        Args:
            action: [L, act], finite, within [-1, 1].
            active: [L]; what happens in the other lanes is ignored, and they may be left where they are.
        """

    @abstractmethod
    def observe(self) -> NDArray[np.float64]:
        """Observations [L, obs]; the next step may write into this array: whoever keeps it copies it."""

    @abstractmethod
    def get_state(self, lane: int) -> NDArray[np.float64]:
        """Full state of a lane [state]; from it the same actions give the same bits."""

    @abstractmethod
    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Restore what :meth:`get_state` gave for a lane of the same task."""

    def privileged(self) -> NDArray[np.float64] | None:
        """What scripted behaviours may see beyond the observation [L, p], e.g. a hidden goal; or ``None``."""
        return None

    def rewards_across(self) -> NDArray[np.float64] | None:
        """What the last step of each lane would have earned in the tasks of the others.

        Returns:
            [L, L]: entry [i, j] for the step of lane i and the task of lane j, NaN where their dynamics
            differ; ``None`` where the simulator cannot tell.
        """
        return None

    def render(self, lane: int) -> NDArray[np.uint8]:
        """An RGB picture [height, width, 3] of a lane.

        Raises:
            ClwmError: no rendering backend works here.
            NotImplementedError: this simulator has no pictures.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot render")

    def close(self) -> None:  # noqa: B027 (most simulators hold nothing)
        """Release what the simulator holds; it is not used again."""
