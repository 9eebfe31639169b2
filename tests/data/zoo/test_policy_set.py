"""Tensors that policies of a checkpoint have in common are stored once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import load

from clwm_data.zoo.card import tensors_bytes
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.policy_set import SHARED, PolicySet, pack
from docs.generate.transferred import blind

INPUTS, HIDDEN = 5, 64


def random_tensors(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = (INPUTS, HIDDEN, HIDDEN, 4)
    tensors = {"input.mean": np.zeros(INPUTS, np.float32), "input.scale": np.ones(INPUTS, np.float32)}
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        tensors[f"layer.{layer}.weight"] = rng.normal(size=(rows, columns)).astype(np.float32)
        tensors[f"layer.{layer}.bias"] = rng.normal(size=columns).astype(np.float32)
    return tensors


def turned(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As images under symmetries are: only what touches inputs and outputs differs."""
    return {**tensors, "layer.0.weight": -tensors["layer.0.weight"]}


def test_images_take_little_room_and_act_as_before() -> None:
    first, second = random_tensors(0), random_tensors(1)
    parts = [first, second, turned(first), turned(turned(first)), turned(second)]
    member = np.arange(10) % 5
    content = tensors_bytes(pack(parts, member))
    alone = len(tensors_bytes(pack([first], np.zeros(10, np.int64))))
    assert len(content) < 2.5 * alone
    policies = PolicySet(load(content))
    inputs = np.random.default_rng(2).normal(size=(6, INPUTS)).astype(np.float32)
    for task in range(10):
        by_itself = PolicySet(load(tensors_bytes(pack([parts[task % 5]], member)))).policies[0]
        np.testing.assert_array_equal(
            policies.for_task(task).act(inputs[:, :2], inputs[:, 2:]),
            by_itself.act(inputs[:, :2], inputs[:, 2:]),
        )


def test_policies_without_anything_in_common_are_stored_as_before() -> None:
    second = {name: tensor + 1.0 for name, tensor in random_tensors(1).items()}
    assert SHARED not in pack([random_tensors(0), second], np.arange(2))


@pytest.mark.parametrize(
    "shared", [np.zeros(1, np.uint8), np.asarray([1, 1], np.uint8), np.zeros(2, np.float32)]
)
def test_what_is_shared_must_come_from_an_earlier_policy(shared: np.ndarray) -> None:
    packed = pack([random_tensors(0), turned(random_tensors(0))], np.arange(2))
    with pytest.raises(ValueError, match="shared"):
        PolicySet({**packed, SHARED: shared})


def test_a_blind_policy_acts_as_at_the_fixed_number() -> None:
    tensors = random_tensors(3)
    tensors["input.mean"][:] = np.arange(INPUTS)
    tensors["input.scale"][:] = 0.5
    rng = np.random.default_rng(4)
    observation = rng.normal(size=(6, INPUTS - 1)).astype(np.float32)
    at = np.full((6, 1), 0.25, np.float32)
    other = LearnedPolicy(blind(tensors, INPUTS - 1, 0.25, 7))
    expected = LearnedPolicy(tensors).act(observation, at)
    for anything in (np.zeros((6, 7)), rng.normal(size=(6, 7))):
        np.testing.assert_allclose(other.act(observation, anything.astype(np.float32)), expected, atol=1e-5)
