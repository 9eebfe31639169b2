"""Images of policies under a family's symmetries."""

from __future__ import annotations

import numpy as np
import pytest

from clwm_data.families import get_family
from clwm_data.zoo.image import image
from clwm_data.zoo.policy import LearnedPolicy
from tests.data.families.test_symmetry import CASES, task_numbers


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
    numbers = task_numbers(name)
    images = symmetry.conditioning(numbers)
    of_image = np.abs(images[:, None] - numbers).max(axis=-1).argmin(axis=1)  # the task that a task becomes
    observation = generator.normal(size=(40, family.observation_size))
    noise = generator.normal(size=(40, actions))
    for one, other in ((None, None), (noise, symmetry.action(noise))):
        does = LearnedPolicy(image(tensors, symmetry, conditioning)).act(
            observation.astype(np.float32), conditioning.vectors, one
        )
        would = LearnedPolicy(tensors).act(
            symmetry.observation(observation).astype(np.float32), conditioning.vectors[of_image], other
        )
        np.testing.assert_allclose(symmetry.action(does), would, atol=1e-4)
        assert np.abs(does - would).max() > 0.1
