"""The Python blocks of the README and of docs/ run as they stand, in the order of their page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import clwm_train
from clwm_data.manifest import load_manifest
from tests.conftest import ROOT, tiny_manifest
from tests.warm_python import WarmPython

#: Pages whose blocks other tests run, with what they need: a package of one's own, the Hub, commands between.
ELSEWHERE = {"new-family.md", "sharing.md", "own-data.md"}


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


PAGES = [
    page
    for page in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs/howto").glob("*.md")),
    )
    if page.name not in ELSEWHERE and blocks(page)
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the commands before the blocks have been typed, with a dataset of every split that is
    collected in a blink."""
    import clwm_data

    folder = tmp_path_factory.mktemp("workplace")
    manifest = tiny_manifest(tasks=range(5, 15), name="point-robot")
    clwm_data.collect(manifest, folder / "data/point-robot.zarr")
    clwm_train.train(
        folder / "data/point-robot.zarr", overrides={"steps": 5}, out=folder / "runs/point-robot-spc-s0"
    )
    assert load_manifest("point-robot").name == manifest.name
    return folder


STRICT = "import warnings; warnings.filterwarnings('error', '', DeprecationWarning, '__main__')\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, workplace: Path, warm_python: WarmPython) -> None:
    done = warm_python.run(STRICT + "\n".join(blocks(page)), [], workplace)
    assert done.returncode == 0, done.stderr


def test_the_readme_and_the_documentation_use_only_the_face() -> None:
    """What a notebook needs comes from the two packages themselves."""
    for page in (
        *PAGES,
        ROOT / "docs/own-data.md",
        ROOT / "docs/new-family.md",
        *(ROOT / "docs/tutorials").glob("*.md"),
    ):
        for block in blocks(page):
            for module in re.findall(r"^\s*(?:from|import) (clwm_\w+(?:\.\w+)+)", block, re.MULTILINE):
                assert module.startswith(("clwm_train.metrics", "clwm_train.theory")), (
                    f"{page.name}: {module}"
                )
