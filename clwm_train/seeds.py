"""Seeds as people name them."""

from __future__ import annotations

from collections.abc import Iterable

from clwm_data.errors import InvalidInputError
from clwm_data.ranges import whole
from clwm_data.yaml_values import shown


def seed_numbers(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """One seed, or several, as whole numbers of any kind.

    Raises:
        InvalidInputError: something else, none at all, or a seed is named twice: the two would count as
            independent.
    """
    several = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else [seeds]
    numbers = tuple(number for seed in several if (number := whole(seed)) is not None)
    if len(numbers) < len(several):
        raise InvalidInputError(
            f"seeds: expected a whole number, or several such as [0, 1, 2], not {shown(seeds)}"
        )
    if not numbers or min(numbers) < 0:
        raise InvalidInputError(f"seeds: expected at least one, of 0 or more, not {shown(seeds)}")
    if len({*numbers}) < len(numbers):
        raise InvalidInputError(f"seeds: {max(numbers, key=numbers.count)} is named twice")
    return numbers
