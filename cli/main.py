"""The ``clwm`` command: a group with one module per verb."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from .group import Group

#: Section of ``clwm --help`` -> verb -> its line there; the module ``clwm_cli.<verb>`` holds the command.
SECTIONS = {
    "Data": {
        "families": "List task families, or the tasks of one.",
        "collect": "Collect the dataset that a manifest describes.",
        "list": "List stores and runs here, or what is published.",
        "info": "Show what a store holds.",
        "preview": "Film episodes of a family, a store or an agent.",
        "validate": "Check a store: schema, episodes, digests, values.",
        "select": "Make a store from a part of another.",
        "merge": "Make one store of several.",
        "delete-episodes": "Remove episodes from a store.",
        "relabel": "Make a store of the same transitions with other rewards.",
        "convert": "Convert from and to Minari, NumPy, HDF5, Parquet, torch.",
        "behaviour": "Train the policies that collect data.",
    },
    "Share": {
        "push": "Publish a store or a trained agent on the Hub.",
        "pull": "Download a published store, or some of its tasks.",
    },
    "Learn": {
        "train": "Train an agent on a store.",
        "eval": "Evaluate how well a run's agent adapts.",
        "analyse": "Measure what a run's networks have learned.",
        "demo": "Collect, validate, train, evaluate and draw, in minutes.",
    },
    "Compare": {
        "sweep": "Train, evaluate and analyse many runs: methods x stores x seeds.",
        "report": "Show a store, or runs beside each other, on one page.",
    },
    "Help": {
        "env": "Show versions and folders, to paste into a bug report.",
        "completion": "Print the script that makes the shell complete names.",
    },
}
VERBS = [verb for section in SECTIONS.values() for verb in section]
#: Characters of an error line; paths of most file systems have up to 4,096.
LONGEST_LINE = 1000
ALIASES = {
    "analyze": "analyse",
    "behavior": "behaviour",
    "evaluate": "eval",
    "download": "pull",
    "upload": "push",
}


class VerbGroup(Group):
    """Imports a verb's module only when the verb is used, so that ``clwm --help`` is quick."""

    aliases = ALIASES

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the work."""
        return VERBS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The click command of a verb, or of another spelling of it."""
        verb = ALIASES.get(cmd_name, cmd_name)
        if verb not in VERBS:
            return None
        name = verb.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{__package__}.{name}"), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs and options that begin so; the verbs are not imported."""
        verbs = [
            CompletionItem(verb, help=line)
            for section in SECTIONS.values()
            for verb, line in section.items()
            if verb.startswith(incomplete)
        ]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by section, without importing them."""
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(max(map(len, VERBS))), line) for verb, line in verbs.items()])


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clwm")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def clwm(debug: bool) -> None:
    """Offline meta-reinforcement learning: datasets of many related tasks, and agents that adapt to new ones.

    \b
    Examples:
      clwm demo                        everything in minutes: collect, validate, train, evaluate
      clwm collect point-robot         data/point-robot.zarr
      clwm train point-robot           runs/point-robot-spc-s0
      clwm eval runs/point-robot-spc-s0
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit: 0, 1 (an error, one line on stderr), 2 (wrong usage), 130 (Ctrl-C)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        # Not standalone: click's own handling exits with 1 on Ctrl-C, which here means an error.
        sys.exit(clwm.main(args=arguments, prog_name="clwm", standalone_mode=False) or 0)
    except click.ClickException as error:
        _with_suggestion(error).show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):  # a bare one: during completion
        click.echo("clwm: interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        # A single line without control characters, whatever the message quotes from files.
        line = "".join(c if c.isprintable() else " " for c in f"clwm: error: {_message(error)}")
        click.echo(_shortened(line), err=True)
        sys.exit(1)


def _with_suggestion(error: click.ClickException) -> click.ClickException:
    """The error; one about a value that is none of a few choices also says what may have been meant."""
    given = re.match(r"'(.*?)' is not one of ", error.message)
    if given is None or not isinstance(error, click.BadParameter) or error.param is None:
        return error
    if not isinstance(error.param.type, click.Choice):
        return error
    from clwm_data.suggestions import suggestion  # the package takes time to import

    meant = suggestion(given[1], map(str, error.param.type.choices)).capitalize()
    return click.BadParameter(
        f"{error.message} {meant}".rstrip(), ctx=error.ctx, param=error.param, param_hint=error.param_hint
    )


def _shortened(line: str) -> str:
    """A line without the middle of what is very long, such as a path of thousands of characters: it begins
    with what is wrong and ends with what to do."""
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


def _message(error: Exception) -> str:
    """What went wrong, in one line."""
    from clwm_data.disk import describe  # the package takes time to import
    from clwm_data.errors import ClwmError

    if isinstance(error, ClwmError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory{f': {error}' if str(error) else ''}"
    if isinstance(error, OSError):
        return describe(error)
    return f"{type(error).__name__}: {error}: this is a bug in clwm; --debug shows the traceback to report"
