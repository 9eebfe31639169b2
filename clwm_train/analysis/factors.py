"""How far single entries of z represent single factors of the tasks, compared with constructed codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from clwm_data.families import TaskFamily
from clwm_train.analysis.codes import Codes, Floats, factors_of
from clwm_train.analysis.findings import Disentanglement, DisentanglementScores
from clwm_train.kernels.streams import Purpose, derive
from clwm_train.metrics.disentanglement import dci, infomec

#: Standard deviation of contexts around their task, in constructed codes; that of factors is 1.
SCATTER = 0.05


def disentangles(entries: int, family: TaskFamily, tasks: Iterable[int]) -> bool:
    """Whether z has several entries, and the id tasks that have data combine factors that vary."""
    return entries > 1 and factors_of(family, list(tasks)) is not None


def disentanglement_of(family: TaskFamily, codes: Codes, row: int, seed: int) -> Disentanglement | None:
    """DCI and InfoMEC of one seed's codes, and of noise and entangled codes for comparison.

    Args:
        family: the task family.
        codes: codes of its tasks.
        row: position of the seed.
        seed: seed of the fits, and of the codes for comparison.

    Returns:
        the scores; ``None`` if the family has no independent factors.
    """
    factors = factors_of(family, codes.tasks)
    if factors is None:
        return None
    names, values = factors
    scores, importance, information = _scores(codes, row, values, seed)
    return Disentanglement(
        **dict(scores),
        factors=list(names),
        importance=importance.tolist(),
        information=information.tolist(),
        noise=_scores(noise_codes(codes, seed), 0, values, seed)[0],
        entangled=_scores(entangled_codes(codes, values, seed), 0, values, seed)[0],
    )


def noise_codes(codes: Codes, seed: int) -> Codes:
    """Codes of one seed without information about the task: standard normal numbers, in the same shape."""
    generator = np.random.default_rng(derive(seed, Purpose.EVALUATION, 1))
    return replace(codes, z=generator.normal(size=(1, *codes.z.shape[1:])))


def entangled_codes(codes: Codes, values: Floats, seed: int) -> Codes:
    """Codes of one seed that mix all factors: every entry is the sum of all standardised factors, with the
    signs of Walsh functions, so that all have the same share in it.

    Args:
        codes: codes with the same shape, tasks and splits.
        values: [tasks of the family, f] factors.
        seed: seed of the noise.
    """
    generator = np.random.default_rng(derive(seed, Purpose.EVALUATION, 2))
    factors = values[list(codes.tasks)]
    unit = (factors - factors.mean(0)) / factors.std(0)
    _, tasks, contexts, entries = codes.z.shape
    count = unit.shape[1]
    signs = [[(-1.0) ** (entry & factor).bit_count() for entry in range(entries)] for factor in range(count)]
    mixing = np.asarray(signs) / np.sqrt(count)
    z = np.broadcast_to((unit @ mixing)[None, :, None], (1, tasks, contexts, entries))
    return replace(codes, z=z + SCATTER * generator.normal(size=z.shape))


def _scores(
    codes: Codes, row: int, values: Floats, seed: int
) -> tuple[DisentanglementScores, Floats, Floats]:
    """Scores, importance [z, factors], information [factors, z]: fitted to train tasks, scored on id."""
    data = (
        codes.of_split(row, "train"),
        codes.truth("train", values),
        codes.of_split(row, "id"),
        codes.truth("id", values),
    )
    trees, information = dci(*data, seed=seed), infomec(*data, seed=seed)
    scores = DisentanglementScores(
        disentanglement=trees.disentanglement,
        completeness=trees.completeness,
        informativeness=trees.informativeness,
        modularity=information.modularity,
        explicitness=information.explicitness,
        compactness=information.compactness,
    )
    return scores, trees.importance, information.information
