"""Declarations that cost without bound, or cannot be meant: one line, at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_data.families.declared.reading import read_declaration
from clwm_data.functions import find_function

HEAD = "name: mine\nenv: Pendulum-v1\nhorizon: 5\n"
AXES = "".join(f"    p{i}: {{start: 0, stop: 1, count: 100000}}\n" for i in range(99))

DECLARATIONS = {
    "a grid of ten to the 495": (f"{HEAD}tasks:\n  grid:\n{AXES}", "the grid has more than 10^15 tasks"),
    "a hundred thousand tasks twice": (
        f"{HEAD}tasks: {{sample: {{train: 100000, id: 100000}}, parameters: "
        f"{{{', '.join(f'p{i}: [0, 1]' for i in range(6))}}}}}\n",
        "the tasks have 1,200,000 parameters together",
    ),
    "many parameters": (
        f"{HEAD}tasks: {{sample: {{train: 1}}, parameters: "
        f"{{{', '.join(f'p{i}: [0, 1]' for i in range(101))}}}}}\n",
        "at most 100 items",
    ),
    "an endless range": (
        f"{HEAD}tasks: {{sample: {{train: 3}}, parameters: {{g: [-1e308, 1e308]}}}}\n",
        "-1e+308 to 1e+308 is too long",
    ),
    "endless steps": (
        f"{HEAD}tasks: {{grid: {{g: {{start: -1e308, stop: 1e308, count: 3}}}}}}\n",
        "f.yaml:4: tasks.grid.g: -1e+308 to 1e+308 is too long",
    ),
    "an argument that JSON lacks": (
        f"{HEAD}arguments: {{g: .nan}}\ntasks: {{grid: {{q: [1.0]}}}}\n",
        "f.yaml:4: arguments.g: input should be a finite number, found nan",
    ),
    "an argument in parts": (
        f"{HEAD}arguments: {{g: {{a: 1}}}}\ntasks: {{grid: {{q: [1.0]}}}}\n",
        "f.yaml:4: arguments: 'g' is keys with values (1 items), expected a number, a text",
    ),
    "a function without its module": (
        f"{HEAD}apply: mine.make\ntasks: {{grid: {{q: [1.0]}}}}\n",
        "f.yaml:4: apply: expected package.module:function or mujoco-context, found 'mine.make'",
    ),
    "a name with a blank": (
        "name: a b\nenv: X-v0\nhorizon: 5\ntasks: {grid: {g: [1.0]}}\n",
        "f.yaml:1: name: 'a b' cannot be the name of a family: use letters, digits and . _ -",
    ),
    "a terminal's commands": (
        'name: mine\nenv: "Pend\\e[2J-v1"\nhorizon: 5\ntasks: {grid: {g: [1.0]}}\n',
        "f.yaml:2: env: ",
    ),
    "itself": ("family: f.yaml\n", "f.yaml:1: family: files name each other in a circle"),
}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_one_line_at_once(name: str, tmp_path: Path) -> None:
    text, words = DECLARATIONS[name]
    (tmp_path / "f.yaml").write_text(text)
    begun = time.process_time()
    with pytest.raises(InvalidInputError) as caught:
        read_declaration(tmp_path / "f.yaml")
    assert time.process_time() - begun < 2.0
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arguments_may_be_lists_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(
        f"{HEAD}arguments: {{a: [1, 2.5, x], b: null, c: true}}\ntasks: {{grid: {{q: [1.0]}}}}\n"
    )
    declaration = read_declaration(tmp_path / "f.yaml")
    assert declaration.arguments == {"a": [1, 2.5, "x"], "b": None, "c": True}
    assert type(declaration)(**declaration.model_dump()) == declaration


def test_a_module_that_exits_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the command would end with the module's status, and without a word."""
    (tmp_path / "quits_at_once.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnavailableError, match="quits_at_once cannot be imported: SystemExit: 0"):
        find_function("quits_at_once:act", "policy")
