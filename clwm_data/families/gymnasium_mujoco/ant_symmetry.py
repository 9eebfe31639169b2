"""Symmetries of the Ant: its legs are alike, and a leg is its own mirror image.

Joint positions are ordered hip_1, ankle_1, ..., ankle_4, counter-clockwise from the leg at x = y; motors are
ordered by legs 4, 1, 2, 3. Hips turn about z, ankles about axes along the legs' normals: (-1, 1) for legs 1
and 3, (1, 1) for legs 2 and 4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.symmetry import SignedPermutation, Symmetry

Numbers = NDArray[np.int64]


def turned(observation_size: int, conditioning: SignedPermutation) -> Symmetry:
    """The turn by 90 degrees counter-clockwise: leg i takes the place of leg i + 1.

    Args:
        observation_size: 29, or 27 without the torso's position in the plane.
        conditioning: how the turn transforms a task's conditioning.
    """

    def legs(x: Numbers) -> Numbers:
        # Turned, (-1, 1) is minus the axis of the next ankle, and (1, 1) is the axis of the next one.
        sign = np.asarray([[1, 1], [1, -1], [1, 1], [1, -1]])
        return np.ravel(np.roll(x.reshape(4, 2), 1, axis=0) * sign)

    def turn(x: int, y: int, z: int) -> list[int]:
        return [-y, x, z]

    return _symmetry("turned by 90 degrees", observation_size, conditioning, legs, turn, turn)


def mirrored(observation_size: int, conditioning: SignedPermutation) -> Symmetry:
    """The mirror in the plane y = 0: legs 1 and 4 swap places, and so do 2 and 3; see :func:`turned`."""

    def legs(x: Numbers) -> Numbers:
        return np.ravel(x.reshape(4, 2)[::-1] * np.asarray([-1, 1]))

    def vector(x: int, y: int, z: int) -> list[int]:
        return [x, -y, z]

    def axis(x: int, y: int, z: int) -> list[int]:  # of a rotation: the mirror reverses its sense, too
        return [-x, y, -z]

    return _symmetry("mirrored", observation_size, conditioning, legs, vector, axis)


def turns_and_mirrors(turn: Symmetry, mirror: Symmetry) -> tuple[Symmetry, ...]:
    """All seven combinations of a quarter turn and a mirror, without the identity."""
    half = turn.after(turn, "turned by 180 degrees")
    turns = [turn, half, half.after(turn, "turned by 270 degrees")]
    return (*turns, mirror, *(t.after(mirror, f"mirrored, {t.name}") for t in turns))


def _symmetry(
    name: str,
    observation_size: int,
    conditioning: SignedPermutation,
    legs: Callable[[Numbers], Numbers],
    vector: Callable[[int, int, int], list[int]],
    axis: Callable[[int, int, int], list[int]],
) -> Symmetry:
    def observation(x: Numbers) -> list[int]:
        place, (w, *ijk), joints, root, speeds = np.split(x, np.cumsum([observation_size - 26, 4, 8, 6]))
        x_y_z = [0, 0, *place][-3:]  # entries that are not observed are dropped again below
        return [
            *vector(*x_y_z)[3 - len(place) :],
            w,
            *axis(*ijk),
            *legs(joints),
            *vector(*root[:3]),
            *axis(*root[3:]),
            *legs(speeds),
        ]

    def motors(x: Numbers) -> Numbers:
        return np.roll(legs(np.roll(x, -2)), 2)

    return Symmetry(
        name,
        SignedPermutation.from_function(observation, observation_size),
        SignedPermutation.from_function(motors, 8),
        conditioning,
    )
