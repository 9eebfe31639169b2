"""Meta-World's ML10 and ML45 (Yu et al. 2019): tasks of several benchmarks in one family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from types import MappingProxyType

from clwm_data.families.base import Parameters, ScriptedPolicy, Task, TaskFamily
from clwm_data.families.metaworld.family import GOALS, MetaWorld
from clwm_data.families.metaworld.goals import goal_vectors
from clwm_data.families.metaworld.names import ML10_TEST, ML10_TRAIN, ML45_TEST, ML45_TRAIN
from clwm_data.families.metaworld.simulator import OBSERVATION_SIZE, MetaWorldSimulator
from clwm_data.families.registry import get_family
from clwm_data.families.simulation.simulator import Simulator

BENCHMARKS = {"ml10": (ML10_TRAIN, ML10_TEST), "ml45": (ML45_TRAIN, ML45_TEST)}


class MetaLearning(TaskFamily):
    """The 50 goals of each benchmark of ML10 or ML45, benchmark by benchmark, those to train on first.

    Task 50 b + g is task g of the family ``mw-<name>`` of benchmark b, bit for bit. Of the benchmarks to
    train on, the first 40 goals are train tasks and the others id; all goals of those to test on are ood.

    Args:
        name: ``ml10`` or ``ml45``.
    """

    benchmark = "metaworld"
    observation_size = OBSERVATION_SIZE
    action_size = 4
    horizon = MetaWorld.horizon
    lanes = MetaWorld.lanes
    dynamics_vary = True
    has_success = True
    step_seconds = MetaWorld.step_seconds
    behaviours = MetaWorld.behaviours
    units = MappingProxyType({"object": "m", "goal": "m"})

    def __init__(self, name: str) -> None:
        train, test = BENCHMARKS[name]
        self.name = name
        self.summary = (
            f"a robot arm in {len(train)} tasks of Meta-World, and {len(test)} to test on; the task and its "
            "hidden goal vary"
        )
        self._names, self._trained_on = (*train, *test), len(train)

    def list_tasks(self) -> Iterable[Task]:
        """See the class; where the goal follows from the object, ``goal`` repeats ``object``."""
        for number, name in enumerate(self._names):
            for goal, vector in enumerate(goal_vectors(name).tolist()):
                places = {"object": tuple(vector[:3]), "goal": tuple(vector[-3:])}
                split = MetaWorld.split_of(goal) if number < self._trained_on else "ood"
                yield Task(GOALS * number + goal, split, {"benchmark": float(number), **places})

    def pair(self, index: int) -> tuple[MetaWorld, int]:
        """The family of a task's benchmark, and the number of its goal there."""
        family = get_family(f"mw-{self.group(index)}")
        assert isinstance(family, MetaWorld)
        return family, index % GOALS

    def group(self, task: int) -> str:
        """The name of a task's benchmark."""
        return self._names[self.task(task).index // GOALS]

    def conditioning_parameters(self, task: Task) -> Parameters:
        """The benchmark one-hot, since the order of benchmarks means nothing, and the places."""
        one_hot = [0.0] * len(self._names)
        one_hot[task.index // GOALS] = 1.0
        return {**task.parameters, "benchmark": tuple(one_hot)}

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """A loop over Meta-World's environments, in worker processes given several threads and lanes."""
        if threads > 1 and len(tasks) > 1:
            # Here, since whoever only asks for tasks needs no processes.
            from clwm_data.families.simulation.process_lanes import ProcessLanes

            return ProcessLanes(self.name, partial(_simulator, self.name), tasks, workers=threads)
        pairs = [self.pair(task) for task in tasks]
        return MetaWorldSimulator(tasks, [part.original(goal) for part, goal in pairs])

    def scripted_policy(self, task: int) -> ScriptedPolicy:
        """Meta-World's own script of the task's benchmark; see :meth:`MetaWorld.scripted_policy`."""
        part, goal = self.pair(task)
        return part.scripted_policy(goal)


def _simulator(family: str, tasks: Sequence[int]) -> Simulator:
    return get_family(family).make_simulator(tasks)
