from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from clwm_data.errors import InvalidInputError
from clwm_data.families import get_family
from clwm_train.report.tracking_figure import mean_errors, reached_by, tracking_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_points_stand_at_what_was_asked_and_reached() -> None:
    family = get_family("cheetah-vel")
    reached = {index: np.full((2, 3), family.task(index).number("velocity") + 0.5) for index in (0, 6, 20)}
    root = ElementTree.fromstring(tracking_chart(family, reached).svg())
    words = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert "target velocity (m/s) of the task" in words
    assert {"train tasks", "id: held out", "ood: held out"} <= set(words)
    told = [element.text or "" for element in root.iter(f"{SVG}title")]
    assert "task 6, id: target 0.7, reached 1.2" in told
    assert mean_errors(family, reached) == pytest.approx({"train": 0.5, "id": 0.5, "ood": 0.5})


def test_families_without_a_tracked_parameter_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="point-robot: its tasks have no target quantity"):
        reached_by(None, get_family("point-robot"), {})  # type: ignore[arg-type]
