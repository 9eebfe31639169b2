"""Names, and families that other packages bring."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.families import family_names, get_family, register
from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "new-family.md"


def test_a_name_gives_the_same_object() -> None:
    assert get_family("point-robot") is get_family("point-robot")
    assert [get_family(name).name for name in family_names()] == family_names()


def test_an_unknown_name_is_answered_with_similar_ones() -> None:
    with pytest.raises(ClwmError, match="no task family is called 'cheetah-vell': did you mean cheetah-vel"):
        get_family("cheetah-vell")
    with pytest.raises(ClwmError, match="`clwm families` lists them"):
        get_family("xyz")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="point-robot is registered twice"):
        register("point-robot", lambda: get_family("point-robot"))


def blocks(language: str) -> list[str]:
    """The code blocks of docs/new-family.md."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder that looks as if the document's package had been installed there."""
    family, *_ = blocks("python")
    (tmp_path / "my_families.py").write_text(family, encoding="utf-8")
    (entry_point,) = re.findall(r'^(\w+) = "(my_families)"$', blocks("toml")[0], re.MULTILINE)
    info = tmp_path / "my_families-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-families\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[clwm.families]\n{' = '.join(entry_point)}\n")
    return tmp_path


def run(package: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(package)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_documents_family_is_found_through_its_entry_point_and_works(package: Path) -> None:
    _, *uses = blocks("python")
    assert uses
    out = run(package, "\n".join([*uses, "from clwm_data import family_names; print(family_names()[-1])"]))
    assert out.splitlines()[-1] == "dial"


def test_the_documents_family_is_a_gymnasium_environment_once_its_module_is_imported(package: Path) -> None:
    (entry_points,) = package.glob("*/entry_points.txt")
    for installed in (True, False):
        if not installed:
            entry_points.write_text("")
        out = run(package, "import my_families, gymnasium; print(gymnasium.make('clwm/dial-v0', task=3))")
        assert "clwm/dial-v0" in out


def test_the_documents_family_passes_gymnasiums_checker(package: Path) -> None:
    run(
        package,
        "import clwm_data, gymnasium\n"
        "from gymnasium.utils.env_checker import check_env\n"
        "check_env(gymnasium.make('clwm/dial-v0', task=3).unwrapped, skip_render_check=True)",
    )


def test_the_command_knows_it(package: Path) -> None:
    out = run(package, "from clwm_cli.main import main; main(['families', 'dial'])")
    assert "dial" in out
    assert "angle" in out


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import package_that_is_not_there", "No module named 'package_that_is_not_there'"),
        ("from clwm_data.families import register; register('ant-dir', 0)", "ant-dir is registered twice"),
    ],
)
def test_a_package_that_does_not_work_is_named_and_left_out(package: Path, module: str, reason: str) -> None:
    (package / "my_families.py").write_text(module, encoding="utf-8")
    code = (
        "import warnings\nwith warnings.catch_warnings(record=True) as caught:\n    import clwm_data\n"
        "print(clwm_data.get_family('point-robot').name, *[warning.message for warning in caught])"
    )
    out = run(package, code)
    assert out.startswith("point-robot families of the package my-families (my_families) are left out: ")
    assert reason in out
