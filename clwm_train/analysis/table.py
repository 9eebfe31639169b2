"""The results of an analysis as text, for a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from clwm_data.pages.aligned import aligned
from clwm_data.pages.numbers import plural
from clwm_train.analysis.findings import DisentanglementScores, SeedAnalysis

#: Numbers of the part off-policy -> how they are called.
OFF_POLICY = {
    "value": "critics: data's actions",
    "policy_value": "critics: policy's actions",
    "data_return": "discounted return of the data",
    "log_likelihood": "log likelihood of the data's actions",
    "action_error": "squared distance of the actions",
}


def analysis_lines(seeds: Sequence[SeedAnalysis], names: Sequence[str]) -> list[str]:
    """Lines of the table of an analysis, a column for each seed.

    Args:
        seeds: analysis of each seed.
        names: what to call them.
    """
    columns = [_rows(seed) for seed in seeds]
    rows = [(*row[0][:2], *(value for _, _, value in row)) for row in zip(*columns, strict=True)]
    return aligned(("metric", "of", *names), rows)


def _rows(analysis: SeedAnalysis) -> list[tuple[str, str, str]]:
    """Metric, what it is measured on, and value; the same metrics for every seed of a run."""
    rows = [
        ("probe R^2", f"{name}, {split}", f"{value:.3f}")
        for split, scores in (analysis.probe or {}).items()
        for name, value in scores.items()
    ]
    if analysis.disentanglement is not None:
        measured = analysis.disentanglement
        factors = ", ".join(measured.factors)
        controls = (("noise codes", measured.noise), ("entangled codes", measured.entangled))
        for subject, scores in ((factors, measured), *controls):
            for name in DisentanglementScores.model_fields if scores is not None else ():
                value = getattr(scores, name)
                rows.append((name, subject, "-" if value is None else f"{value:.3f}"))
    for split, errors in (analysis.open_loop or {}).items():
        last = len(errors.code)
        for name, curve in (("code error", errors.code), ("reward error", errors.reward)):
            rows += [
                (name, f"{split}, after {plural(step, 'step')}", f"{curve[step - 1]:.3f}")
                for step in sorted({1, last})
            ]
    for split, look in (analysis.off_policy or {}).items():
        for name, what in OFF_POLICY.items():
            value = getattr(look, name)
            if value is not None:
                rows.append((what, split, f"{value:.3f}"))
    return rows
