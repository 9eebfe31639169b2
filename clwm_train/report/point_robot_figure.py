"""The figure of a point-robot agent: its trajectory and its representation of each task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.families import SPLITS, TaskFamily
from clwm_data.pages.charts import Chart, LegendEntry
from clwm_data.pages.palette import scale_class
from clwm_data.pages.panels import Axis, Panel, span
from clwm_data.pages.svg import Shape
from clwm_data.store.atomic import replacing
from clwm_train.data.task_data import DataTask
from clwm_train.evaluation import FixedBelief, PolicyActor, infer_tasks, roll_out
from clwm_train.model.agent import Agent

Floats = NDArray[np.floating[Any]]

TITLES = {
    "train": "train: goals of the training data",
    "id": "id: held-out goals beside the arc",
    "ood": "ood: held-out goals farther away",
}
SHAPES: dict[str, Shape] = {"train": "dot", "id": "square", "ood": "triangle"}
#: Bounds of the part of the world that is drawn.
WIDTH, HEIGHT = 2.6, 2.35
LEFT, BOTTOM = -1.3, -1.15
PANEL = 300.0  # pixels


def point_robot_figure(
    agent: Agent, family: TaskFamily, tasks: Mapping[int, DataTask], path: Path | str, *, seed: int = 0
) -> None:
    """Draw few-shot trajectories of all tasks by split, and the representations z in their principal plane.

    Args:
        agent: agent of one or more seeds; the first is drawn.
        family: point-robot.
        tasks: data of the tasks, for their contexts.
        path: SVG file.
        seed: seed of the contexts.

    Raises:
        InvalidInputError: the family's tasks have no goal and angle.
    """
    indices = sorted(tasks)
    if not all({"goal", "angle"} <= {*family.task(index).parameters} for index in indices):
        raise InvalidInputError(f"{family.name}: its tasks have no goal and angle: draw a point robot's")
    z = infer_tasks(agent, [tasks[index] for index in indices], 600, seed)
    episodes = roll_out(PolicyActor(agent), family, indices, FixedBelief(z), [seed] * len(indices))
    goals = {index: np.asarray(family.task(index).parameters["goal"]).tolist() for index in indices}
    angles = {index: family.task(index).number("angle") for index in indices}
    panels = []
    for split in SPLITS:
        ways = {
            index: episodes.observations[0, place]
            for place, index in enumerate(indices)
            if family.task(index).split == split
        }
        missed = fmean(math.dist(way[-1], goals[index]) for index, way in ways.items()) if ways else math.nan
        panel = _world(f"{TITLES[split]}\nends {missed:.2f} from the goal on average")
        for index, way in ways.items():
            colour, goal = angle_class(angles[index]), goals[index]
            panel.line([(float(x), float(y)) for x, y in way], colour)
            panel.symbol((float(way[-1, 0]), float(way[-1, 1])), colour)
            title = f"goal of task {index}"
            panel.symbol((goal[0], goal[1]), colour, shape="ring", size=4.0, title=title)
        panels.append(panel)
    panels.append(_representations(z[0].cpu().numpy(), indices, angles, family))
    marks = [LegendEntry("soft", f"z, {split}", SHAPES[split]) for split in SPLITS]
    legend = [
        LegendEntry("soft", "goal", "ring"),
        LegendEntry("soft", "where the agent stops", "dot"),
        *(
            LegendEntry(angle_class(math.radians(degrees)), f"goal at {degrees}\N{DEGREE SIGN}")
            for degrees in (0, 45, 90, 135, 180)
        ),
        *marks,
    ]
    chart = Chart(panels, "Trajectories and task representations of a point-robot agent", legend, columns=2)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        temporary.write_text(chart.svg(), encoding="utf-8", newline="\n")


def _world(title: str) -> Panel:
    """Hallway, half circle and start, with the same scale in both directions."""
    x, y = Axis(LEFT, LEFT + WIDTH, marks={}), Axis(BOTTOM, BOTTOM + HEIGHT, marks={})
    panel = Panel(x, y, title, width=PANEL)
    panel.height = panel.inner_width * HEIGHT / WIDTH
    arc = np.linspace(0.0, np.pi, 60)
    panel.line(zip(np.cos(arc).tolist(), np.sin(arc).tolist(), strict=True), "soft d1 thin")
    panel.line([(-1.25, 0.0), (-0.1, 0.0), (-0.1, -1.05), (0.1, -1.05), (0.1, 0.0), (1.25, 0.0)], "soft wall")
    panel.note((0.17, -1.0), "start")
    return panel


def _representations(
    z: Floats, indices: Sequence[int], angles: Mapping[int, float], family: TaskFamily
) -> Panel:
    plane, share = principal_plane(z)
    x, y = (Axis(*span(plane[:, axis].tolist(), 0.1), marks={}) for axis in (0, 1))
    panel = Panel(x, y, f"z of each task\n{share:.0%} of variance in this plane", width=PANEL)
    panel.height = panel.inner_width * HEIGHT / WIDTH
    for point, index in zip(plane, indices, strict=True):
        split = family.task(index).split
        panel.symbol(
            (float(point[0]), float(point[1])),
            angle_class(angles[index]),
            shape=SHAPES[split],
            size=4.5,
            title=f"task {index}, {split}",
        )
    return panel


def angle_class(angle: float) -> str:
    """CSS class of a goal at an angle in [0, pi]."""
    return scale_class(float(angle) / math.pi)


def principal_plane(z: Floats) -> tuple[Floats, float]:
    """Project points [n, d >= 2] on their two principal axes.

    Returns:
        coordinates [n, 2] and the share of the variance that they explain, in [0, 1].
    """
    centred = z - z.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variance = np.square(singular)
    total = variance.sum()
    return centred @ axes[:2].T, float(variance[:2].sum() / total) if total > 0 else 1.0
