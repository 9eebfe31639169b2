"""Runs whose results are invented: what a report shows of them is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clwm_data.families import get_family
from clwm_train.analysis.findings import Disentanglement, DisentanglementScores, OpenLoop, SeedAnalysis
from clwm_train.analysis.results import Analysis, save_analysis
from clwm_train.evaluation.results import Evaluation, save_evaluation
from clwm_train.methods.resolve import resolve
from clwm_train.runs.checkpoint import checkpoint_name
from clwm_train.runs.run import (
    CONFIG,
    LAYOUT,
    METRICS,
    RECORD,
    Run,
    RunRecord,
    open_run,
    resolve_for,
    write_model,
)
from clwm_train.settings import DEFAULT_ANALYSIS, DEFAULT_EVALUATION, EvaluationSettings

#: What most entries of a record say.
RECORD_FIELDS: dict[str, Any] = {
    "preset": "small",
    "store": "/nowhere",
    "store_sha256": "ab" * 32,
    "observation_size": 2,
    "action_size": 2,
    "train_tasks": (),
    "command": "clwm train",
    "packages": {},
    "platform": "none",
}


def invent_run(
    folder: Path,
    family: str,
    label: str,
    level: float,
    *,
    method: str = "spc",
    seeds: Sequence[int] = (0, 1, 2),
    overrides: Sequence[str] = (),
    created: str = "2026-01-01T00:00:00Z",
    log_every: int = 1000,
    store: str | None = None,
    settings: Sequence[EvaluationSettings] = (DEFAULT_EVALUATION,),
) -> Run:
    """A run whose normalised returns scatter around ``level``: few-shot, and 0.1 lower zero-shot.

    (Eleven parameters: all but the first four are optional.)
    """
    store = store or family
    path = folder / f"{store}-{label}-s{'-'.join(map(str, seeds))}"
    path.mkdir(parents=True)
    its = get_family(family)
    config = resolve_for(its, resolve(method, "small", overrides))
    record = RunRecord(
        layout=LAYOUT,
        method=method,
        seeds=tuple(seeds),
        store_name=store,
        family=family,
        created=created,
        label=label,
        **RECORD_FIELDS,
    )
    write_model(path / CONFIG, config)
    write_model(path / RECORD, record)
    run = open_run(path)
    rng = np.random.default_rng([*label.encode(), *family.encode()])
    for each in settings:
        _evaluation(run, level, rng, each)
    _analysis(run, level, rng)
    _metrics(run, level, rng, log_every)
    return run


def _evaluation(run: Run, level: float, rng: np.random.Generator, settings: EvaluationSettings) -> None:
    family = get_family(run.record.family)
    results = []
    for _ in run.record.seeds:
        shift = 0.03 * rng.normal()
        result: dict[str, Any] = {}
        for protocol in settings.protocols:
            lower = {"few-shot": 0.0, "zero-shot": 0.1}[protocol]
            for split in settings.splits:
                tasks = {}
                for task in family.split(split):
                    score = min(level - lower - 0.1 * (split == "ood") + shift + 0.06 * rng.normal(), 1.02)
                    random, expert = family.reference_returns(task)
                    tasks[str(task)] = random + score * (expert - random)
                mean = float(np.mean(list(tasks.values())))
                result.setdefault(protocol, {})[split] = {"return_mean": mean, "episodes": 3, "tasks": tasks}
        results.append(result)
    evaluation = Evaluation(
        checkpoint=checkpoint_name(run.config.steps),
        step=run.config.steps,
        store_sha256=run.record.store_sha256,
        settings=settings,
        results=results,  # type: ignore[arg-type]
    )
    save_evaluation(run, evaluation)


def _analysis(run: Run, level: float, rng: np.random.Generator) -> None:
    seeds = []
    for _ in run.record.seeds:
        noise = lambda: float(np.clip(level + 0.04 * rng.normal(), 0, 1))  # noqa: E731
        steps = np.arange(1, 21)
        growth = (1.2 - level) * steps**0.7 / 12
        seeds.append(
            SeedAnalysis(
                probe={"id": {"x": noise(), "y": noise()}, "ood": {"x": noise() - 0.3}},
                disentanglement=Disentanglement(
                    factors=["speed", "length"],
                    **{name: noise() for name in ("disentanglement", "completeness", "informativeness")},
                    **{name: noise() - 0.1 for name in ("modularity", "compactness", "explicitness")},
                    importance=[[1.0, 0.0]],
                    information=[[1.0], [0.0]],
                    noise=DisentanglementScores(
                        disentanglement=0.0,
                        completeness=0.0,
                        informativeness=-0.1,
                        modularity=0.94,
                        explicitness=0.0,
                        compactness=0.73,
                    ),
                )
                if "vel" in run.record.family or run.record.family.endswith("-ls")
                else None,
                open_loop={
                    "id": OpenLoop(
                        code=(growth * (1 + 0.1 * rng.normal())).tolist(),
                        reward=(0.5 * growth * (1 + 0.1 * rng.normal())).tolist(),
                    )
                }
                if run.config.world_model is not None
                else None,
            )
        )
    found = Analysis(
        checkpoint=checkpoint_name(run.config.steps),
        step=run.config.steps,
        store_sha256=run.record.store_sha256,
        settings=DEFAULT_ANALYSIS,
        seeds=seeds,
    )
    save_analysis(run, found)


def _metrics(run: Run, level: float, rng: np.random.Generator, every: int) -> None:
    lines = []
    for step in range(every, run.config.steps + 1, every):
        share = 1 - np.exp(-step / 8000)
        for seed in run.record.seeds:
            row = {
                "step": step,
                "seed": seed,
                "context_encoder/feature_rank": float(level * (0.6 + 0.4 * share) + 0.01 * rng.normal()),
                "context_encoder/matrix_rank": int(128 - 60 * (1 - level) * share + rng.integers(3)),
                "context_encoder/dormant_ratio": float((1 - level) * share * 0.5),
            }
            lines.append(json.dumps(row))
    (run.path / METRICS).write_text("\n".join(lines) + "\n")
