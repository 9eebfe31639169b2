"""Results over the length of the context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError
from clwm_data.families import SPLITS
from clwm_data.store.digest import json_sha256
from clwm_data.store.root import parse_json
from clwm_train.config import Protocol
from clwm_train.evaluation.protocols import Results

#: Metrics of every split that are kept and drawn.
METRICS = ("return_mean", "normalised_mean", "success")

#: ``{"context_sizes": [k], protocol: {split: {metric: [one value per size]}}}``; zero-shot has no context and
#: one value per metric.
Curve = dict[str, Any]


def context_curves(
    evaluate_at: Callable[[Sequence[Protocol], int], list[Results]],
    protocols: Sequence[Protocol],
    sizes: Sequence[int],
) -> list[Curve]:
    """Evaluate the protocols that have a context at every size, and zero-shot once.

    Args:
        evaluate_at: gives the results of each seed for some protocols and a context size.
        protocols: protocols to evaluate.
        sizes: context sizes, in transitions.

    Returns:
        a curve for each seed.
    """
    with_context = [protocol for protocol in protocols if protocol != "zero-shot"]
    by_size = [evaluate_at(with_context, size) for size in sizes] if with_context else []
    once = evaluate_at(["zero-shot"], 0) if "zero-shot" in protocols else None
    seeds = len(once if once is not None else by_size[0])
    curves: list[Curve] = []
    for seed in range(seeds):
        curve: Curve = {"context_sizes": list(sizes)}
        for protocol in with_context:
            curve[protocol] = _joined([at_size[seed][protocol] for at_size in by_size])
        if once is not None:
            curve["zero-shot"] = {
                split: {metric: entry[metric] for metric in METRICS if metric in entry}
                for split, entry in once[seed]["zero-shot"].items()
            }
        curves.append(curve)
    return curves


def curve_file(folder: Path, name: str, made_with: Mapping[str, Any]) -> Path:
    """Where curves are kept: ``NAME.json``, or a name of their own where that has curves made otherwise.

    Args:
        folder: the folder.
        name: usual name of the file.
        made_with: what the curves depend on, in their file under that key.
    """
    file = folder / f"{name}.json"
    if not file.is_file():
        return file
    try:
        before = parse_json(read_bounded(file), str(file))
    except ClwmError:
        before = None
    if isinstance(before, dict) and before.get("made_with") == made_with:
        return file
    return folder / f"{name}-{json_sha256(made_with)[:8]}.json"


def _joined(parts: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, list[float]]]:
    """Lists over sizes from one protocol's results at each size."""
    return {
        split: {
            metric: [part[split][metric] for part in parts] for metric in METRICS if metric in parts[0][split]
        }
        for split in SPLITS
        if split in parts[0]
    }
