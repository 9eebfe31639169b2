"""The picture of results over the length of the context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from clwm_data.extras import require
from clwm_data.families import SPLITS
from clwm_train.evaluate.curve import Curve

COLOURS = {"train": "#4c72b0", "id": "#55a868", "ood": "#c44e52"}
LABELS = {"return_mean": "mean return", "normalised_mean": "normalised return", "success": "success rate"}
GRID = "#d9dce1"
DASHED = (0, (4, 3))


def curve_figure(curves: Sequence[Curve], path: Path, *, title: str) -> None:
    """Draw a panel per protocol, a line per split; zero-shot as dashed lines across all panels.

    Thin lines are single seeds where there are several. Success is drawn where the family has it, else the
    normalised return where that is known, else the return.

    Args:
        curves: of each seed, see :func:`clwm_train.evaluate.curve.context_curves`.
        path: of the PNG.
        title: above the picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "train", "drawing")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    protocols = [name for name in curves[0] if name not in ("context_sizes", "zero-shot")]
    figure_name = _figure_of(curves[0][protocols[0]])
    with plt.rc_context({"font.size": 10, "axes.titlesize": 10.5, "axes.edgecolor": GRID}):
        figure, axes = plt.subplots(
            1,
            len(protocols),
            figsize=(2.2 + 3.9 * len(protocols), 3.6),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, protocol in zip(axes[0], protocols, strict=True):
            _draw_panel(axis, curves, protocol, figure_name)
        axes[0, 0].set_ylabel(LABELS[figure_name])
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if "zero-shot" in curves[0]:
            handles.append(matplotlib.lines.Line2D([], [], color="#555555", lw=1.0, ls=DASHED))
            labels.append("zero-shot")
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        figure.suptitle(title, fontsize=11)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _figure_of(splits: dict[str, dict[str, Any]]) -> str:
    """The best known measure of how well the tasks go."""
    known = next(iter(splits.values()))
    return next(name for name in ("success", "normalised_mean", "return_mean") if name in known)


def _draw_panel(axis: Any, curves: Sequence[Curve], protocol: str, figure_name: str) -> None:
    sizes = curves[0]["context_sizes"]
    for split in SPLITS:
        if split not in curves[0][protocol]:
            continue
        colour = COLOURS[split]
        lines = [curve[protocol][split][figure_name] for curve in curves]
        for line in lines if len(lines) > 1 else ():
            axis.plot(sizes, line, color=colour, lw=0.8, alpha=0.35)
        mean = [fmean(at) for at in zip(*lines, strict=True)]
        axis.plot(sizes, mean, "o-", color=colour, ms=4, label=split)
        if split in curves[0].get("zero-shot", {}):
            level = fmean(curve["zero-shot"][split][figure_name] for curve in curves)
            axis.axhline(level, color=colour, lw=1.0, ls=DASHED)
    axis.set_xscale("symlog", linthresh=4)
    axis.set_xlim(-0.6, max(1, *sizes) * 1.25)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.set(title=protocol, xlabel="transitions in the context")
    axis.grid(color=GRID, lw=0.6)
    axis.set_axisbelow(True)
