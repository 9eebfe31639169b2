"""Symmetries of a robot: the same robot, as an observer sees it who is turned or looks into a mirror."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SignedPermutation:
    """y[j] = sign[j] x[index[j]].

    Attributes:
        index: a permutation of 0 .. n - 1.
        sign: n times 1 or -1.

    Raises:
        ValueError: they are something else.
    """

    index: tuple[int, ...]
    sign: tuple[int, ...]

    def __post_init__(self) -> None:
        n = len(self.index)
        if sorted(self.index) != list(range(n)) or len(self.sign) != n or set(self.sign) - {-1, 1}:
            raise ValueError(f"not a signed permutation: {self.index} with signs {self.sign}")

    @classmethod
    def of(cls, function: Callable[[NDArray[np.int64]], Iterable[int]], size: int) -> SignedPermutation:
        """The one that a function of vectors of this size is.

        Raises:
            ValueError: the function is none.
        """
        marked = np.asarray(list(function(np.arange(1, size + 1))), np.int64)
        return cls(tuple((np.abs(marked) - 1).tolist()), tuple(np.sign(marked).tolist()))

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of vectors [..., n]."""
        return np.asarray(x[..., list(self.index)] * np.asarray(self.sign))

    def after(self, first: SignedPermutation) -> SignedPermutation:
        """x -> self(first(x))."""
        index = tuple(first.index[i] for i in self.index)
        sign = tuple(s * first.sign[i] for s, i in zip(self.sign, self.index, strict=True))
        return SignedPermutation(index, sign)


@dataclass(frozen=True)
class Symmetry:
    """Whatever robot and task do, their image does: from the image of a state, by the images of the actions.

    Attributes:
        name: what the observer does, for people: "turned by 90 degrees".
        observation: from an observation to the image's.
        action: from an action to the image's.
        conditioning: from the numbers that tell a task (``TaskFamily.conditioning``, in the units of its
            parameters) to those of the task with equal rewards.
    """

    name: str
    observation: SignedPermutation
    action: SignedPermutation
    conditioning: SignedPermutation

    def after(self, first: Symmetry, name: str) -> Symmetry:
        """First the one, then the other."""
        return Symmetry(
            name,
            self.observation.after(first.observation),
            self.action.after(first.action),
            self.conditioning.after(first.conditioning),
        )
