"""Films of the episodes of an evaluation: the adapted agent on train, id and ood tasks beside each other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from clwm_data.errors import InvalidInputError
from clwm_data.families import SPLITS, TaskFamily
from clwm_data.families.provided import ProvidedFamily
from clwm_data.preview import Acted, Clip, check_drawable, clip_of_actions, typical_tasks
from clwm_data.ranges import format_indices
from clwm_data.store import Store
from clwm_train.config import Protocol
from clwm_train.evaluation.evaluator import Evaluator, group_tasks
from clwm_train.evaluation.rollout import Episodes
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run
from clwm_train.settings import DEFAULT_EXECUTION, EvaluationSettings


class Footage:
    """Remembers the first episode of some tasks while an agent is evaluated, and films it afterwards.

    The simulators of the evaluation draw nothing: each episode is simulated again, alone, from its seed with
    the actions that the agent took. So filming changes no result, and needs memory for one task at a time.

    Args:
        family: the task family.
        tasks: tasks to be filmed, in this order.
        row: position of the seed whose agent is filmed.

    Raises:
        NotFoundError: the family is known from its data alone.
        UnavailableError: pictures of the family cannot be made here.
    """

    def __init__(self, family: TaskFamily, tasks: Collection[int], row: int = 0) -> None:
        self._family, self._tasks, self._row = family, tasks, row
        self._acted: dict[Protocol, dict[int, Acted]] = {}
        if tasks:
            check_drawable(family, next(iter(tasks)))

    @property
    def protocols(self) -> list[Protocol]:
        """The protocols of which there are episodes."""
        return list(self._acted)

    def keep(self, protocol: Protocol, episodes: Episodes) -> None:
        """Remember episodes: ``on_episodes`` of :func:`~clwm_train.evaluation.protocols.evaluate`."""
        acted = self._acted.setdefault(protocol, {})
        for lane, (task, seed) in enumerate(zip(episodes.tasks, episodes.seeds, strict=True)):
            if task in self._tasks and task not in acted:
                steps = int(episodes.lengths[self._row, lane])
                acted[task] = Acted(
                    seed=seed,
                    actions=episodes.actions[self._row, lane, :steps].copy(),
                    observations=episodes.observations[self._row, lane, : steps + 1].copy(),
                    episode_return=float(episodes.returns[self._row, lane]),
                )

    def clips(
        self, protocol: Protocol, *, still: bool = False, on_progress: Callable[[], object] = lambda: None
    ) -> list[Clip]:
        """A clip of each task that was evaluated with a protocol.

        Args:
            protocol: the protocol.
            still: take only the picture at the end of each episode.
            on_progress: called after each clip.
        """
        acted = self._acted.get(protocol, {})
        clips = []
        for task in self._tasks:
            if task in acted:
                clips.append(clip_of_actions(self._family, task, acted[task], protocol, still=still))
                on_progress()
        return clips


def film_run(
    run: Run,
    store: Store | None,
    settings: EvaluationSettings,
    *,
    tasks: Collection[int] | None = None,
    checkpoint: Path | None = None,
    row: int = 0,
    still: bool = False,
    on_progress: Callable[[], object] = lambda: None,
) -> list[Clip]:
    """One episode of each task, acted by a run's agent; the first that `clwm eval` counts for the task.

    (Eight parameters: all but the first three are optional.)

    Args:
        run: the trained run.
        store: data for the contexts; ``None`` where none are needed, as in zero-shot.
        settings: how the agent adapts; of its protocols only the first.
        tasks: task indices; by default up to three of each split.
        checkpoint: a checkpoint of the run; the latest by default.
        row: position of the seed whose agent is filmed.
        still: take only the picture at the end of each episode.
        on_progress: called after each episode.

    Raises:
        InvalidInputError: the store is of another family, or a context is needed of a task without data.
        UnavailableError: pictures of the family cannot be made here.
        ClwmError: no such task, or the checkpoint is damaged.
    """
    family, protocol = run.task_family, settings.protocols[0]
    if settings.env is not None:
        family = ProvidedFamily(family, settings.env)
    family.require_gymnasium()
    if store is not None and store.family != family.name:
        raise InvalidInputError(
            f"{store.path}: holds tasks of {store.family}, the run's are of {family.name}"
        )
    data = {} if store is None else store.tasks
    with_data = list(data) if protocol == "few-shot" else None
    chosen = typical_tasks(family, with_data) if tasks is None else in_order_of_splits(family, tasks)
    missing = set(chosen) - set(data) if protocol == "few-shot" else ()
    if missing or not chosen:
        what = f"of task {format_indices(missing)} " if missing else ""
        raise InvalidInputError(
            f"few-shot: there is no data {what}to adapt to: name other tasks or --protocol zero-shot"
        )
    footage = Footage(family, chosen, row)
    agent = load_agent(run, checkpoint=checkpoint)
    evaluator = Evaluator(agent, family, data, settings.model_copy(update={"episodes": 1}), threads=1)
    for group in group_tasks(chosen, len(agent.seeds), DEFAULT_EXECUTION.lanes):
        footage.keep(protocol, evaluator.episodes(protocol, group))
    return footage.clips(protocol, still=still, on_progress=on_progress)


def in_order_of_splits(family: TaskFamily, tasks: Collection[int]) -> list[int]:
    """Tasks as a grid shows them: train, id, ood; within a split by their index.

    Raises:
        NotFoundError: no such task.
    """
    return sorted(tasks, key=lambda task: (SPLITS.index(family.task(task).split), task))
