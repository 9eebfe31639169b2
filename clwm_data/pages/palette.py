"""The colours of all charts: splits, and series (behaviours, methods), which differ from those of splits.

Each is given for light and for dark paper. ``tests/data/pages/test_palette.py`` checks contrast and that
readers with any kind of colour blindness can tell them apart.
"""

from __future__ import annotations

import re
from typing import Literal

Mode = Literal["light", "dark"]

SPLIT_COLOURS: dict[Mode, dict[str, str]] = {
    # Okabe and Ito's blue, green and vermillion, and lighter ones of the same hues.
    "light": {"train": "#0072b2", "id": "#009e73", "ood": "#d55e00"},
    "dark": {"train": "#6fa3f7", "id": "#35d49a", "ood": "#f5854a"},
}
SERIES_COLOURS: dict[Mode, tuple[str, ...]] = {
    "light": ("#5c24a5", "#b5890f", "#b7387a", "#014249", "#9a7aeb", "#7a0c05"),
    "dark": ("#8a63e0", "#d6c33c", "#f07db8", "#2f8a91", "#cdb9fb", "#c0392f"),
}
#: For a quantity: from blue by purple to orange at one lightness (0.62 in OKLCH), which stands out from any
#: paper. Without red or green cones it is a scale from blue to yellow.
SCALE_COLOURS = (
    "#497ef7",
    "#6d74f5",
    "#876bef",
    "#9e62e3",
    "#b05ad2",
    "#c053be",
    "#cd4da7",
    "#d7488e",
    "#de4673",
    "#e14755",
    "#e14c32",
    "#d85a03",
    "#c66b04",
)
DASHES = 3  # line patterns, for more series than colours

NEUTRAL_COLOURS: dict[Mode, dict[str, str]] = {
    "light": {
        "paper": "#ffffff",
        "raised": "#f6f7f9",
        "line": "#e2e5ea",
        "ink": "#1c2127",
        "soft": "#5f6b7a",
        "warn": "#8a5000",
        "warn-paper": "#fff6e3",
    },
    "dark": {
        "paper": "#14171b",
        "raised": "#1d2228",
        "line": "#323943",
        "ink": "#e8ebef",
        "soft": "#a3aebc",
        "warn": "#f0c069",
        "warn-paper": "#2c2415",
    },
}


def series_class(number: int) -> str:
    """CSS classes of a series: its colour, and the pattern of its lines once all colours are used."""
    colours = len(SERIES_COLOURS["light"])
    dash = number // colours % DASHES
    return f"s{number % colours}" + (f" d{dash}" if dash else "")


def scale_class(share: float) -> str:
    """CSS class of a quantity at a share in [0, 1] of its range."""
    return f"q{round(share * (len(SCALE_COLOURS) - 1))}"


def css_variables() -> str:
    """``:root`` rules that define every colour, for light mode and for dark mode."""
    dark = f"@media(prefers-color-scheme:dark){{:root{{{_declarations('dark')}}}}}"
    return f":root{{{_declarations('light')}}}{dark}"


def css_classes() -> str:
    """Rules that give elements of a split or a series its colour."""
    names = [*SPLIT_COLOURS["light"], *(f"s{number}" for number in range(len(SERIES_COLOURS["light"])))]
    scale = "".join(f".q{number}{{color:{colour}}}" for number, colour in enumerate(SCALE_COLOURS))
    return "".join(f".{name}{{color:var(--{name})}}" for name in names) + scale


def without_variables(css: str) -> str:
    """Rules with colours instead of variables, which not all programs that draw SVG files support."""
    return f"{_in_colours(css, 'light')}@media(prefers-color-scheme:dark){{{_in_colours(css, 'dark')}}}"


def _in_colours(css: str, mode: Mode) -> str:
    colours = _colours(mode)
    return re.sub(r"var\(--([\w-]+)\)", lambda name: colours[name[1]], css)


def _declarations(mode: Mode) -> str:
    return f"color-scheme:{mode};" + ";".join(f"--{name}:{colour}" for name, colour in _colours(mode).items())


def _colours(mode: Mode) -> dict[str, str]:
    """Every colour by the name of its variable."""
    series = {f"s{number}": colour for number, colour in enumerate(SERIES_COLOURS[mode])}
    return {**NEUTRAL_COLOURS[mode], **SPLIT_COLOURS[mode], **series}
