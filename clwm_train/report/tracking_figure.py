"""The figure of an agent whose tasks have a target quantity, such as a speed: reached against target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.families import SPLITS, TaskFamily
from clwm_data.pages.charts import Chart, LegendEntry
from clwm_data.pages.numbers import number
from clwm_data.pages.panels import Axis, Panel, span
from clwm_data.pages.svg import Shape
from clwm_data.pages.task_axis import parameter_title
from clwm_train.data.task_data import DataTask
from clwm_train.evaluation import FixedBelief, PolicyActor, infer_tasks, roll_out
from clwm_train.model.agent import Agent
from clwm_train.settings import CONTEXT_SIZE

SHAPES: dict[str, Shape] = {"train": "dot", "id": "square", "ood": "triangle"}
WIDTH, HEIGHT = 460.0, 340.0


def reached_by(
    agent: Agent, family: TaskFamily, tasks: Mapping[int, DataTask], *, episodes: int = 2, seed: int = 0
) -> dict[int, NDArray[np.float64]]:
    """The target quantity that an agent reaches in each task, adapted to a context from the task's data.

    Args:
        agent: agent of S seeds.
        family: a family that tracks a parameter, see :attr:`TaskFamily.tracked`.
        tasks: data of the tasks, for their contexts.
        episodes: episodes per task.
        seed: seed of contexts and episodes.

    Returns:
        task -> [S, episodes] means over the episode, in the parameter's unit.

    Raises:
        InvalidInputError: the family tracks no parameter.
    """
    if family.tracked is None:
        raise InvalidInputError(
            f"{family.name}: its tasks have no target quantity that could be measured in an episode"
        )
    indices = sorted(tasks)
    z = infer_tasks(agent, [tasks[index] for index in indices], CONTEXT_SIZE, seed)
    reached: dict[int, list[NDArray[np.float64]]] = {index: [] for index in indices}
    for episode in range(episodes):
        outcome = roll_out(
            PolicyActor(agent), family, indices, FixedBelief(z), [seed + episode] * len(indices)
        )
        for lane, index in enumerate(indices):
            means = [
                family.reached(outcome.observations[row, lane, : outcome.lengths[row, lane] + 1])
                for row in range(len(agent.seeds))
            ]
            reached[index].append(np.asarray(means))
    return {index: np.stack(values, 1) for index, values in reached.items()}


def tracking_chart(family: TaskFamily, reached: Mapping[int, NDArray[np.float64]]) -> Chart:
    """Target on the horizontal, reached value on the vertical axis: means and ranges over seeds and episodes.

    Args:
        family: a family that tracks a parameter.
        reached: result of :func:`reached_by`.
    """
    name = family.tracked or ""
    target = {index: family.task(index).number(name) for index in reached}
    title = parameter_title(family.name, name)
    ends = span([*target.values(), *(float(value) for values in reached.values() for value in values.flat)])
    panel = Panel(
        Axis(*ends, f"target {title} of the task"),
        Axis(*ends, f"mean {title} of the agent", grid=True),
        width=WIDTH,
        height=HEIGHT,
    )
    panel.line([(ends[0], ends[0]), (ends[1], ends[1])], "soft d1 thin")
    for split in SPLITS:
        for index in (index for index in target if family.task(index).split == split):
            low, mean, high = (float(f(reached[index])) for f in (np.min, np.mean, np.max))
            panel.line([(target[index], low), (target[index], high)], f"{split} thin")
            panel.symbol(
                (target[index], mean),
                split,
                shape=SHAPES[split],
                size=3.6,
                title=f"task {index}, {split}: target {number(target[index])}, reached {number(mean)}",
            )
    shown = [split for split in SPLITS if any(family.task(index).split == split for index in target)]
    legend = [*(LegendEntry(split, _legend_label(split), SHAPES[split]) for split in shown)]
    legend.append(LegendEntry("soft d1", "target", "line"))
    return Chart([panel], f"{family.name}: target and reached {name}", legend, columns=1)


def _legend_label(split: str) -> str:
    return {"train": "train tasks", "id": "id: held out", "ood": "ood: held out"}[split]


def mean_errors(family: TaskFamily, reached: Mapping[int, NDArray[np.float64]]) -> dict[str, float]:
    """Mean distance between target and reached value for each split."""
    name = family.tracked or ""
    errors: dict[str, Sequence[float]] = {
        split: [
            float(np.abs(values - family.task(index).number(name)).mean())
            for index, values in reached.items()
            if family.task(index).split == split
        ]
        for split in SPLITS
    }
    return {split: float(np.mean(values)) for split, values in errors.items() if values}
