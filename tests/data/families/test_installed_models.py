"""Files of models that other packages ship, and what installs these."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from clwm_data.extras import MissingExtraError
from clwm_data.families import get_family
from clwm_data.families.simulation import mujoco_models

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(
    ("first_without", "words"),
    [
        ((99, 0), r'needs the package dm_control: pip install "clwm\[sim\]"$'),
        ((3, 0), r'needs the package dm_control: pip install --no-deps "dm-control.*labmaze has no build'),
    ],
)
def test_the_error_without_dm_control_says_what_installs_it_for_this_python(
    monkeypatch: pytest.MonkeyPatch, first_without: tuple[int, int], words: str
) -> None:
    monkeypatch.setattr(mujoco_models, "find_spec", lambda package: None)
    monkeypatch.setattr(mujoco_models, "NO_LABMAZE", first_without)
    with pytest.raises(MissingExtraError, match=words):
        get_family("walker-ls").make_env(0)


def test_the_extra_has_dm_control_where_its_dependencies_can_be_installed() -> None:
    major, minor = mujoco_models.NO_LABMAZE
    requirement = f"{mujoco_models.DM_CONTROL}; python_version < '{major}.{minor}'"
    assert requirement in PROJECT["optional-dependencies"]["sim"]
