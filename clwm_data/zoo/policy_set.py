"""The policies in one checkpoint file: usually one for all tasks, sometimes several, each for some tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.zoo.policy import LearnedPolicy

#: Name of the tensor [T] that says which policy plays each task of the family; only if there are several.
MEMBER = "member"
#: Name of the tensor [k] that says from which policy, itself or an earlier one, each takes the tensors that
#: the file does not hold for it; only if some are equal, as those of a policy and its images.
SHARED = "shared"

Tensors = Mapping[str, NDArray[Any]]


class PolicySet:
    """Which policy plays which task.

    Attributes:
        policies: the policies, of equal input and action sizes.
        member: [T] for each task of the family an index into ``policies``; ``None``: one policy plays all.
    """

    def __init__(self, tensors: Tensors) -> None:
        """Build the policies from a file's tensors, see :func:`unpack`.

        Raises:
            ValueError: the tensors are not those of such policies.
        """
        parts, self.member = unpack(tensors)
        self.policies = [LearnedPolicy(part) for part in parts]
        if len({(policy.input_size, policy.action_size) for policy in self.policies}) > 1:
            raise ValueError("the policies are of different sizes")

    def for_task(self, task: int) -> LearnedPolicy:
        """The policy that plays a task."""
        return self.policies[0 if self.member is None else int(self.member[task])]


def unpack(tensors: Tensors) -> tuple[list[dict[str, NDArray[np.float32]]], NDArray[np.int64] | None]:
    """The inverse of :func:`pack`: the tensors of each policy, in single precision, and ``member``.

    A single policy's tensors have their own names; of several policies, the tensors of the i-th are prefixed
    with ``<i>/``, and ``member`` [T] integer assigns a policy to each task; ``shared`` is described beside
    its name.

    Raises:
        ValueError: the tensors are not those of such policies.
    """
    if MEMBER not in tensors:
        return [_single(tensors)], None
    member = tensors[MEMBER]
    if member.ndim != 1 or member.dtype.kind not in "iu" or not member.size:
        raise ValueError(f"{MEMBER} must be a vector of integers, not {member.dtype}{member.shape}")
    grouped: dict[str, dict[str, NDArray[Any]]] = {}
    for name, tensor in tensors.items():
        if name not in (MEMBER, SHARED):
            prefix, _, rest = name.partition("/")
            grouped.setdefault(prefix, {})[rest] = tensor
    if SHARED in tensors:
        _complete(grouped, tensors[SHARED])
    names = [str(index) for index in range(len(grouped))]
    if sorted(grouped) != sorted(names) or member.min() < 0 or member.max() >= len(names):
        raise ValueError(f"{MEMBER} names policies that are missing: the file has {sorted(grouped)}")
    return [_single(grouped[name]) for name in names], member.astype(np.int64)


def pack(policies: Sequence[Tensors], member: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The tensors of a checkpoint file, in half precision, which has no visible effect on returns.

    Args:
        policies: tensors of each policy, as :class:`LearnedPolicy` takes them.
        member: [T], see :class:`PolicySet`; left out if there is one policy.
    """
    if len(policies) == 1:
        return _half(policies[0])
    halves = [_half(policy) for policy in policies]
    shared = [_most_alike(halves, index) for index in range(len(halves))]
    packed = {
        f"{index}/{name}": tensor
        for index, policy in enumerate(halves)
        for name, tensor in policy.items()
        if shared[index] == index or not _equal(tensor, halves[shared[index]][name])
    }
    packed[MEMBER] = member.astype(np.uint8)
    if shared != list(range(len(halves))):
        packed[SHARED] = np.asarray(shared, np.uint8)
    return packed


def _most_alike(policies: Sequence[Tensors], index: int) -> int:
    """The earlier policy that shares most with the one at ``index``; that one itself if none does."""
    policy = policies[index]
    common = [
        sum(tensor.nbytes for name, tensor in policy.items() if _equal(tensor, earlier[name]))
        for earlier in policies[:index]
    ]
    return int(np.argmax(common)) if any(common) else index


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def _complete(grouped: dict[str, dict[str, NDArray[Any]]], shared: NDArray[Any]) -> None:
    """Add the tensors that policies take from earlier ones, of which a policy may take all."""
    if shared.ndim != 1 or shared.dtype.kind not in "iu" or len(shared) < len(grouped):
        raise ValueError(f"{SHARED} must be an integer per policy, not {shared.dtype}{shared.shape}")
    for index, earlier in enumerate(shared.tolist()):
        if not 0 <= earlier <= index:
            raise ValueError(f"{SHARED}: policy {index} cannot take tensors from policy {earlier}")
        grouped[str(index)] = {**grouped.get(str(earlier), {}), **grouped.get(str(index), {})}


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
