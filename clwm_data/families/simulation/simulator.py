"""The simulator behind a family's environments: several lanes, each an independent episode of a task.

Each benchmark implements only this interface; Gymnasium's single and vector APIs, time limits, action checks
and frozen lanes are implemented once, in :mod:`clwm_data.families.envs` and
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
    """The result of one step of all lanes; callers must not write into the arrays, which may be shared.

    Attributes:
        reward: [L] float64.
        terminated: [L] bool; a time limit is not a termination.
        success: [L] bool, or ``None`` if the family has no notion of success.
        truncated: [L] bool: episodes that the simulator itself cuts off before the horizon; ``None`` if it
            never does.
        dense_reward: [L] float64: a reward that is stored beside a sparse one, for analysis; ``None`` if
            there is none.
    """

    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    success: NDArray[np.bool_] | None = None
    truncated: NDArray[np.bool_] | None = None
    dense_reward: NDArray[np.float64] | None = None


class Simulator(ABC):
    """L independent lanes. A lane's results must not depend on the other lanes in a single bit.

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
            active: [L] bool; the other lanes' results are ignored, and they need not step.
        """

    @abstractmethod
    def observe(self) -> NDArray[np.float64]:
        """Observations [L, obs]; the next step may overwrite this array: copy it to keep it."""

    @abstractmethod
    def get_state(self, lane: int) -> NDArray[np.float64]:
        """Full state of a lane [state]; after restoring it, the same actions give the same bits."""

    @abstractmethod
    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Restore a state that :meth:`get_state` returned for a lane of the same task."""

    def privileged(self) -> NDArray[np.float64] | None:
        """Inputs [L, p] of scripted behaviours beyond the observation, e.g. a hidden goal; or ``None``."""
        return None

    def rewards_across(self) -> NDArray[np.float64] | None:
        """The reward that the last step of each lane would have received in the tasks of the others.

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
