"""Options that several verbs take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

checkpoint_option: Decorator = click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Folder of a checkpoint.  [default: the latest]"
)
run_store_option: Decorator = click.option("--store", help="Where the run's data is now, if it has moved.")
json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead."
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
