"""The ``clwm`` command: a group with one module per verb."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from clwm_data.errors import ClwmError

#: Verb -> one line for ``clwm --help``; the module ``clwm_cli.<verb>`` holds the click command ``<verb>``.
VERBS = {
    "families": "List task families, or the tasks of one.",
    "collect": "Collect the dataset that a manifest describes.",
    "info": "Show what a store holds.",
    "preview": "Film episodes of a family or of a store.",
    "validate": "Check a store: schema, episodes, digests, values.",
    "report": "Show a store, or runs beside each other, on one page.",
    "select": "Make a store of a part of another.",
    "merge": "Make one store of several.",
    "delete-episodes": "Remove episodes from a store.",
    "convert": "Convert from other formats and to them.",
    "behaviour": "Train the policies that collect data.",
    "train": "Train an agent on a store.",
    "eval": "Evaluate how well a run's agent adapts.",
    "analyse": "Measure what a run's representations and world model have learned.",
    "sweep": "Train, evaluate and analyse many runs: methods x stores x seeds.",
    "push": "Publish a store, or a trained agent, on the Hugging Face Hub.",
    "pull": "Download a published store, or some of its tasks.",
    "demo": "Collect, validate, train, evaluate and draw, in minutes.",
}


class VerbGroup(click.Group):
    """Imports a verb's module only when the verb is used, so that ``clwm --help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the work: collect, look, train, share."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The click command of a verb."""
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{__package__}.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clwm")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def clwm(debug: bool) -> None:
    """Offline meta-reinforcement learning: datasets of many related tasks, and agents that adapt to new ones.

    \b
    Examples:
      clwm demo                        the whole chain in minutes: collect, validate, train, evaluate
      clwm collect point-robot         data/point-robot.zarr
      clwm train point-robot           runs/point-robot-spc-s0
      clwm eval runs/point-robot-spc-s0
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line: exit code 0, 1 (an error, one line on stderr) or 2 (wrong usage)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        return clwm.main(args=arguments, prog_name="clwm")
    except (ClwmError, OSError) as error:
        if debug:
            raise
        text = str(error) if isinstance(error, ClwmError) else _of_the_system(error)
        # One line whatever stood in the files that the message quotes, and no control characters.
        line = "".join(c if c.isprintable() else " " for c in f"clwm: error: {text}")
        click.echo(line, err=True)
        sys.exit(1)


def _of_the_system(error: OSError) -> str:
    """A full disk, a folder without permission, and the like."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}: mend it and run the command again (--debug: the traceback)"
