"""Names, and families that other packages bring."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.families import family_names, get_family, register
from clwm_data.families.point_robot.family import PointRobot
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


def test_a_class_goes_by_its_name() -> None:
    with pytest.raises(ClwmError, match=r"no task family is called 'my_families:Dial': a class of your own"):
        get_family("my_families:Dial")


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


def command(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(package)!r}); from clwm_cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=package
    )


def test_the_documents_family_is_found_through_its_entry_point_and_works(package: Path) -> None:
    _, *uses = blocks("python")
    assert uses
    out = run(
        package, "\n".join([*uses, "from clwm_data import family_names; print('dial' in family_names())"])
    )
    assert out.splitlines()[-1] == "True"


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


def test_a_script_may_hold_its_family_and_its_policy(tmp_path: Path) -> None:
    """The name of the policy has the script imported once more; a worker's copy of it has a third name."""
    family, *_ = blocks("python")
    (tmp_path / "script.py").write_text(
        f"""{family}
def still(task, generator):
    return lambda observation: 0 * observation[:1]


if __name__ == "__main__":
    from clwm_data import Manifest, collect

    for workers in (1, 2):
        behaviours = [{{"policy": "script:still", "episodes": 1}}]
        recipe = Manifest(name="x", family="dial", tasks=[0, 1], behaviours=behaviours)
        print(len(collect(recipe, f"{{workers}}.zarr", workers=workers)))
"""
    )
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.split() == ["2", "2"], done.stderr


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import package_that_is_not_there", "No module named 'package_that_is_not_there'"),
        ("from clwm_data.families import register; register('ant-dir', 0)", "ant-dir is registered twice"),
        ("raise RuntimeError('one\\ntwo')", "RuntimeError: one two"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_package_that_does_not_work_is_named_once_and_left_out(
    package: Path, module: str, reason: str
) -> None:
    """In the list of families, and where a family is missed; everywhere else nobody hears of it."""
    (package / "my_families.py").write_text(module, encoding="utf-8")
    line = "families of the package my-families (my_families) are left out: "
    for arguments, code in ((["families"], 0), (["families", "dial"], 1)):
        done = command(package, *arguments)
        assert done.returncode == code, done.stderr
        (found,) = done.stderr.splitlines()
        assert line in found
        assert reason in found
    for arguments in (["families", "point-robot"], ["info", "--help"]):
        done = command(package, *arguments)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_family_that_cannot_be_built_takes_no_other_along(package: Path) -> None:
    (package / "my_families.py").write_text(
        "from clwm_data.families import register\nregister('dial', lambda: 1 / 0)\n", encoding="utf-8"
    )
    done = command(package, "families")
    assert done.returncode == 0
    assert "point-robot" in done.stdout
    assert done.stderr == "clwm: family dial does not work: ZeroDivisionError: division by zero\n"
    done = command(package, "families", "dial")
    assert (done.returncode, done.stdout) == (1, "")
    assert "family dial does not work: ZeroDivisionError: division by zero" in done.stderr
    code = "from clwm_data.manifest import load_manifest; print(load_manifest('point-robot-tiny').name)"
    assert run(package, code) == "point-robot-tiny\n"


def test_a_family_pickles_as_its_name_and_copies_as_itself() -> None:
    for name in ("point-robot", "mw-reach", "cheetah-ls"):
        family = get_family(name)
        assert copy.deepcopy(family) is family
        assert pickle.loads(pickle.dumps(family)) is family
        assert len(pickle.dumps(family)) < 200
    ours = PointRobot()
    theirs = pickle.loads(pickle.dumps(ours))
    assert theirs is not get_family("point-robot")
    assert [task.parameters for task in theirs.tasks] == [task.parameters for task in ours.tasks]


def test_a_spawned_process_finds_a_family_that_its_module_registers(package: Path) -> None:
    """Without an entry point: pickling names the class, whose module registers the family."""
    (entry_points,) = package.glob("*/entry_points.txt")
    entry_points.write_text("")
    code = "import pickle, my_families, clwm_data; print(pickle.dumps(clwm_data.get_family('dial')))"
    dumped = run(package, code).strip()
    assert run(package, f"import pickle; print(pickle.loads({dumped}).name)") == "dial\n"
