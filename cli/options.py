"""Options that several verbs take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from clwm_data.suggestions import suggestion

from .completion import parts

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class UserPath(click.Path):
    """A path, in which ``~`` is the home folder: shells leave it in ``--out=~/x``."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            click.BadParameter: it begins with a home folder that is not known.
        """
        from clwm_data.errors import InvalidInputError
        from clwm_data.paths import expand_home  # the package takes time to import

        try:
            return expand_home(str(super().convert(value, param, ctx)))
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)


class TargetPath(UserPath):
    """A path to be written to. An empty text is refused: as a path it would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            click.BadParameter: it is empty, or as for other paths.
        """
        if not str(value).strip():
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


checkpoint_option: Decorator = click.option(
    "--checkpoint",
    type=UserPath(),
    help="A checkpoint: its folder, its number of updates, or best.  [default: the latest]",
)
run_store_option: Decorator = click.option("--store", help="Where the run's data is now, if it has moved.")
json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead."
)


def list_option(
    option: str,
    name: str,
    *known: str,
    help: str,
    default: Sequence[str] = (),
    shown_default: str | None = None,
    as_given: bool = False,
) -> Decorator:
    """An option of one or several names: ``--split train,id``, or ``--split train --split id``.

    It is passed as a tuple.

    Args:
        option: the option.
        name: the command's argument.
        known: all names that it takes.
        help: what the names are; how to give several is added.
        default: names that are meant where the option is not given.
        shown_default: what its help says of that, if it is not those names.
        as_given: keep the order in which the names were given, rather than that of ``known``.
    """

    def parse(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        chosen = [part.strip() for value in values for part in value.split(",")]
        for part in chosen:
            if part not in known:
                hint = suggestion(part, known)
                raise click.BadParameter(
                    f"{part!r} is not one of {', '.join(known)}{f': {hint}' if hint else ''}",
                    ctx=ctx,
                    param=parameter,
                )
        return tuple(dict.fromkeys(chosen)) if as_given else tuple(part for part in known if part in chosen)

    shown = shown_default or ",".join(default)
    return click.option(
        option,
        name,
        multiple=True,
        metavar="NAMES",
        default=tuple(default),
        callback=parse,
        shell_complete=parts(*known),
        help=f"{help}; several with commas, or repeat the option.{shown and f'  [default: {shown}]'}",
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
