"""The image of a policy: what it does, done by a robot that is turned or mirrored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.conditioning import Conditioning
from clwm_data.families.symmetry import Symmetry

Array = NDArray[np.float64]

#: Distance below which scaled numbers of tasks, in single precision, are the same.
_SAME = 1e-5


def image_of_policy(
    tensors: Mapping[str, NDArray[np.float32]], symmetry: Symmetry, conditioning: Conditioning
) -> dict[str, NDArray[np.float32]]:
    """The policy that sees the robot's image, and does what the policy would have the image do.

    Its returns on a task are those of the policy on the task's image. No weight changes but in place and
    sign: the inputs' normalisation takes up the rest.

    Args:
        tensors: as :class:`clwm_data.zoo.policy.LearnedPolicy` takes them.
        symmetry: of the family.
        conditioning: of the family, whose vectors follow the observation.
    """
    result = {name: tensor.copy() for name, tensor in tensors.items()}
    index, factor, offset = _inputs(symmetry, conditioning)
    result["input.mean"][index] = (tensors["input.mean"] - offset) / factor
    result["input.scale"][index] = tensors["input.scale"] * factor
    result["layer.0.weight"][index] = tensors["layer.0.weight"]
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("layer."))
    motors, sign = np.asarray(symmetry.action.index), np.asarray(symmetry.action.sign)
    columns = np.concatenate([motors, motors + len(motors)])
    signs = np.concatenate([sign, np.ones_like(sign)])  # of the means; deviations have none
    for part in ("weight", "bias"):
        head = result[f"layer.{last}.{part}"]
        head[..., columns] = head * signs
    return result


def images_of_tasks(
    symmetry: Symmetry, conditioning: Conditioning, tasks: Sequence[int]
) -> NDArray[np.int64] | None:
    """Which task each task's image is.

    Args:
        symmetry: of the family.
        conditioning: of the family.
        tasks: indices of T tasks.

    Returns:
        [T] positions in ``tasks``; ``None`` where the image of one is not among them.
    """
    vectors = conditioning.vectors[list(tasks)].astype(np.float64)
    images = conditioning.scale(symmetry.conditioning(conditioning.unscale(vectors)))
    distances = np.abs(images[:, None] - vectors).max(axis=-1)
    return distances.argmin(axis=1) if distances.min(axis=1).max() < _SAME else None


def _inputs(symmetry: Symmetry, conditioning: Conditioning) -> tuple[NDArray[np.int64], Array, Array]:
    """Input j of the policy is factor[j] x[index[j]] + offset[j] of what its image sees."""
    seen, told = symmetry.observation, symmetry.conditioning
    zero, unit = np.zeros(len(told.index)), np.ones(len(told.index))
    offset = conditioning.scale(told(conditioning.unscale(zero)))
    factor = conditioning.scale(told(conditioning.unscale(unit))) - offset
    index = np.concatenate([seen.index, len(seen.index) + np.asarray(told.index)])
    return index, np.concatenate([seen.sign, factor]), np.concatenate([np.zeros(len(seen.sign)), offset])
