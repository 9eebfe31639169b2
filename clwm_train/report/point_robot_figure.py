"""The picture of a point-robot agent: where it goes in each task, and what it takes each task to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clwm_data.extras import require
from clwm_data.families import SPLITS, TaskFamily
from clwm_train.data.task_data import DataTask
from clwm_train.evaluate import FixedBelief, PolicyActor, infer_from_data, roll_out
from clwm_train.model.agent import Agent

Floats = NDArray[np.floating[Any]]

TITLES = {
    "train": "train: goals of the training data",
    "id": "id: held-out goals, next to the train arc",
    "ood": "ood: held-out goals, farther along the arc",
}
MARKERS = {"train": "o", "id": "s", "ood": "^"}
INK = "#333333"
WALL = "#b9bec6"
#: Size of the part of the world that is drawn.
WIDTH, HEIGHT = 2.6, 2.35


def point_robot_figure(
    agent: Agent, family: TaskFamily, tasks: Mapping[int, DataTask], path: Path, *, seed: int = 0
) -> None:
    """Draw few-shot trajectories of all tasks by split, and the representations z in their principal plane.

    Args:
        agent: of one or more seeds; the first is drawn.
        family: point-robot.
        tasks: data of the tasks, for their contexts.
        path: of the PNG.
        seed: of the contexts.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "train", "drawing")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    indices = sorted(tasks)
    z = torch.stack([infer_from_data(agent, tasks[index], 600, seed) for index in indices], 1)
    episodes = roll_out(PolicyActor(agent), family, indices, FixedBelief(z), [seed] * len(indices))
    ways = episodes.observations[0]
    goals = np.asarray([family.task(index).parameters["goal"] for index in indices])
    angles = np.asarray([family.task(index).number("angle") for index in indices])
    splits = np.asarray([family.task(index).split for index in indices])
    colours = plt.get_cmap("turbo")(0.06 + 0.88 * angles / np.pi)

    style: Any = {"font.size": 10, "axes.titlesize": 10.5, "axes.edgecolor": WALL, "text.color": INK}
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            1, 4, figsize=(14.4, 3.5), width_ratios=(1, 1, 1, 1.09), layout="constrained"
        )
        for axis, split in zip(axes, SPLITS, strict=False):
            chosen = splits == split
            _draw_world(axis)
            for way, goal, colour in zip(ways[chosen], goals[chosen], colours[chosen], strict=True):
                axis.plot(*way.T, color=colour, lw=1.3, alpha=0.85, solid_capstyle="round")
                axis.plot(*goal, marker="o", ms=6.5, mfc="white", mec=colour, mew=1.6, ls="none")
                axis.plot(*way[-1], marker="o", ms=3.2, color=colour, ls="none")
            missed = np.linalg.norm(ways[chosen][:, -1] - goals[chosen], axis=-1).mean()
            axis.set_title(f"{TITLES[split]}\nends {missed:.2f} from the goal on average")
        _draw_representations(axes[-1], z[0].cpu().numpy(), colours, splits)
        scale = matplotlib.cm.ScalarMappable(
            matplotlib.colors.Normalize(0.0, 180.0), _part_of_turbo(matplotlib)
        )
        bar = figure.colorbar(scale, ax=axes[-1], ticks=[0, 45, 90, 135, 180], pad=0.02)
        bar.set_label("angle of the goal (degrees)")
        bar.outline.set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _draw_world(axis: Any) -> None:
    """Hallway, half circle and start."""
    arc = np.linspace(0.0, np.pi, 100)
    axis.plot(np.cos(arc), np.sin(arc), color=WALL, lw=1.0, ls=(0, (4, 4)), zorder=0)
    axis.plot([-1.25, -0.1, -0.1, 0.1, 0.1, 1.25], [0, 0, -1.05, -1.05, 0, 0], color=WALL, lw=2.0, zorder=0)
    axis.set(xlim=(-WIDTH / 2, WIDTH / 2), ylim=(-1.15, HEIGHT - 1.15), aspect="equal", xticks=[], yticks=[])
    axis.annotate("start", (0.0, -1.0), (0.17, -1.02), color=INK, fontsize=9, va="center")
    axis.spines[:].set_visible(False)


def _draw_representations(axis: Any, z: Floats, colours: Floats, splits: NDArray[np.str_]) -> None:
    plane, share = principal_plane(z)
    for split, marker in MARKERS.items():
        chosen = splits == split
        axis.scatter(
            *plane[chosen].T,
            c=colours[chosen],
            marker=marker,
            s=42,
            edgecolor=INK,
            linewidth=0.5,
            label=split,
        )
    legend = axis.legend(frameon=False, loc="best", handletextpad=0.2)
    for handle in legend.legend_handles:
        handle.set_facecolor("white")
    axis.set_title(f"task representations z (principal plane, {share:.0%} of variance)")
    axis.set(xticks=[], yticks=[], box_aspect=HEIGHT / WIDTH)


def principal_plane(z: Floats) -> tuple[Floats, float]:
    """Project points [n, d >= 2] on their two principal axes.

    Returns:
        coordinates [n, 2] and the share of the variance that they hold, in [0, 1].
    """
    centred = z - z.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variance = np.square(singular)
    total = variance.sum()
    return centred @ axes[:2].T, float(variance[:2].sum() / total) if total > 0 else 1.0


def _part_of_turbo(matplotlib: Any) -> Any:
    """The colours that the tasks are drawn in, without the dark ends."""
    colours = matplotlib.colormaps["turbo"](np.linspace(0.06, 0.94, 256))
    return matplotlib.colors.ListedColormap(colours)
