"""The episodes of an evaluation, by protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from clwm_data.families import TaskFamily
from clwm_train.acting.actor import Actor, PolicyActor
from clwm_train.acting.belief import Belief, FixedBelief, RunningBelief
from clwm_train.acting.context import infer_tasks, make_prior
from clwm_train.acting.model_belief import ModelBelief, candidate_tasks
from clwm_train.acting.planner import MPPI
from clwm_train.config import Protocol
from clwm_train.data.task_data import DataTask
from clwm_train.evaluation.gathering import Gathering, gather_context
from clwm_train.evaluation.rollout import Episodes, roll_out
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.model.agent import Agent
from clwm_train.settings import EvaluationSettings

#: Number of random actions at the beginning of a non-prior context.
RANDOM_STEPS = 100


class Evaluator:
    """Runs the episodes of an evaluation: an actor, and how it comes to know its task.

    Args:
        agent: agent of S seeds.
        family: the task family.
        tasks: the data of those tasks that have any.
        settings: settings of the evaluation.
        threads: maximum number of threads of the simulator.

    Attributes:
        family: the task family.
        on_step: called after every step of all lanes.

    Raises:
        InvalidInputError: too few train tasks have data for the mean prior or for inference by the model; or
            a world model is needed, but the agent has none.
    """

    def __init__(
        self,
        agent: Agent,
        family: TaskFamily,
        tasks: Mapping[int, DataTask],
        settings: EvaluationSettings,
        threads: int,
    ) -> None:
        self._agent, self.family, self._tasks = agent, family, tasks
        self._settings, self._threads = settings, threads
        seed = settings.seed
        self._actor: Actor = (
            PolicyActor(agent, settings.noise) if settings.planner is None else MPPI(agent, settings.planner)
        )
        self._prior = make_prior(agent, tasks, settings.prior, settings.prior_weight, seed)
        #: [S, P, z] candidates, if the world model infers tasks.
        self._candidates = candidate_tasks(agent, tasks, seed) if settings.inference != "encoder" else None
        self.on_step: Callable[[], object] = lambda: None

    def episodes(self, protocol: Protocol, group: Sequence[int]) -> Episodes:
        """Episodes of some tasks: ``episodes`` lanes for each, one task after another."""
        settings = self._settings
        belief = self._adapted(protocol, group)
        lanes = [(index, number) for index in group for number in range(settings.episodes)]
        seeds = [derive(settings.seed, Purpose.EVALUATION, index, 1 + number) for index, number in lanes]
        return roll_out(
            self._actor,
            self.family,
            [index for index, _ in lanes],
            belief,
            seeds,
            threads=self._threads,
            on_step=self.on_step,
        )

    def _adapted(self, protocol: Protocol, group: Sequence[int]) -> Belief:
        """The agent's belief about the task of each lane when its episode begins."""
        settings = self._settings
        known = self._agent.known_z(group)
        if known is not None:
            return FixedBelief(known.repeat_interleave(settings.episodes, 1))
        match protocol:
            case "few-shot":
                z = infer_tasks(
                    self._agent,
                    [self._tasks[index] for index in group],
                    settings.context_size,
                    settings.seed,
                    self._prior,
                    behaviour=settings.context_behaviour,
                )
            case "online-context":
                z = self._gathered(group, random_steps=0, keep_prior=True)
            case "non-prior":
                z = self._gathered(group, random_steps=RANDOM_STEPS, keep_prior=False)
            case "zero-shot":
                lanes = [(index, 1 + number) for index in group for number in range(settings.episodes)]
                return self._new_belief(lanes)
        return FixedBelief(z.repeat_interleave(settings.episodes, 1))

    def _gathered(self, group: Sequence[int], *, random_steps: int, keep_prior: bool) -> Tensor:
        settings = self._settings
        return gather_context(
            self._actor,
            self.family,
            group,
            self._new_belief([(index, 0) for index in group]),
            Gathering(settings.context_size, random_steps, keep_prior, settings.seed),
            threads=self._threads,
            on_step=self.on_step,
        )

    def _new_belief(self, lanes: Sequence[tuple[int, int]]) -> Belief:
        """The belief of lanes: task and number of the episode, 0 for the gathering of contexts."""
        if self._candidates is None:
            return RunningBelief(self._agent, len(lanes), self._prior)
        seed = self._settings.seed
        draws = [np.random.default_rng(derive(seed, Purpose.CANDIDATES, *lane)).random() for lane in lanes]
        return ModelBelief(
            self._agent,
            len(lanes),
            self._candidates,
            self._prior,
            inference=self._settings.inference,
            uniform=draws,
        )


def group_tasks(chosen: Sequence[int], lanes: int, max_lanes: int) -> list[list[int]]:
    """The tasks in groups of nearly equal size that take at most ``max_lanes``, or one task each."""
    count = -(-len(chosen) // max(1, max_lanes // lanes))
    return [group.tolist() for group in np.array_split(np.asarray(chosen), count)]
