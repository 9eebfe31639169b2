"""Options that several verbs take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .completion import parts

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

checkpoint_option: Decorator = click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A checkpoint: its folder, its number of updates, or best.  [default: the latest]",
)
run_store_option: Decorator = click.option("--store", help="Where the run's data is now, if it has moved.")
json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead."
)


def track_option(what: str, default: str) -> Decorator:
    """``--track``, passed as ``track``: names of trackers, or ``None`` where it is not given.

    Args:
        what: beginning of its help.
        default: what is done without it.
    """

    def parse(ctx: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        names = [part.strip() for part in value.split(",")]
        if names == ["none"]:
            return ()
        from clwm_train.tracking import check_trackers

        return check_trackers(names)

    return click.option(
        "--track",
        metavar="NAMES",
        callback=parse,
        shell_complete=parts("tensorboard", "wandb", "trackio", "none"),
        help=f"{what}, separated by commas: tensorboard, wandb, trackio; or none.  [default: {default}]",
    )


class TargetPath(click.Path):
    """A path to be written to. An empty text is refused: as a path it would mean the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            click.BadParameter: it is empty.
        """
        if not str(value).strip():
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)
