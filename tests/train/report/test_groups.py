"""Success rates by benchmark: from an evaluation's entries to the table of a report."""

from __future__ import annotations

import numpy as np
import pytest

from clwm_data.families import get_family
from clwm_train.evaluation.protocols import _by_group
from clwm_train.evaluation.results import SplitResult
from clwm_train.report.groups import group_methods, group_rows
from clwm_train.report.page import _by_benchmark
from clwm_train.report.scores import Score


def test_an_entry_is_averaged_by_benchmark() -> None:
    entry = {
        "return_mean": 5.0,
        "episodes": 3,
        "tasks": {40: 1.0, 90: 4.0, 91: 10.0},
        "success": 1.75 / 3,
        "task_success": {40: 0.25, 90: 1.0, 91: 0.5},
    }
    groups = _by_group(get_family("ml10"), entry)
    assert groups == {
        "reach": {"tasks": 1, "return_mean": 1.0, "success": 0.25},
        "push": {"tasks": 2, "return_mean": 7.0, "success": 0.75},
    }
    named = {key: {str(k): v for k, v in entry[key].items()} for key in ("tasks", "task_success")}  # type: ignore[attr-defined]
    result = SplitResult.model_validate({**entry, **named, "groups": groups})
    assert result.model_dump(exclude_none=True)["groups"] == groups


def test_a_family_of_one_benchmark_has_no_groups() -> None:
    assert _by_group(get_family("point-robot"), {"tasks": {5: 1.0}}) == {}


def score(method: str, split: str, by_name: dict[str, list[float]]) -> Score:
    return Score(
        *(method, "ml10-small", "ml10", "few-shot", split, (40, 90), (0, 1)),
        returns=np.ones((2, 2)),
        normalised=None,
        success=np.ones((2, 2)),
        update=9,
        transitions=900,
        processor_seconds=None,
        group_success={name: np.asarray(values) for name, values in by_name.items()},
    )


def test_the_report_has_a_row_per_benchmark_and_a_column_per_method() -> None:
    scores = [
        score("spc", "id", {"reach": [0.0, 1.0], "push": [0.25, 0.25]}),
        score("<b>focal", "id", {"reach": [1.0, 1.0]}),
        score("none", "id", {}),
    ]
    assert group_methods(scores) == ["spc", "<b>focal"]
    assert group_rows(scores) == [
        ("ml10-small", "few-shot", "id", "reach", 0.5, 1.0),
        ("ml10-small", "few-shot", "id", "push", pytest.approx(0.25), None),
    ]
    page = _by_benchmark(scores)
    for text in ("Success by benchmark", "push", "0.25", "&lt;b&gt;focal"):
        assert text in page
    assert "<b>focal" not in page
    assert _by_benchmark(scores[2:]) == ""
