"""Meta-World's ML1 benchmarks (Yu et al. 2019; package metaworld 3.0): one family ``mw-<task>`` each.

The tasks of a family are the 50 train tasks of ``ML1(<task>-v3, seed=42)`` in their order. The goal is hidden
(``observation[36:39]`` is zero); scripted behaviours get it from :meth:`MetaWorldSimulator.privileged`.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.extras import require
from clwm_data.families.base import ScriptedPolicy, Task, TaskFamily, splits_of
from clwm_data.families.metaworld.step import speed_up
from clwm_data.families.registry import get_family
from clwm_data.families.simulation.process_lanes import ProcessLanes
from clwm_data.families.simulation.rendering import Camera, import_mujoco, render_model
from clwm_data.families.simulation.simulator import Simulator, StepResult

GOALS = 50
SEED = 42
ACTION_REPEAT = 2
OBSERVATION_SIZE = 39
GOAL = slice(36, 39)  # entries of the observation
FRAME = 18  # entries of one of the two stacked frames of the observation

CAMERA = Camera(target=(0.0, 0.68, 0.14), distance=1.15, azimuth=150.0, elevation=-28.0)

#: Benchmarks whose tasks share one compiled model: only the start and the goal (the reward) differ. In the
#: others an object such as a door, button or drawer stands elsewhere, so the dynamics differ as well.
SHARED_DYNAMICS = frozenset(
    {
        *("bin-picking", "hand-insert", "hammer", "pick-place-wall", "pick-out-of-hole", "pick-place"),
        *("plate-slide-side", "plate-slide-back", "plate-slide-back-side", "stick-push", "stick-pull"),
        *("push", "push-wall", "push-back", "reach", "reach-wall", "sweep-into", "sweep"),
    }
)


class MetaWorldSimulator(Simulator):
    """One of Meta-World's own environments per lane, moved to another task by ``set_task`` and ``reset``.

    The task determines an episode's start, dynamics and reward, so the seeds of :meth:`reset` are not used.
    """

    def __init__(self, tasks: Sequence[int], environment: Any, goals: Sequence[Any]) -> None:
        """Build one environment per lane.

        Args:
            tasks: task index of each lane.
            environment: Meta-World's environment class.
            goals: Meta-World's tasks, by task index.
        """
        self._mujoco = mujoco = import_mujoco("simulating Meta-World")
        self.tasks = np.asarray(tasks, np.int64)
        self._goals = goals
        self._envs = [environment() for _ in tasks]
        for env in self._envs:
            speed_up(env)
        self._ready = np.zeros(len(tasks), np.bool_)  # the environment has been set to the task of its lane
        self._observations = np.zeros((len(tasks), OBSERVATION_SIZE))
        self._never = np.zeros(len(tasks), np.bool_)
        self._target = np.zeros((len(tasks), 3))
        self._state_size = mujoco.mj_stateSize(self._envs[0].model, mujoco.mjtState.mjSTATE_INTEGRATION)

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Move the arm and the objects of ``lanes`` to the start of their tasks."""
        for lane in lanes.tolist():
            self._reset(lane)

    def _reset(self, lane: int) -> None:
        env = self._envs[lane]
        env.set_task(self._goals[self.tasks[lane]])
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
        physics = np.empty(self._state_size)
        self._mujoco.mj_getState(env.model, env.data, physics, self._mujoco.mjtState.mjSTATE_INTEGRATION)
        margin = getattr(env, "_target_to_obj_init", None)
        tail = [-1.0 if margin is None else margin]
        return np.concatenate([physics, self._observations[lane], env._prev_obs, tail])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Continue from a state of the lane's task; Meta-World's step count starts anew."""
        if not self._ready[lane]:
            self._reset(lane)
        env = self._envs[lane]
        physics, observation, frame, margin = np.split(
            state, np.cumsum([self._state_size, OBSERVATION_SIZE, FRAME])
        )
        self._mujoco.mj_setState(env.model, env.data, physics, self._mujoco.mjtState.mjSTATE_INTEGRATION)
        self._mujoco.mj_forward(env.model, env.data)
        env._prev_obs = frame.copy()
        if hasattr(env, "_target_to_obj_init"):
            env._target_to_obj_init = None if margin[0] < 0.0 else float(margin[0])
        env.curr_path_length = 0
        self._observations[lane] = observation

    def render(self, lane: int) -> NDArray[np.uint8]:
        """The arm and the table from the side, with the goal as a ball (its own cameras are upside down)."""
        env = self._envs[lane]
        return render_model(env.model, env.data, camera=CAMERA)

    def close(self) -> None:
        """Close Meta-World's environments."""
        for env in self._envs:
            env.close()


class Placement(Mapping[str, tuple[float, ...]]):
    """The parameters of a task, read from metaworld on first access."""

    def __init__(self, family: MetaWorld, index: int) -> None:
        self._family, self._index = family, index

    @cached_property
    def _values(self) -> dict[str, tuple[float, ...]]:
        return self._family.placement(self._index)

    def __getitem__(self, key: str) -> tuple[float, ...]:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class MetaWorld(TaskFamily):
    """Meta-World ML1 of one manipulation task: the positions of the object and of the hidden goal vary."""

    benchmark = "metaworld"
    observation_size = OBSERVATION_SIZE
    action_size = 4
    horizon = 200
    lanes = 8  # more gain nothing: each steps on its own and takes 20 MB
    has_success = True
    step_seconds = 0.025
    behaviours = ("random", "scripted")
    units = MappingProxyType({"object": "m", "goal": "m"})

    def __init__(self, task_name: str) -> None:
        self.name = f"mw-{task_name}"
        self.summary = f"a robot arm in Meta-World's {task_name}; object and hidden goal vary"
        self.dynamics_vary = task_name not in SHARED_DYNAMICS
        self._version = f"{task_name}-v3"

    def list_tasks(self) -> Iterable[Task]:
        """ML1's train tasks; reading their parameters needs metaworld, listing them does not."""
        splits = splits_of(range(40), range(40, GOALS), ())
        return (Task(index, splits[index], Placement(self, index)) for index in range(GOALS))

    def placement(self, index: int) -> dict[str, tuple[float, ...]]:
        """Where a task places ``object`` and ``goal``, in metres; no goal if it follows from the object.

        Raises:
            MissingExtraError: metaworld is not installed.
        """
        # Safe to unpickle: metaworld pickled it in this process, when the benchmark was built.
        vector = pickle.loads(self._benchmark.train_tasks[index].data)["rand_vec"]
        named = zip(("object", "goal"), np.split(vector, len(vector) // 3), strict=False)
        return {name: tuple(float(x) for x in position) for name, position in named}

    @cached_property
    def _benchmark(self) -> Any:
        import_mujoco(f"simulating {self.name}")
        metaworld = require("metaworld", "sim", f"simulating {self.name}")
        return metaworld.ML1(self._version, seed=SEED)

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """A loop over Meta-World's environments, in worker processes given several threads and lanes."""
        if threads > 1 and len(tasks) > 1:
            return ProcessLanes(self.name, partial(_simulator, self.name), tasks, workers=threads)
        benchmark = self._benchmark
        return MetaWorldSimulator(tasks, benchmark.train_classes[self._version], benchmark.train_tasks)

    def scripted_policy(self, task: int) -> ScriptedPolicy:
        """Meta-World's own scripted policy; it sees the goal, which is hidden in stored observations.

        Raises:
            ClwmError: no such task.
            MissingExtraError: metaworld is not installed.
            ValueError: (when it acts) without the hidden goal.
        """
        self.task(task)
        policies = require("metaworld.policies", "sim", f"the scripted behaviour of {self.name}")
        # Its actions are meant to be clipped, yet metaworld warns about each of them.
        warnings.filterwarnings("ignore", r"Constant\(s\) may be too high", module=r"metaworld\.policies")
        policy = policies.ENV_POLICY_MAP[self._version]()

        def act(
            observation: NDArray[np.float32], privileged: NDArray[np.float64] | None
        ) -> NDArray[np.float64]:
            if privileged is None:
                raise ValueError(f"the scripted policy of {self.name} needs the hidden goal")
            seen = observation.astype(np.float64)
            seen[:, GOAL] = privileged
            return np.asarray([policy.get_action(row) for row in seen], np.float64)

        return act


def _simulator(family: str, tasks: Sequence[int]) -> Simulator:
    return get_family(family).make_simulator(tasks)
