from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clwm_data.families import family_names, get_family
from clwm_data.families.builtin import BUILTIN
from clwm_data.listing import describe_all, describe_tasks, format_parameters
from docs.generate.families import document
from tests.conftest import ROOT, Clwm


def test_the_table_has_a_line_per_family_and_one_for_metaworld(clwm: Clwm) -> None:
    short, long = clwm("families").stdout, clwm("families", "--all").stdout
    names = family_names()
    manipulation = [name for name in names if name.startswith("mw-")]
    assert len([name for name in manipulation if name in BUILTIN]) == 50
    assert len(long.splitlines()) == 2 + len(names)
    assert len(short.splitlines()) == 2 + len(names) - 49
    assert [line.split()[0] for line in long.splitlines()[2:]] == names
    assert "mw-<task> (50)" in short
    assert "mw-reach" not in short


def test_json_lists_every_family(clwm: Clwm) -> None:
    listed = json.loads(clwm("families", "--json").stdout)
    assert [row["name"] for row in listed] == family_names()
    point = next(row for row in listed if row["name"] == "point-robot")
    assert point["splits"] == {"train": 20, "id": 10, "ood": 10}
    assert (point["observation_size"], point["action_size"], point["horizon"]) == (2, 2, 40)
    reach = next(row for row in listed if row["name"] == "mw-reach")
    assert reach["splits"] == {"train": 40, "id": 10}


def test_one_family_shows_every_task(clwm: Clwm) -> None:
    text = clwm("families", "point-robot").stdout
    assert "random, scripted" in text
    assert "ood    angle 3.142, goal (-1, 0)" in text
    shown = json.loads(clwm("families", "point-robot", "--json").stdout)
    family = get_family("point-robot")
    assert [task["split"] for task in shown["tasks"]] == [task.split for task in family.tasks]
    assert shown["tasks"][39]["parameters"]["angle"] == family.task(39).parameters["angle"]


def test_an_unknown_family_is_one_line_with_a_hint(clwm: Clwm) -> None:
    done = clwm("families", "point-robt")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean point-robot" in done.stderr
    assert len(done.stderr.splitlines()) == 1


WITHOUT_SIMULATORS = """
import sys
for name in ("mujoco", "metaworld", "gymnasium", "dm_control", "torch"):
    sys.modules[name] = None  # makes its import fail as if it were not installed
from clwm_cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "arguments", [["families"], ["families", "--json"], ["families", "mw-reach"], ["families", "ml45"]]
)
def test_the_base_install_is_enough(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SIMULATORS, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if arguments[-1] == "mw-reach":
        assert "49  id     object (" in done.stdout


def test_a_family_of_several_benchmarks_names_them(clwm: Clwm) -> None:
    lines = clwm("families", "ml10").stdout.splitlines()
    assert next(line for line in lines if line.startswith("task")).split() == [
        *("task", "split", "benchmark", "parameters")
    ]
    assert lines[-1].split()[:3] == ["749", "ood", "lever-pull"]
    assert describe_tasks(get_family("ml10"))[140]["group"] == "pick-place"
    assert "group" not in describe_tasks(get_family("mw-reach"))[0]


def test_a_single_metaworld_family_keeps_its_name() -> None:
    rows = describe_all([get_family("mw-push"), get_family("point-robot")])
    assert [row["name"] for row in rows] == ["mw-push", "point-robot"]


def test_parameters_are_rounded_and_almost_zero_is_zero() -> None:
    assert format_parameters({"a": 1.23456, "b": (6e-17, 2.0)}) == "a 1.235, b (0, 2)"


def test_the_committed_document_is_up_to_date() -> None:
    committed = ROOT / "docs" / "families.md"
    assert committed.read_text(encoding="utf-8") == document(BUILTIN), (
        "run: python -m docs.generate.families > docs/families.md"
    )
