"""The analysis of a run: what its representations and its world model have learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from clwm_data.families import SPLITS, TaskFamily
from clwm_data.ranges import format_indices
from clwm_data.store import Store
from clwm_train.analyse.codes import Codes, factors_of, parameter_values, sample_codes
from clwm_train.analyse.open_loop import open_loop_error, tasks_with_episodes
from clwm_train.analyse.probe import linear_probe
from clwm_train.analyse.results import (
    PARTS,
    Analysis,
    Disentanglement,
    OpenLoop,
    Part,
    SeedAnalysis,
)
from clwm_train.data.mapped import read_task_data
from clwm_train.data.task_data import TaskData
from clwm_train.metrics.disentanglement import dci, infomec
from clwm_train.model.agent import Agent
from clwm_train.runs.checkpoint import latest_checkpoint, read_record
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run, check_same_data
from clwm_train.settings import DEFAULT_ANALYSIS, AnalysisSettings


def analyse_run(
    run: Run,
    store: Store,
    settings: AnalysisSettings = DEFAULT_ANALYSIS,
    *,
    parts: Sequence[Part] = PARTS,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    warn: Callable[[str], object] = lambda message: None,
) -> Analysis:
    """Probe, disentanglement and open-loop errors of a run's agent.

    Args:
        run: trained.
        store: its data.
        settings: how; the same settings give the same analysis.
        parts: which.
        checkpoint: the latest unless given.
        device: to compute on.
        warn: told what is left out.

    Raises:
        ClwmError: no checkpoint, or other data than the run was trained on.
        MissingExtraError: disentanglement without scikit-learn.
    """
    check_same_data(run, store)
    folder = checkpoint or latest_checkpoint(run.checkpoints)
    agent = load_agent(run, checkpoint=folder, device=device)
    data = read_task_data(store, run.config.data, device=device)
    family = run.task_family
    seeds = [SeedAnalysis() for _ in agent.seeds]
    if "probe" in parts or "disentanglement" in parts:
        codes = sample_codes(
            agent, data, contexts=settings.contexts, size=settings.context_size, seed=settings.seed
        )
        for row in range(len(seeds)):
            if "probe" in parts:
                seeds[row] = seeds[row].model_copy(update={"probe": _probe(family, codes, row)})
            if "disentanglement" in parts:
                scores = None
                if _disentangles(run.config.context.dim, family, data.tasks):
                    scores = _disentanglement(family, codes, row, settings.seed)
                seeds[row] = seeds[row].model_copy(update={"disentanglement": scores})
    if "open-loop" in parts and agent.world_model is not None:
        errors = _open_loop(agent, data, settings, warn)
        seeds = [
            part.model_copy(update={"open_loop": by_split})
            for part, by_split in zip(seeds, errors, strict=True)
        ]
    return Analysis(
        checkpoint=folder.name,
        step=read_record(folder).step,
        store_sha256=store.record.content_sha256,
        settings=settings,
        seeds=seeds,
    )


def is_whole(analysis: Analysis, run: Run, store: Store) -> bool:
    """Whether no part is missing that the run's method and family have."""
    first = analysis.seeds[0]
    family = store.task_family
    return (
        first.probe is not None
        and (
            first.disentanglement is not None
            or not _disentangles(run.config.context.dim, family, store.tasks)
        )
        and (first.open_loop is not None or run.config.world_model is None)
    )


def _probe(family: TaskFamily, codes: Codes, row: int) -> dict[str, dict[str, float]]:
    names, values = parameter_values(family)
    result: dict[str, dict[str, float]] = {}
    for split in ("id", "ood"):
        if codes.splits.count(split) < 2:  # one task has no variance to explain
            continue
        scores = linear_probe(
            codes.of(row, "train"),
            codes.truth("train", values),
            codes.of(row, split),
            codes.truth(split, values),
        )
        result[split] = {
            name: float(score) for name, score in zip(names, scores, strict=True) if np.isfinite(score)
        }
    return result


def _disentangles(entries: int, family: TaskFamily, tasks: Iterable[int]) -> bool:
    """Whether z has several entries, and the id tasks that have data combine factors that vary."""
    found = factors_of(family, list(tasks))
    return found is not None and entries > 1


def _disentanglement(family: TaskFamily, codes: Codes, row: int, seed: int) -> Disentanglement | None:
    factors = factors_of(family, codes.tasks)
    if factors is None:
        return None
    names, values = factors
    data = (
        codes.of(row, "train"),
        codes.truth("train", values),
        codes.of(row, "id"),
        codes.truth("id", values),
    )
    trees, information = dci(*data, seed=seed), infomec(*data, seed=seed)
    return Disentanglement(
        factors=list(names),
        disentanglement=trees.disentanglement,
        completeness=trees.completeness,
        informativeness=trees.informativeness,
        modularity=information.modularity,
        explicitness=information.explicitness,
        compactness=information.compactness,
        importance=trees.importance.tolist(),
        information=information.information.tolist(),
    )


def _open_loop(
    agent: Agent, data: TaskData, settings: AnalysisSettings, warn: Callable[[str], object]
) -> list[dict[str, OpenLoop]]:
    """Errors by split, for every seed; tasks without an episode of so many steps are left out."""
    horizon = settings.horizon
    long_enough = tasks_with_episodes(data, horizon)
    if missing := sorted(set(data.tasks) - set(long_enough)):
        warn(
            f"open-loop: tasks {format_indices(missing)} have no episode of {horizon} steps: left out "
            "(or ask for a shorter horizon)"
        )
    errors = {
        split: open_loop_error(agent, data, split, horizon=horizon, seed=settings.seed)
        for split in SPLITS
        if any(data.splits[data.tasks.index(task)] == split for task in long_enough)
    }
    return [
        {
            split: OpenLoop(code=error.code[row].tolist(), reward=error.reward[row].tolist())
            for split, error in errors.items()
        }
        for row in range(len(agent.seeds))
    ]
