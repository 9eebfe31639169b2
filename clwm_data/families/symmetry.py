"""Symmetries of a robot: the robot as seen by an observer who is turned, or who looks into a mirror."""

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
        sign: n entries, each 1 or -1.

    Raises:
        ValueError: ``index`` or ``sign`` is not of this form.
    """

    index: tuple[int, ...]
    sign: tuple[int, ...]

    def __post_init__(self) -> None:
        n = len(self.index)
        if sorted(self.index) != list(range(n)) or len(self.sign) != n or set(self.sign) - {-1, 1}:
            raise ValueError(f"not a signed permutation: {self.index} with signs {self.sign}")

    @classmethod
    def from_function(
        cls, function: Callable[[NDArray[np.int64]], Iterable[int]], size: int
    ) -> SignedPermutation:
        """The signed permutation that a function of vectors of length ``size`` computes.

        Raises:
            ValueError: the function is not a signed permutation.
        """
        marked = np.asarray(list(function(np.arange(1, size + 1))), np.int64)
        return cls(tuple((np.abs(marked) - 1).tolist()), tuple(np.sign(marked).tolist()))

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the permutation to vectors [..., n]."""
        return np.asarray(x[..., list(self.index)] * np.asarray(self.sign))

    def after(self, first: SignedPermutation) -> SignedPermutation:
        """x -> self(first(x))."""
        index = tuple(first.index[i] for i in self.index)
        sign = tuple(s * first.sign[i] for s, i in zip(self.sign, self.index, strict=True))
        return SignedPermutation(index, sign)


@dataclass(frozen=True)
class Symmetry:
    """A map that commutes with the dynamics: the image of a step is a step between the images.

    Attributes:
        name: description of the observer, such as "turned by 90 degrees".
        observation: maps an observation to its image.
        action: maps an action to its image.
        conditioning: maps the conditioning of a task (``TaskFamily.conditioning``, in the units of its
            parameters) to that of its image, the task with equal rewards.
    """

    name: str
    observation: SignedPermutation
    action: SignedPermutation
    conditioning: SignedPermutation

    def after(self, first: Symmetry, name: str) -> Symmetry:
        """The symmetry ``first``, followed by this one."""
        return Symmetry(
            name,
            self.observation.after(first.observation),
            self.action.after(first.action),
            self.conditioning.after(first.conditioning),
        )
