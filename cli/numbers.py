"""Numbers as options take them: bounded, and described in words."""

from __future__ import annotations

import math
from typing import Any

import click

#: Largest count, as in configurations; and largest number of processes or threads.
MOST, MOST_PROCESSES = 10**9, 10_000
#: Largest seed that random number generators and file formats can hold.
LARGEST_SEED = 2**63 - 1


class Seed(click.types.IntParamType):
    """A seed: a whole number from 0 that fits into 63 bits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seed.

        Raises:
            click.BadParameter: it is no such number.
        """
        number = int(super().convert(value, param, ctx))
        if not 0 <= number <= LARGEST_SEED:
            self.fail(f"{value} is not a seed: it must lie between 0 and 2^63 - 1", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number that is not absurd: what is made of it fits into the integers of other packages.

    Help texts name its largest value only where that is a limit that people may meet.
    """

    name = "integer"

    def __init__(self, least: int = 1, most: int = MOST) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or out of range.
        """
        number = click.INT.convert(value, param, ctx)
        _check(self, number, param, ctx)
        return number

    def _describe_range(self) -> str:  # what click's help shows
        assert isinstance(self.max, int)
        return f"at least {self.min}" if self.max >= MOST_PROCESSES else f"{self.min} to {self.max}"


class FiniteFloat(click.FloatRange):
    """A finite number in a range. Click's own range lets NaN pass, which is neither below nor above."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or out of range.
        """
        number = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        _check(self, number, param, ctx)
        return number

    def _describe_range(self) -> str:  # what click's help shows
        if self.max is not None:
            return f"{self.min:g} to {self.max:g}"
        return "" if self.min is None else f"{'more than' if self.min_open else 'at least'} {self.min:g}"


def _check(
    kind: Count | FiniteFloat, number: float, param: click.Parameter | None, ctx: click.Context | None
) -> None:
    """Refuse a number that is out of its range, in words."""
    least, most = kind.min, kind.max
    if least is not None and (number <= least if kind.min_open else number < least):
        bound = f"{'more than' if kind.min_open else 'at least'} {least:,.10g}"
        kind.fail(f"{number} is too small: it must be {bound}", param, ctx)
    if most is not None and number > most:
        kind.fail(f"{number} is too large: it must be at most {most:,.10g}", param, ctx)
