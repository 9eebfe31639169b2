from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.manifest import Manifest
from clwm_data.strict import build_model, parse_yaml


def test_yaml_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (
        "name: !!python/object/apply:os.system ['touch pwned']",
        "name: !!python/name:os.system",
        "!!python/object/new:os.system ['touch pwned']",
    ):
        with pytest.raises(ClwmError, match="not valid YAML"):
            parse_yaml(text, "x.yaml")
    assert list(tmp_path.iterdir()) == []


def test_a_few_lines_of_yaml_do_not_unfold_to_billions() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))]
    with pytest.raises(ClwmError, match="holds more than 100000 keys and items"):
        parse_yaml("\n".join(lines), "bomb.yaml")
    merged = [
        "a0: &a0 {x: 1}",
        *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)),
    ]
    with pytest.raises(ClwmError, match="holds more than"):
        parse_yaml("\n".join(merged), "bomb.yaml")


def test_nesting_without_end_is_one_line() -> None:
    with pytest.raises(ClwmError, match="nested too deeply"):
        parse_yaml("a: " + "[" * 5000, "deep.yaml")
    with pytest.raises(ClwmError, match="nested too deeply or in a circle"):
        parse_yaml("a: &a [*a]", "circle.yaml")


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x9b", "\x7f", "\r"])
def test_control_characters_are_refused(character: str) -> None:
    text = f'name: x\nfamily: point-robot\ndescription: "a\\x{ord(character):02x}b"\nbehaviours: []\n'
    with pytest.raises(ClwmError, match=r"x.yaml:3: description"):
        build_model(Manifest, parse_yaml(text, "x.yaml"))
