"""Every command that a page or a help text shows exists, with each of its options and files."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import tomllib
from pathlib import Path

import click
import pytest
from clwm_cli.main import clwm

from clwm_data.extras import MissingExtraError
from clwm_data.families import family_names
from clwm_data.manifest import bundled_manifests
from tests.conftest import ROOT
from tests.docs.shell_blocks import Typed, commands_of_page, commands_of_script

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
#: What the scripts for a cluster get from their scheduler, or set themselves.
VARIABLES = {
    "$SLURM_ARRAY_TASK_ID": "3",
    "$SLURM_CPUS_PER_TASK": "4",
    "$run": "runs/vel/spc-s3",
    "$resume": "--resume",
}
#: The folders of the repository whose files pages name.
FOLDERS = ("experiments/", "manifests/", "bench/", "docs/", "examples/", "tests/", ".ci/")


def leaf(words: tuple[str, ...]) -> tuple[click.Command, click.Context, list[str]]:
    """The verb that the words after ``clwm`` name, and the words after that."""
    command: click.Command = clwm
    context = click.Context(clwm, info_name="clwm")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, inner, rest = command.resolve_command(context, rest)
        assert inner is not None
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    return command, context, rest


def check(typed: Typed) -> None:
    """Raise where a ``clwm`` command could not be typed."""
    words = tuple(VARIABLES.get(word, word) for word in typed.words[1:])
    command, context, rest = leaf(words)
    if typed.verbatim:
        with contextlib.suppress(
            click.exceptions.Exit, MissingExtraError
        ):  # --help; what is known is not installed
            command.make_context(context.info_name, list(rest), parent=context.parent)
    known = {
        name
        for parameter in command.get_params(context)
        for name in parameter.opts + parameter.secondary_opts
    }
    for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", " ".join(rest)):
        assert option in known, f"no option {option}"
    names = {"collect": bundled_manifests, "families": family_names}.get(command.name or "")
    if names is not None and typed.verbatim and rest and re.fullmatch(r"[a-z][\w-]*", rest[0]):
        assert rest[0] in names(), f"{rest[0]}: no such name"
    for word in rest:
        if word.startswith(FOLDERS):
            assert (ROOT / word).exists(), f"{word}: no such file"


def shown(page: Path, program: str) -> list[Typed]:
    return [
        typed
        for typed in commands_of_page(page)
        if typed.words[0] == program and typed.words[1:2] not in [(), ("VERB",)]
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_can_be_typed(page: Path) -> None:
    for typed in shown(page, "clwm"):
        try:
            check(typed)
        except (click.ClickException, AssertionError) as error:
            pytest.fail(f"{typed}: {getattr(error, 'message', error)}")


def help_texts() -> dict[str, str]:
    """Verb -> its help text."""
    texts: dict[str, str] = {}

    def walk(command: click.Command, path: str) -> None:
        texts[path] = command.help or ""
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                walk(inner, f"{path} {name}")

    walk(clwm, "clwm")
    return texts


@pytest.mark.parametrize(("verb", "text"), help_texts().items(), ids=lambda value: value[:30])
def test_examples_of_a_help_text_can_be_typed(verb: str, text: str) -> None:
    examples = re.search(r"\n *Examples:\n(.*)", text, re.DOTALL)
    assert examples is not None, "no examples"
    lines = (re.sub(r" {3,}.*", "", line.strip()) for line in examples[1].splitlines())
    commands = list(commands_of_script("\n".join(lines)))
    assert any(" ".join(words).startswith(verb) for words in commands)
    for words in commands:
        if words[0] == "clwm":
            try:
                check(Typed(Path(verb), words, verbatim=True))
            except (click.ClickException, AssertionError) as error:
                pytest.fail(f"{words}: {getattr(error, 'message', error)}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_scripts_and_targets_of_a_page_exist(page: Path) -> None:
    for typed in shown(page, "python"):
        arguments = typed.words[1:]
        if arguments[:1] == ("-m",):
            module = arguments[1]
            assert module in ("venv", "pytest") or importlib.util.find_spec(module), str(typed)
            continue
        script = next((word for word in arguments if word.endswith(".py")), None)
        if script is not None and script.startswith(FOLDERS):
            assert (ROOT / script).exists(), str(typed)
            code = (ROOT / script).read_text(encoding="utf-8")
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(arguments)):
                assert f'"{option}"' in code, f"{typed}: {script} has no {option}"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for typed in shown(page, "make"):
        assert set(typed.words[1:]) <= {*targets, "#"}, str(typed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_extras_of_a_page_exist(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"(?:clwm|\.)\[([a-z,]+)\]", page.read_text(encoding="utf-8")):
        assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras


def test_what_cannot_be_typed_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for line in (
        "clwm colect x",
        "clwm collect x --worker 2",
        "clwm collect point-robot extra",
        "clwm eval r --episodes none",
        "clwm sweep experiments/none.yaml",
        "clwm collect no-such-manifest",
        "A=1 clwm info x --josn | tail -n 1",
    ):
        page.write_text(f"```sh\n{line}   # a comment\n```\n")
        (typed,) = shown(page, "clwm")
        with pytest.raises((click.ClickException, AssertionError)):
            check(typed)


def test_commands_are_found_wherever_they_stand() -> None:
    script = (
        "cat > x.yaml <<'END'\nclwm no\nEND\nA=1 clwm list | tail || { clwm env > x; clwm info \\\n  y; }\n"
    )
    found = [words for words in commands_of_script(script) if words[0] == "clwm"]
    assert found == [("clwm", "list"), ("clwm", "env"), ("clwm", "info", "y")]
