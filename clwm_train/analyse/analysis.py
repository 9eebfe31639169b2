"""The analysis of a run: what its representations and its world model have learned, kept with the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import torch
from pydantic import Field, ValidationError

from clwm_data.errors import ClwmError
from clwm_data.families import SPLITS, TaskFamily, get_family
from clwm_data.store import Store
from clwm_data.store.atomic import write_json
from clwm_data.store.root import parse_json
from clwm_data.strict import StrictModel, Text, first_mistake
from clwm_train.analyse.codes import Codes, factors_of, parameter_values, sample_codes
from clwm_train.analyse.open_loop import open_loop_error
from clwm_train.analyse.probe import linear_probe
from clwm_train.data.mapped import read_task_data
from clwm_train.data.task_data import TaskData
from clwm_train.metrics.disentanglement import dci, infomec
from clwm_train.model.agent import Agent
from clwm_train.runs.checkpoint import latest_checkpoint
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run, check_same_data

ANALYSIS = "analysis.json"

Part = Literal["probe", "disentanglement", "open-loop"]
PARTS: tuple[Part, ...] = get_args(Part)

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Disentanglement(StrictModel):
    """DCI and InfoMEC of z, see :mod:`clwm_train.metrics.disentanglement`: fitted to the train tasks.

    Attributes:
        factors: names of the task parameters.
        disentanglement: of DCI.
        completeness: of DCI.
        informativeness: of DCI, R^2 on the id tasks.
        modularity: of InfoMEC.
        explicitness: of InfoMEC, on the id tasks.
        compactness: of InfoMEC; absent with one active entry.
        importance: [z][factors].
        information: [factors][z].
    """

    factors: list[Text]
    disentanglement: Finite
    completeness: Finite
    informativeness: Finite
    modularity: Finite
    explicitness: Finite
    compactness: Finite | None = None
    importance: list[list[Finite]]
    information: list[list[Finite]]


class OpenLoop(StrictModel):
    """Relative squared errors after 1, 2, ... steps, see :mod:`clwm_train.analyse.open_loop`."""

    code: list[Finite]
    reward: list[Finite]


class SeedAnalysis(StrictModel):
    """What was found for one seed; a part that was not asked for or does not apply is absent.

    Attributes:
        probe: split (id, ood) -> task parameter -> R^2 of the linear probe from z, fitted to the train tasks.
        disentanglement: where the family has factors that the id tasks combine anew.
        open_loop: split -> errors, of methods with a world model.
    """

    probe: dict[Text, dict[Text, Finite]] | None = None
    disentanglement: Disentanglement | None = None
    open_loop: dict[Text, OpenLoop] | None = None


class Analysis(StrictModel):
    """An analysis of a checkpoint.

    Attributes:
        checkpoint: name of its folder.
        contexts: per task.
        context_size: transitions of a context.
        horizon: steps of the open-loop prediction.
        seed: of contexts and windows.
        store_sha256: content of the store.
        seeds: for each seed of the run.
    """

    checkpoint: Text
    contexts: int = Field(ge=1)
    context_size: int = Field(ge=1)
    horizon: int = Field(ge=1)
    seed: int = Field(ge=0)
    store_sha256: Text
    seeds: list[SeedAnalysis]

    def is_whole(self, run: Run, store: Store) -> bool:
        """Whether no part is missing that the run's method and family have."""
        found = self.seeds[0]
        family = get_family(store.family)
        return (
            found.probe is not None
            and (
                found.disentanglement is not None
                or not _disentangles(run.config.context.dim, family, store.tasks)
            )
            and (found.open_loop is not None or run.config.world_model is None)
        )


def analyse_run(
    run: Run,
    store: Store,
    *,
    parts: Sequence[Part] = PARTS,
    checkpoint: Path | None = None,
    contexts: int = 32,
    context_size: int = 64,
    horizon: int = 20,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Analysis:
    """Probe, disentanglement and open-loop errors of a run's agent.

    Args:
        run: trained.
        store: its data.
        parts: which.
        checkpoint: the latest unless given.
        contexts: per task, for probe and disentanglement.
        context_size: transitions of each.
        horizon: steps of the open-loop prediction.
        seed: the same seed gives the same analysis.
        device: to compute on.

    Raises:
        ClwmError: no checkpoint, other data than the run was trained on, or a horizon beyond the episodes.
        MissingExtraError: disentanglement without scikit-learn.
    """
    check_same_data(run, store)
    folder = checkpoint or latest_checkpoint(run.checkpoints)
    agent = load_agent(run, checkpoint=folder, device=device)
    data = read_task_data(store, run.config.data, device=device)
    family = get_family(run.record.family)
    found = [SeedAnalysis() for _ in agent.seeds]
    if "probe" in parts or "disentanglement" in parts:
        codes = sample_codes(agent, data, contexts=contexts, size=context_size, seed=seed)
        for row in range(len(found)):
            if "probe" in parts:
                found[row] = found[row].model_copy(update={"probe": _probe(family, codes, row)})
            if "disentanglement" in parts:
                scores = None
                if _disentangles(run.config.context.dim, family, data.tasks):
                    scores = _disentanglement(family, codes, row, seed)
                found[row] = found[row].model_copy(update={"disentanglement": scores})
    if "open-loop" in parts and agent.world_model is not None:
        errors = _open_loop(agent, data, horizon, seed)
        found = [part.model_copy(update={"open_loop": of}) for part, of in zip(found, errors, strict=True)]
    return Analysis(
        checkpoint=folder.name,
        contexts=contexts,
        context_size=context_size,
        horizon=horizon,
        seed=seed,
        store_sha256=store.record.content_sha256,
        seeds=found,
    )


def save_analysis(run: Run, analysis: Analysis) -> None:
    """Keep an analysis in the run's folder; parts of an earlier, alike one stay."""
    before = read_analysis(run)
    settings = set(Analysis.model_fields) - {"seeds"}
    if before is not None and before.model_dump(include=settings) == analysis.model_dump(include=settings):
        merged = [
            new.model_copy(update={name: old for name, old in earlier if getattr(new, name) is None})
            for earlier, new in zip(before.seeds, analysis.seeds, strict=True)
        ]
        analysis = analysis.model_copy(update={"seeds": merged})
    write_json(run.path / ANALYSIS, analysis.model_dump(mode="json", exclude_none=True))


def read_analysis(run: Run) -> Analysis | None:
    """The analysis in the run's folder, or ``None`` where there is none.

    Raises:
        ClwmError: the file is damaged.
    """
    file = run.path / ANALYSIS
    if not file.is_file():
        return None
    try:
        return Analysis.model_validate(parse_json(file.read_bytes(), str(file)))
    except ValidationError as error:
        raise ClwmError(f"{file}: {first_mistake(error)}: delete it and run `clwm analyse` again") from error


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


def _open_loop(agent: Agent, data: TaskData, horizon: int, seed: int) -> list[dict[str, OpenLoop]]:
    errors = {
        split: open_loop_error(agent, data, split, horizon=horizon, seed=seed)
        for split in SPLITS
        if data.positions(split)
    }
    return [
        {
            split: OpenLoop(code=error.code[row].tolist(), reward=error.reward[row].tolist())
            for split, error in errors.items()
        }
        for row in range(len(agent.seeds))
    ]
