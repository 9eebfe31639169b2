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
threads_option: Decorator = click.option(
    "--threads", type=click.IntRange(1), help="CPU threads of a run.  [default: 1 if networks are small]"
)
compile_option: Decorator = click.option(
    "--compile/--no-compile",
    "compiles",
    default=None,
    help="Compile the update first (on CPU: a minute or two, with g++; then kept); quicker from then on.  "
    "[default: from 10,000 updates on, if there is a compiler]",
)


def device_option(default: str) -> Decorator:
    """``--device``, for what :func:`clwm_train.training.train.pick_device` takes."""
    text = "cpu, cuda, cuda:1, ...; auto: a GPU if there is one."
    return click.option("--device", default=default, show_default=True, help=text)
