"""Completion of names by the shell, and ``clwm completion``: the script that switches it on.

Only what is cheap is looked up: names under ``data/`` and ``runs/``, and those that ship with clwm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
#: Environment variable by which the script asks for completions; click derives it from the program's name.
VARIABLE = "_CLWM_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that lets a SHELL complete verbs, options and names when Tab is pressed.

    \b
    Examples:
      eval "$(clwm completion bash)"      in ~/.bashrc
      eval "$(clwm completion zsh)"       in ~/.zshrc
      clwm completion fish > ~/.config/fish/completions/clwm.fish
    """
    from .main import clwm

    script = get_completion_class(shell)
    assert script is not None  # click has all three
    click.echo(_mended(shell, script(clwm, {}, "clwm", VARIABLE).source()))


def _mended(shell: str, script: str) -> str:
    """Click's script of a shell, with what it lacks.

    zsh knows ``compdef`` only where its completion is switched on. fish would cut names and help at their
    first comma.
    """
    if shell == "zsh":
        first, rest = script.lstrip().split("\n", 1)  # `#compdef` has to stand on the first line
        return f"{first}\n(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i }}\n{rest}"
    return re.sub(r'string split (?=",")', "string split --max 1 ", script) if shell == "fish" else script


def names(*sources: Callable[[], Iterable[str]]) -> Complete:
    """Completes the names that some functions list, and paths."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        known = [name for source in sources for name in source()]
        found = [CompletionItem(name) for name in dict.fromkeys(known) if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    return complete


def parts(*known: str) -> Complete:
    """Completes the last entry of a list with commas."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [
            CompletionItem(f"{before}{comma}{one}")
            for one in known
            if one.startswith(last) and one not in given
        ]

    return complete


def stores() -> list[str]:
    """Names of the stores under ``data/``."""
    from clwm_data.opening import DATA, stores_in
    from clwm_data.paths import SUFFIX

    return [path.name.removesuffix(SUFFIX) for path in stores_in(DATA)]


def runs() -> list[str]:
    """Names of the runs under ``runs/``, and paths of those of experiments there."""
    from clwm_data.opening import RUNS

    own = sorted(path.parent.name for path in RUNS.glob("*/run.yaml"))
    return own + sorted(str(path.parent) for path in RUNS.glob("*/*/run.yaml"))


def families() -> Iterable[str]:
    """Names of the task families."""
    from clwm_data.families import family_names

    return family_names()


def manifests() -> list[str]:
    """Names of the manifests that ship with clwm."""
    from clwm_data.manifest import bundled_manifests

    return bundled_manifests()


def methods() -> list[str]:
    """Names of the methods that ship with clwm."""
    return _bundled("methods")


def presets() -> list[str]:
    """Names of the presets that ship with clwm."""
    return _bundled("presets")


def _bundled(kind: str) -> list[str]:
    from importlib.util import find_spec

    found = find_spec("clwm_train")  # its packages import pydantic models; the names are those of files
    folder = Path(found.submodule_search_locations[0]) / "methods" if found else Path()  # type: ignore[index]
    return sorted(path.stem for path in (folder / kind if kind == "presets" else folder).glob("*.yaml"))
