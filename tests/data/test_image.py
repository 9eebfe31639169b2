"""Images of policies under a family's symmetries."""

from __future__ import annotations

import numpy as np
import pytest

from clwm_data.families import get_family
from clwm_data.zoo.image import image_of_policy, images_of_tasks
from clwm_data.zoo.policy import LearnedPolicy
from tests.data.families.test_symmetry import CASES


@pytest.mark.parametrize(("name", "index"), CASES)
def test_the_image_does_what_the_policy_would_have_the_image_do(name: str, index: int) -> None:
    family = get_family(name)
    symmetry, conditioning = family.symmetries[index], family.conditioning
    generator = np.random.default_rng(index)
    size, actions = family.observation_size + len(conditioning.names), family.action_size
    tensors = {
        "input.mean": generator.normal(size=size),
        "input.scale": generator.uniform(0.5, 2.0, size),
        "layer.0.weight": generator.normal(size=(size, 16)) / 8,
        "layer.0.bias": generator.normal(size=16),
        "layer.1.weight": generator.normal(size=(16, 2 * actions)) / 4,
        "layer.1.bias": generator.normal(size=2 * actions),
    }
    tensors = {key: tensor.astype(np.float32) for key, tensor in tensors.items()}
    of_image = images_of_tasks(symmetry, conditioning, range(40))
    assert of_image is not None
    observation = generator.normal(size=(40, family.observation_size))
    noise = generator.normal(size=(40, actions))
    for one, other in ((None, None), (noise, symmetry.action(noise))):
        does = LearnedPolicy(image_of_policy(tensors, symmetry, conditioning)).act(
            observation.astype(np.float32), conditioning.vectors, one
        )
        would = LearnedPolicy(tensors).act(
            symmetry.observation(observation).astype(np.float32), conditioning.vectors[of_image], other
        )
        np.testing.assert_allclose(symmetry.action(does), would, atol=1e-4)
        assert np.abs(does - would).max() > 0.1


def test_images_of_tasks() -> None:
    family = get_family("ant-dir")
    turn, mirror = family.symmetries[0], family.symmetries[3]
    assert (turn.name, mirror.name) == ("turned by 90 degrees", "mirrored")
    of = images_of_tasks(turn, family.conditioning, [5, 15, 25, 35])
    assert of is not None
    assert of.tolist() == [1, 2, 3, 0]
    assert images_of_tasks(turn, family.conditioning, [5, 15, 25]) is None
    of = images_of_tasks(mirror, family.conditioning, [0, 1, 20, 39])
    assert of is not None
    assert of.tolist() == [0, 3, 2, 1]
