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
