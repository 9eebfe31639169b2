from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.manifest import Manifest
from clwm_data.strict import build_model, parse_yaml, read_yaml
from clwm_data.yaml_text import dump_yaml


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
    with pytest.raises(ClwmError, match=r"bomb\.yaml:2: .*merge keys \(<<\) are not read"):
        parse_yaml("\n".join(merged), "bomb.yaml")


HOSTILE = {
    "aliases in a key": "? [&a [x, x], &b [*a, *a, *a], &c [*b, *b, *b], &d [*c, *c, *c]]\n: 1",
    "aliases in an inner key": "a: {? {? [&a [x], *a, *a] : 1} : 1}",
    "sexagesimal": "seed: " + "1:" * 500_000 + "1",
    "a hexadecimal number": "seed: 0x" + "f" * 5_000,
    "an octal number": "seed: 0o" + "7" * 5_000,
    "a binary number": "seed: 0b" + "1" * 5_000,
    "a decimal number": "seed: " + "9" * 5_000,
    "a float": "seed: " + "9" * 5_000 + ".5",
    "lists": "a: [" + "[]," * 80_000 + "]",
    "depth in flow": "a: " + "[" * 100_000,
    "depth in blocks": "- " * 100_000,
    "depth of indentation": "\n".join(" " * i + "a:" for i in range(500)),
    "a long key": "x" * 200_000 + ": 1\ny: 2",
    "a long unknown key": '"' + "x" * 900 + '": 1',
    "a key of control characters": '"\\e[2J": 1',
    "a long text": f"seed: {'x' * 200_000}",
    "a long anchor": f"a: *{'x' * 200_000}",
    "a tag": "a: !!binary aGVsbG8=",
    "a second document": "name: x\n---\nname: y",
    "an alias of nothing": "a: *b",
    "a circle through a mapping": "a: &a {b: *a}",
    "size": "# " + "x" * 10**7,
    "nothing but a directive": "%YAML 1.1\n" * 1_000,
    "a NUL": "a: \0",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents_end_soon_in_one_short_line(text: str) -> None:
    since = time.process_time()
    with pytest.raises(InvalidInputError) as caught:
        build_model(Manifest, parse_yaml(text, "x.yaml"))
    assert time.process_time() - since < 8.0
    message = str(caught.value)
    assert message.startswith("x.yaml")
    assert len(message) < 500
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("12:30", "12:30"),
        ("1e-1", 0.1),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -float("inf")),
        ("+7", 7),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("~", None),
        ("", None),
        ("2026-11-25", "2026-11-25"),
        ("'10'", "10"),
        ('"true"', "true"),
        ("! 10", "10"),
        ("!!str 10", "10"),
        ("0b11", "0b11"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    data = parse_yaml(f"a: {text}", "x.yaml").data
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


def test_aliases_are_read_and_keep_the_lines_of_their_use() -> None:
    document = parse_yaml("a: &x [1, 2]\nb: {c: *x}\n", "x.yaml")
    assert document.data == {"a": [1, 2], "b": {"c": [1, 2]}}
    assert document.where(("b", "c", 1)) == "x.yaml:2"


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
    | st.sampled_from(
        ["010", "1e3", "12:30", "0o7", "yes", "<<", "~", "1_0", "-.5", ".inf", "0x1f", "=", "! a"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab1-:e", max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc_0e1", min_size=1, max_size=5), plain, max_size=5))
def test_what_is_dumped_is_read_again(data: dict[str, object]) -> None:
    """By this parser, and by one for YAML 1.1, which quotes no more than it needs."""
    text = dump_yaml(data)
    assert parse_yaml(text, "x.yaml").data == data
    assert yaml.safe_load(text) == data


@settings(deadline=None, max_examples=300)
@given(st.text("ab:-[]{},&*!?|>'\"#%@` \n\t0123.~", max_size=60))
def test_any_text_is_a_document_or_one_line(text: str) -> None:
    message, keys = "", {}
    try:
        keys = parse_yaml(text, "x.yaml").data
    except InvalidInputError as error:
        message = str(error)
    assert message.isprintable()
    assert all(isinstance(key, str) for key in keys)


def test_a_key_that_is_dumped_may_look_like_a_merge_key() -> None:
    assert parse_yaml(dump_yaml({"<<": 1}), "x.yaml").data == {"<<": 1}


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(InvalidInputError, match=r"x\.yaml: has more than"):
        read_yaml(path)


def test_nesting_without_end_is_one_line() -> None:
    with pytest.raises(ClwmError, match="nested too deeply"):
        parse_yaml("a: " + "[" * 5000, "deep.yaml")
    with pytest.raises(ClwmError, match="nested too deeply or recursive"):
        parse_yaml("a: &a [*a]", "circle.yaml")


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x9b", "\x7f", "\r"])
def test_control_characters_are_refused(character: str) -> None:
    text = f'name: x\nfamily: point-robot\ndescription: "a\\x{ord(character):02x}b"\nbehaviours: []\n'
    with pytest.raises(ClwmError, match=r"x.yaml:3: description"):
        build_model(Manifest, parse_yaml(text, "x.yaml"))


@pytest.mark.parametrize(
    ("key", "meant"),
    [("noise", "behaviours[].noise"), ("epsiodes", "behaviours[].episodes"), ("licens", "licence")],
)
def test_a_key_at_the_wrong_place_is_told_where_it_belongs(key: str, meant: str) -> None:
    text = f"name: a\nfamily: point-robot\n{key}: 1\nbehaviours: [{{policy: scripted, episodes: 1}}]\n"
    with pytest.raises(InvalidInputError) as error:
        build_model(Manifest, parse_yaml(text, "m.yaml"))
    assert f"m.yaml:3: unknown key {key}: did you mean {meant}?" in str(error.value)


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"is a folder: name a file in it$"):
        read_yaml(tmp_path)
    for name in ("b.yaml", "a.yml", "a.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InvalidInputError, match=r"name a file in it, such as .*a\.yml$"):
        read_yaml(tmp_path)
