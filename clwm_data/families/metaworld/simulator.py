"""Lanes of Meta-World's own environments."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.metaworld.step import speed_up
from clwm_data.families.simulation.rendering import Camera, import_mujoco, render_model
from clwm_data.families.simulation.simulator import Simulator, StepResult
from clwm_data.memory import return_freed_memory

ACTION_REPEAT = 2
OBSERVATION_SIZE = 39
FRAME = 18  # entries of one of the two stacked frames of the observation

CAMERA = Camera(target=(0.0, 0.68, 0.14), distance=1.15, azimuth=150.0, elevation=-28.0)


class MetaWorldSimulator(Simulator):
    """One of Meta-World's own environments per lane, moved to another task by ``set_task`` and ``reset``.

    The task determines an episode's start, dynamics and reward, so the seeds of :meth:`reset` are not used.
    """

    def __init__(self, tasks: Sequence[int], originals: Sequence[tuple[Any, Any]]) -> None:
        """Build one environment per lane.

        Args:
            tasks: task index of each lane.
            originals: Meta-World's environment class and task of each lane.
        """
        self._mujoco = mujoco = import_mujoco("simulating Meta-World")
        self.tasks = np.asarray(tasks, np.int64)
        self._goals = [goal for _, goal in originals]
        self._envs = [environment() for environment, _ in originals]
        for env in self._envs:
            speed_up(env)
            env.max_path_length = sys.maxsize  # how long an episode may be is not for it to say
        self._ready = np.zeros(len(tasks), np.bool_)  # the environment has been set to the task of its lane
        self._observations = np.zeros((len(tasks), OBSERVATION_SIZE))
        self._never = np.zeros(len(tasks), np.bool_)
        self._target = np.zeros((len(tasks), 3))
        integration = mujoco.mjtState.mjSTATE_INTEGRATION
        self._state_sizes = [mujoco.mj_stateSize(env.model, integration) for env in self._envs]

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Move the arm and the objects of ``lanes`` to the start of their tasks."""
        for lane in lanes.tolist():
            self._reset(lane)

    def _reset(self, lane: int) -> None:
        env = self._envs[lane]
        env.set_task(self._goals[lane])
        self._observations[lane], _ = env.reset()
        self._target[lane] = env._target_pos
        self._ready[lane] = True

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """Repeat each action, sum the rewards; a success of any of the repeats counts."""
        reward, success = [0.0] * len(self._envs), [False] * len(self._envs)
        single = action.astype(np.float32)  # the type of Meta-World's own action space
        for lane, moves in enumerate(active.tolist()):
            if moves:
                step, chosen = self._envs[lane].step, single[lane]
                for _ in range(ACTION_REPEAT):
                    observation, gained, _, _, info = step(chosen)
                    reward[lane] += float(gained)
                    success[lane] |= bool(info["success"])
                self._observations[lane] = observation
        return StepResult(np.array(reward), self._never, np.array(success))

    def observe(self) -> NDArray[np.float64]:
        """Two stacked frames of gripper and objects, and zeros for the hidden goal [L, 39]."""
        return self._observations

    def privileged(self) -> NDArray[np.float64]:
        """The hidden goal positions [L, 3], in metres."""
        return self._target.copy()

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """MuJoCo's integration state, then the variables of Meta-World's Python code [state].

        These are the last observation, the frame that the next one is stacked on, and a reward margin that
        mw-bin-picking sets in the first step (-1 elsewhere). Everything else follows from the task.
        """
        if not self._ready[lane]:
            self._reset(lane)
        env = self._envs[lane]
        physics = np.empty(self._state_sizes[lane])
        self._mujoco.mj_getState(env.model, env.data, physics, self._mujoco.mjtState.mjSTATE_INTEGRATION)
        margin = getattr(env, "_target_to_obj_init", None)
        tail = [-1.0 if margin is None else margin]
        return np.concatenate([physics, self._observations[lane], env._prev_obs, tail])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Continue from a state of the lane's task."""
        if not self._ready[lane]:
            self._reset(lane)
        env = self._envs[lane]
        physics, observation, frame, margin = np.split(
            state, np.cumsum([self._state_sizes[lane], OBSERVATION_SIZE, FRAME])
        )
        self._mujoco.mj_setState(env.model, env.data, physics, self._mujoco.mjtState.mjSTATE_INTEGRATION)
        self._mujoco.mj_forward(env.model, env.data)
        env._prev_obs = frame.copy()
        if hasattr(env, "_target_to_obj_init"):
            env._target_to_obj_init = None if margin[0] < 0.0 else float(margin[0])
        self._observations[lane] = observation

    def render(self, lane: int) -> NDArray[np.uint8]:
        """The arm and the table from the side, with the goal as a ball (its own cameras are upside down)."""
        env = self._envs[lane]
        return render_model(env.model, env.data, camera=CAMERA)

    def close(self) -> None:
        """Close Meta-World's environments and free their models, of some 20 MB each, now.

        The environments refer to themselves: their memory would wait for Python's garbage collector, which
        does not know how large they are.
        """
        for env in self._envs:
            env.close()
            env.__dict__.clear()
        self._envs = []
        return_freed_memory()
