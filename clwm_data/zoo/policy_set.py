"""The policies in one checkpoint file: usually one for all tasks, sometimes several, each for some tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.zoo.policy import LearnedPolicy

#: Name of the tensor [T] that says which policy plays each task of the family; only if there are several.
MEMBER = "member"

Tensors = Mapping[str, NDArray[Any]]


class PolicySet:
    """Which policy plays which task.

    Attributes:
        policies: the policies, of equal input and action sizes.
        member: [T] for each task of the family an index into ``policies``; ``None``: one policy plays all.
    """

    def __init__(self, tensors: Tensors) -> None:
        """Build the policies from a file's tensors.

        A single policy's tensors have their own names; of several policies, the tensors of the i-th are
        prefixed with ``<i>/``, and ``member`` [T] integer assigns a policy to each task.

        Raises:
            ValueError: the tensors are not those of such policies.
        """
        self.member: NDArray[np.int64] | None = None
        if MEMBER not in tensors:
            self.policies = [LearnedPolicy(_single(tensors))]
            return
        member = tensors[MEMBER]
        if member.ndim != 1 or member.dtype.kind not in "iu" or not member.size:
            raise ValueError(f"{MEMBER} must be a vector of integers, not {member.dtype}{member.shape}")
        grouped: dict[str, dict[str, NDArray[Any]]] = {}
        for name, tensor in tensors.items():
            if name != MEMBER:
                prefix, _, rest = name.partition("/")
                grouped.setdefault(prefix, {})[rest] = tensor
        names = [str(index) for index in range(len(grouped))]
        if sorted(grouped) != sorted(names) or member.min() < 0 or member.max() >= len(names):
            raise ValueError(f"{MEMBER} names policies that are missing: the file has {sorted(grouped)}")
        self.policies = [LearnedPolicy(_single(grouped[name])) for name in names]
        if len({(policy.input_size, policy.action_size) for policy in self.policies}) > 1:
            raise ValueError("the policies are of different sizes")
        self.member = member.astype(np.int64)

    def for_task(self, task: int) -> LearnedPolicy:
        """The policy that plays a task."""
        return self.policies[0 if self.member is None else int(self.member[task])]


def pack(policies: Sequence[Tensors], member: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The tensors of a checkpoint file, in half precision, which has no visible effect on returns.

    Args:
        policies: tensors of each policy, as :class:`LearnedPolicy` takes them.
        member: [T], see :class:`PolicySet`; left out if there is one policy.
    """
    if len(policies) == 1:
        return _half(policies[0])
    packed = {
        f"{index}/{name}": tensor for index, policy in enumerate(policies) for name, tensor in policy.items()
    }
    return {**_half(packed), MEMBER: member.astype(np.uint8)}


def _half(tensors: Tensors) -> dict[str, NDArray[Any]]:
    # Means and scales of the inputs may lie beyond the range of float16; these small arrays stay float32.
    return {
        name: tensor.astype(np.float32 if "input." in name else np.float16)
        for name, tensor in tensors.items()
    }


def _single(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            raise ValueError(f"tensor {name} is of {tensor.dtype}, expected floats")
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
