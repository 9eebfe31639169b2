"""Contexts over Gymnasium's MuJoCo environments, stepped many at a time instead of one by one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import Task
from clwm_data.families.declared.declaration import MUJOCO_CONTEXT, FamilyDeclaration
from clwm_data.families.declared.seeds import folded
from clwm_data.families.gymnasium_mujoco.base import load_model
from clwm_data.families.gymnasium_mujoco.originals import ORIGINALS
from clwm_data.families.simulation.mujoco_context import apply_context
from clwm_data.families.simulation.simulator import Simulator, StepResult


def can_batch(declaration: FamilyDeclaration) -> bool:
    """Whether the environment is one of :data:`ORIGINALS` as it is, apart from its physical context."""
    return (
        declaration.apply == MUJOCO_CONTEXT
        and declaration.env in ORIGINALS
        and not declaration.arguments
        and declaration.success is None
    )


def batched_simulator(
    declaration: FamilyDeclaration, tasks: Sequence[Task], *, threads: int = 1, render_mode: str | None = None
) -> Simulator:
    """One model per task, all lanes side by side; the same bits as a loop over the environments.

    Raises:
        InvalidInputError: as :func:`apply_context`.
    """
    file, kind = ORIGINALS[declaration.env]
    base = load_model(file, family=declaration.name, render_mode=render_mode)
    models: dict[int, Any] = {}
    for task in tasks:
        if task.index not in models:
            models[task.index] = copy.copy(base)
            apply_context(models[task.index], task.parameters)
    indices = [task.index for task in tasks]
    return EpisodeStates(kind(indices, [models[index] for index in indices], threads=threads), base.nu)


class EpisodeStates(Simulator):
    """A simulator whose states are histories ``[seed, a_1, ..., a_t]``, as those of all declared families.

    Setting a state simulates its episode again.

    Args:
        simulator: steps the lanes; seed and actions determine an episode.
        action_size: entries of an action.
    """

    def __init__(self, simulator: Simulator, action_size: int) -> None:
        self._simulator, self._action_size = simulator, action_size
        self.tasks = simulator.tasks
        self._seed = np.zeros(len(self.tasks), np.int64)
        self._history: list[list[NDArray[np.float64]]] = [[] for _ in self.tasks]

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Start episodes; seeds are folded to 32 bits, as in families that step one by one."""
        short = [folded(seed) for seed in seeds]
        self._simulator.reset(lanes, short)
        for lane, seed in zip(lanes.tolist(), short, strict=True):
            self._seed[lane], self._history[lane] = seed, []

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """As the simulator's."""
        for lane in np.flatnonzero(active).tolist():
            self._history[lane].append(np.array(action[lane]))
        return self._simulator.step(action, active)

    def observe(self) -> NDArray[np.float64]:
        """As the simulator's."""
        return self._simulator.observe()

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """Seed and actions of the episode so far [1 + t act]."""
        return np.concatenate([[float(self._seed[lane])], *self._history[lane]])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Simulate the episode that a seed and actions define."""
        self.reset(np.array([lane]), [int(state[0])])
        alone = np.arange(len(self.tasks)) == lane
        for action in state[1:].reshape(-1, self._action_size):
            self.step(np.tile(action, (len(self.tasks), 1)), alone)

    def render(self, lane: int) -> NDArray[np.uint8]:
        """As the simulator's."""
        return self._simulator.render(lane)

    def close(self) -> None:
        """As the simulator's."""
        self._simulator.close()
