"""Meta-World's ML1 benchmarks (Yu et al. 2019; package metaworld 3.0): one family ``mw-<task>`` each.

The tasks of a family are the 50 train tasks of ``ML1(<task>-v3, seed=42)`` in their order. The goal is hidden
(``observation[36:39]`` is zero); scripted behaviours get it from :meth:`MetaWorldSimulator.privileged`.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.extras import require
from clwm_data.families.base import ScriptedPolicy, Split, Task, TaskFamily
from clwm_data.families.metaworld.goals import goal_vectors
from clwm_data.families.metaworld.simulator import OBSERVATION_SIZE, MetaWorldSimulator
from clwm_data.families.registry import get_family
from clwm_data.families.simulation.rendering import import_mujoco
from clwm_data.families.simulation.simulator import Simulator

GOALS, TRAIN_GOALS = 50, 40
GOAL = slice(36, 39)  # entries of the observation

#: Benchmarks whose tasks share one compiled model: only the start and the goal (the reward) differ. In the
#: others an object such as a door, button or drawer stands elsewhere, so the dynamics differ as well.
SHARED_DYNAMICS = frozenset(
    {
        *("bin-picking", "hand-insert", "hammer", "pick-place-wall", "pick-out-of-hole", "pick-place"),
        *("plate-slide-side", "plate-slide-back", "plate-slide-back-side", "stick-push", "stick-pull"),
        *("push", "push-wall", "push-back", "reach", "reach-wall", "sweep-into", "sweep"),
    }
)


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
        self._name, self._version = task_name, f"{task_name}-v3"

    def list_tasks(self) -> Iterable[Task]:
        """ML1's train tasks, by where ``object`` and ``goal`` are; the goal may follow from the object."""
        for index, vector in enumerate(goal_vectors(self._name).tolist()):
            parameters = {"object": tuple(vector[:3])}
            if len(vector) > 3:
                parameters["goal"] = tuple(vector[3:])
            yield Task(index, self.split_of(index), parameters)

    @staticmethod
    def split_of(goal: int) -> Split:
        """The last ten of the 50 goals are held out."""
        return "train" if goal < TRAIN_GOALS else "id"

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """A loop over Meta-World's environments, in worker processes given several threads and lanes."""
        if threads > 1 and len(tasks) > 1:
            # Here, since whoever only asks for tasks needs no processes.
            from clwm_data.families.simulation.process_lanes import ProcessLanes

            return ProcessLanes(self.name, partial(_simulator, self.name), tasks, workers=threads)
        return MetaWorldSimulator(tasks, [self.original(task) for task in tasks])

    def original(self, index: int) -> tuple[Any, Any]:
        """Meta-World's environment class and its task.

        Raises:
            MissingExtraError: metaworld is not installed.
        """
        import_mujoco(f"simulating {self.name}")
        metaworld = require("metaworld", "sim", f"simulating {self.name}")
        environment = metaworld.ALL_V3_ENVIRONMENTS[self._version]
        chosen = {"rand_vec": goal_vectors(self._name)[index], "env_cls": environment}
        data = pickle.dumps({**chosen, "partially_observable": True})  # as metaworld makes its tasks
        return environment, metaworld.Task(env_name=self._version, data=data)

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
