"""The analysis of what a run's representations and world model have learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import torch

from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_data.extras import MissingExtraError
from clwm_data.families import SPLITS, TaskFamily
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.ranges import task_list
from clwm_data.store import Store
from clwm_data.store.stored_family import stored_family
from clwm_data.suggestions import suggestion
from clwm_train.analysis.codes import Codes, parameter_values, sample_codes
from clwm_train.analysis.factors import disentanglement_of, disentangles
from clwm_train.analysis.findings import OpenLoop, SeedAnalysis
from clwm_train.analysis.off_policy import compare_off_policy
from clwm_train.analysis.open_loop import open_loop_error, tasks_with_episodes
from clwm_train.analysis.probe import linear_probe
from clwm_train.analysis.results import PARTS, Analysis, Part
from clwm_train.data.mapped import read_task_data
from clwm_train.data.task_data import TaskData
from clwm_train.execution import pick_device
from clwm_train.runs.checkpoint import checkpoint_name, choose_checkpoint, read_record
from clwm_train.runs.finding import run_at
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run
from clwm_train.runs.same_data import check_same_data
from clwm_train.settings import DEFAULT_ANALYSIS, AnalysisSettings


# Eight parameters: two of them are callbacks.
def analyse(
    run: Run | str | Path,
    store: Store | str | Path,
    settings: AnalysisSettings = DEFAULT_ANALYSIS,
    *,
    parts: Part | Sequence[Part] = PARTS,
    checkpoint: str | Path | int | None = None,
    device: torch.device | str = "cpu",
    warn: Callable[[str], object] = lambda message: None,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Analysis:
    """Probe, disentanglement, open-loop errors, and a look at values and policy without an environment.

    Args:
        run: the trained run, or its folder.
        store: the data that it was trained on, or its path.
        settings: settings of the analysis; the same settings give the same analysis.
        parts: parts of the analysis, or one.
        checkpoint: see :func:`~clwm_train.runs.checkpoint.choose_checkpoint`; the latest by default.
        device: device to compute on; ``auto``: a GPU if there is one.
        warn: called with a message about what is left out.
        on_progress: called with the number of pieces of work done and their total.

    Raises:
        InvalidInputError: there is no such part of an analysis.
        ClwmError: there is no checkpoint, or the run was trained on other data.
        MissingExtraError: disentanglement needs scikit-learn.
    """
    run, store = run_at(run), open_store(store)
    check_same_data(run, store)
    parts = (parts,) if isinstance(parts, str) else parts
    for name in parts:
        if name not in PARTS:
            hint = suggestion(name, PARTS, f"there are {', '.join(PARTS)}")
            raise InvalidInputError(f"an analysis has no part {name!r}: {hint}")
    folder, device = choose_checkpoint(run.checkpoints, checkpoint), pick_device(device)
    agent = load_agent(run, checkpoint=folder, device=device)
    data = read_task_data(store, run.config.data, device=device)
    family = _comparable_family(run, store)
    if "probe" in parts and not parameter_values(family)[0]:
        warn("probe: the data name no parameters that vary between the tasks: left out")
    seeds = [SeedAnalysis() for _ in agent.seeds]
    with_factors = disentangles(run.config.context.dim, family, data.tasks)
    from_codes = [part for part in ("probe", "disentanglement") if part in parts]
    splits = [split for split in SPLITS if "open-loop" in parts and agent.world_model is not None]
    off_policy_splits = [split for split in SPLITS if "off-policy" in parts and data.positions(split)]
    total = len(from_codes) * len(seeds) + len(splits) + len(off_policy_splits)
    done = count(1)
    if from_codes:
        codes = sample_codes(
            agent, data, contexts=settings.contexts, size=settings.context_size, seed=settings.seed
        )
        for row in range(len(seeds)):
            for part in from_codes:
                if part == "probe":
                    seeds[row] = seeds[row].model_copy(update={part: _probe(family, codes, row)})
                elif with_factors:
                    scores = disentanglement_of(family, codes, row, settings.seed)
                    seeds[row] = seeds[row].model_copy(update={part: scores})
                on_progress(next(done), total)
    if splits:
        _warn_of_short_episodes(data, settings.horizon, warn)
        long_enough = {
            data.splits[data.tasks.index(task)] for task in tasks_with_episodes(data, settings.horizon)
        }
        by_split = {}
        for split in splits:
            if split in long_enough:
                by_split[split] = open_loop_error(
                    agent, data, split, horizon=settings.horizon, seed=settings.seed
                )
            on_progress(next(done), total)
        for row in range(len(seeds)):
            errors = {
                split: OpenLoop(code=error.code[row].tolist(), reward=error.reward[row].tolist())
                for split, error in by_split.items()
            }
            seeds[row] = seeds[row].model_copy(update={"open_loop": errors})
    for split in off_policy_splits:
        metrics = compare_off_policy(agent, data, split, seed=settings.seed)
        for row, seed_metrics in enumerate(metrics):
            other_splits = seeds[row].off_policy or {}
            seeds[row] = seeds[row].model_copy(update={"off_policy": {**other_splits, split: seed_metrics}})
        on_progress(next(done), total)
    return Analysis(
        checkpoint=checkpoint_name(read_record(folder).step),
        step=read_record(folder).step,
        store_sha256=store.record.content_sha256,
        settings=settings,
        seeds=seeds,
    )


def _comparable_family(run: Run, store: Store) -> TaskFamily:
    """The family of a run, or as the store knows it: where its package would have to say the parameters, and
    where tasks name different ones (their common ones are left then)."""
    family = run.task_family
    try:
        family.conditioning  # noqa: B018 (computes it)
    except (MissingExtraError, UnavailableError, ValueError):
        return stored_family(store)
    return family


def is_whole(analysis: Analysis, run: Run, store: Store) -> bool:
    """Whether an analysis has all parts that apply to the run's method and family."""
    first = analysis.seeds[0]
    family = _comparable_family(run, store)
    return (
        first.probe is not None
        and (
            first.disentanglement is not None or not disentangles(run.config.context.dim, family, store.tasks)
        )
        and (first.open_loop is not None or run.config.world_model is None)
        and first.off_policy is not None
    )


def _probe(family: TaskFamily, codes: Codes, row: int) -> dict[str, dict[str, float]]:
    names, values = parameter_values(family)
    if not names:
        return {}
    result: dict[str, dict[str, float]] = {}
    for split in ("id", "ood"):
        if codes.splits.count(split) < 2:  # one task has no variance to explain
            continue
        scores = linear_probe(
            codes.of_split(row, "train"),
            codes.truth("train", values),
            codes.of_split(row, split),
            codes.truth(split, values),
        )
        result[split] = {
            name: float(score) for name, score in zip(names, scores, strict=True) if np.isfinite(score)
        }
    return result


def _warn_of_short_episodes(data: TaskData, horizon: int, warn: Callable[[str], object]) -> None:
    if missing := sorted(set(data.tasks) - set(tasks_with_episodes(data, horizon))):
        warn(
            f"open-loop: no episode of {plural(horizon, 'step')} in {task_list(missing)}: left out (or "
            "choose a shorter horizon)"
        )
