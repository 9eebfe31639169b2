"""Reference returns that a user brings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clwm_data.errors import ClwmError
from clwm_data.references import FOLDER
from clwm_data.references.table import read_reference_file, reference_of


def test_a_table_and_a_file_of_clwm(tmp_path: Path) -> None:
    table = tmp_path / "returns.csv"
    table.write_text("task,random,expert\n3,-1.5,2\n\n0,1e1,20\n")
    assert read_reference_file(table) == {3: (-1.5, 2.0), 0: (10.0, 20.0)}
    shipped = read_reference_file(FOLDER / "point-robot.yaml")
    assert sorted(shipped) == list(range(40))
    assert all(random < expert for random, expert in shipped.values())
    with pytest.raises(ClwmError, match="say nothing about task 1"):
        reference_of(read_reference_file(table), 1)


def test_a_file_of_clwm_that_lacks_returns_is_refused(tmp_path: Path) -> None:
    record = yaml.safe_load((FOLDER / "point-robot.yaml").read_text())
    record["expert"].pop()
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(ClwmError, match="random has 40 returns, expert 39"):
        read_reference_file(tmp_path / "x.yaml")


def test_an_expert_below_random_actions_turns_no_scale_upside_down(tmp_path: Path) -> None:
    """Better returns would have lower scores; columns that were exchanged are the likely cause."""
    record = yaml.safe_load((FOLDER / "point-robot.yaml").read_text())
    record["random"], record["expert"] = record["expert"], record["random"]
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(ClwmError, match=r"x\.yaml: task 0: random and expert return are"):
        read_reference_file(tmp_path / "x.yaml")
    with pytest.raises(
        ClwmError, match=r"references of task 4: random and expert return are 12\.0 and -1\.0"
    ):
        reference_of({4: (12.0, -1.0)}, 4)
    assert reference_of({4: (-1.0, 12.0)}, 4) == (-1.0, 12.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task,random\n0,1\n", "line 1: expected the columns task,random,expert"),
        ("", "line 1: expected the columns"),
        ("task,random,expert\n0,1\n", "line 2: expected a task"),
        ("task,random,expert\n0,1,2\n0,1,2\n", "line 3: expected a task that is not listed before"),
        ("task,random,expert\n-1,1,2\n", "line 2: expected a task"),
        ("task,random,expert\n0,1,nan\n", "line 2: expected a task"),
        ("task,random,expert\n0,1,x\n", "line 2: expected a task"),
        (
            "task,random,expert\n0,2,2\n",
            "line 2: random and expert return are 2.0 and 2.0: the expert's must be",
        ),
        ("task,random,expert\n0,1,2\n1,3,2\n", "line 3: random and expert return are 3.0 and 2.0"),
        ("\x00,\xff", "line 1: expected the columns"),
    ],
)
def test_other_contents_are_refused_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ClwmError, match=message):
        read_reference_file(tmp_path / "x.csv")
    with pytest.raises(ClwmError, match="cannot be read"):
        read_reference_file(tmp_path / "nowhere.csv")
