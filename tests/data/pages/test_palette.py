from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from clwm_data.pages.palette import (
    DASHES,
    NEUTRAL_COLOURS,
    SCALE_COLOURS,
    SERIES_COLOURS,
    SPLIT_COLOURS,
    Mode,
    css_classes,
    series_class,
    without_variables,
)

#: Colours as people without one kind of cones see them (Machado, Oliveira and Fernandes 2009, severity 1).
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
MODES: tuple[Mode, ...] = ("light", "dark")


def linear(colour: str) -> NDArray[np.float64]:
    """Linear sRGB in [0, 1]."""
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ottosson's perceptual space: distances of 0.02 are just noticed."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    axes = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return axes @ np.cbrt(np.clip(cones @ rgb, 0.0, None))


def distance(one: str, other: str, vision: str = "normal") -> float:
    seen = [oklab(np.clip(VISION[vision] @ linear(colour), 0.0, 1.0)) for colour in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    light = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


@pytest.mark.parametrize("mode", MODES)
def test_marks_and_text_stand_out_from_the_paper(mode: Mode) -> None:
    neutral = NEUTRAL_COLOURS[mode]
    for paper in (neutral["paper"], neutral["raised"]):
        assert contrast(neutral["ink"], paper) >= 7.0
        assert contrast(neutral["soft"], paper) >= 4.5
        for colour in (*SPLIT_COLOURS[mode].values(), *SERIES_COLOURS[mode], *SCALE_COLOURS):
            assert contrast(colour, paper) >= 2.8
    assert contrast(neutral["warn"], neutral["warn-paper"]) >= 4.5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vision", VISION)
def test_everyone_can_tell_splits_apart_and_series_apart(mode: Mode, vision: str) -> None:
    for one, other in combinations(SPLIT_COLOURS[mode].values(), 2):
        assert distance(one, other, vision) >= 0.08
    for one, other in combinations(SERIES_COLOURS[mode], 2):
        assert distance(one, other, vision) >= 0.06


@pytest.mark.parametrize("mode", MODES)
def test_series_cannot_be_taken_for_splits(mode: Mode) -> None:
    for split in SPLIT_COLOURS[mode].values():
        assert min(distance(split, colour) for colour in SERIES_COLOURS[mode]) >= 0.1


@pytest.mark.parametrize("vision", ["normal", "protanopia", "deuteranopia"])
def test_the_scale_runs_one_way_for_readers_without_red_or_green_cones(vision: str) -> None:
    blue_to_yellow = [oklab(VISION[vision] @ linear(colour))[2] for colour in SCALE_COLOURS]
    order = np.argsort(np.argsort(blue_to_yellow))
    assert np.corrcoef(order, np.arange(len(order)))[0, 1] > 0.97
    assert distance(SCALE_COLOURS[0], SCALE_COLOURS[-1], vision) > 0.25


def test_series_differ_in_colour_or_pattern() -> None:
    number = len(SERIES_COLOURS["light"]) * DASHES
    assert len({series_class(place) for place in range(number)}) == number
    assert len(SERIES_COLOURS["dark"]) == len(SERIES_COLOURS["light"])


def test_files_name_colours_and_no_variables() -> None:
    css = without_variables(css_classes() + ".x{fill:var(--warn-paper)}")
    assert "var(" not in css
    light, dark = css.split("@media(prefers-color-scheme:dark)")
    for mode, text in (("light", light), ("dark", dark)):
        assert f".ood{{color:{SPLIT_COLOURS[mode]['ood']}}}" in text  # type: ignore[index]
        assert re.search(rf"\.x{{fill:{NEUTRAL_COLOURS[mode]['warn-paper']}}}", text)  # type: ignore[index]
