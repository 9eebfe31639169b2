"""The figures of the documentation are those that their generators draw."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.families import get_family
from clwm_data.zoo.card import read_card
from clwm_data.zoo.shipped import shipped_folder
from docs.generate.behaviours import draw
from tests.conftest import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", ["cheetah-vel", "cheetah-ls"])
def test_the_returns_of_shipped_policies(name: str, tmp_path: Path) -> None:
    family = get_family(name)
    folder = shipped_folder(family)
    assert folder is not None
    draw(read_card(folder, family), tmp_path / "figure.svg")
    drawn = (DOCS / f"figures/behaviours-{name}.svg").read_text(encoding="utf-8")
    assert (tmp_path / "figure.svg").read_text(encoding="utf-8") == drawn, (
        "run: python -m docs.generate.behaviours docs"
    )
