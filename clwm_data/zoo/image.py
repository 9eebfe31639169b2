"""The image of a policy under a symmetry: the same behaviour of a robot that is turned or mirrored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.conditioning import Conditioning
from clwm_data.families.symmetry import Symmetry

Array = NDArray[np.float64]

#: Largest distance between conditioning vectors (single precision) of the same task.
_SAME = 1e-5


def image_of_policy(
    tensors: Mapping[str, NDArray[np.float32]], symmetry: Symmetry, conditioning: Conditioning
) -> dict[str, NDArray[np.float32]]:
    """The image of a policy: it acts on a robot as the policy acts on the robot's image.

    Its returns on a task are those of the policy on the task's image. Weights only change position and sign;
    everything else goes into the normalisation of the inputs.

    Args:
        tensors: as :class:`clwm_data.zoo.policy.LearnedPolicy` takes them.
        symmetry: a symmetry of the family.
        conditioning: the family's conditioning, whose vectors follow the observation.
    """
    result = {name: tensor.copy() for name, tensor in tensors.items()}
    index, factor, offset = _inputs(symmetry, conditioning)
    result["input.mean"][index] = (tensors["input.mean"] - offset) / factor
    result["input.scale"][index] = tensors["input.scale"] * factor
    result["layer.0.weight"][index] = tensors["layer.0.weight"]
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("layer."))
    motors, sign = np.asarray(symmetry.action.index), np.asarray(symmetry.action.sign)
    columns = np.concatenate([motors, motors + len(motors)])
    signs = np.concatenate([sign, np.ones_like(sign)])  # only the means change sign, not the deviations
    for part in ("weight", "bias"):
        head = result[f"layer.{last}.{part}"]
        head[..., columns] = head * signs
    return result


def images_of_tasks(
    symmetry: Symmetry, conditioning: Conditioning, tasks: Sequence[int]
) -> NDArray[np.int64] | None:
    """For each task, the task that is its image.

    Args:
        symmetry: a symmetry of the family.
        conditioning: the family's conditioning.
        tasks: indices of T tasks.

    Returns:
        [T] positions in ``tasks``; ``None`` if the image of any task is not among them.
    """
    vectors = conditioning.vectors[list(tasks)].astype(np.float64)
    images = conditioning.scale(symmetry.conditioning(conditioning.unscale(vectors)))
    distances = np.abs(images[:, None] - vectors).max(axis=-1)
    return distances.argmin(axis=1) if distances.min(axis=1).max() < _SAME else None


def _inputs(symmetry: Symmetry, conditioning: Conditioning) -> tuple[NDArray[np.int64], Array, Array]:
    """(index, factor, offset): with image inputs x, the policy's are factor[j] x[index[j]] + offset[j]."""
    observed, task = symmetry.observation, symmetry.conditioning
    zero, unit = np.zeros(len(task.index)), np.ones(len(task.index))
    offset = conditioning.scale(task(conditioning.unscale(zero)))
    factor = conditioning.scale(task(conditioning.unscale(unit))) - offset
    index = np.concatenate([observed.index, len(observed.index) + np.asarray(task.index)])
    return (
        index,
        np.concatenate([observed.sign, factor]),
        np.concatenate([np.zeros(len(observed.sign)), offset]),
    )
