"""Images of policies under a family's symmetries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from clwm_data.behaviour_training import export
from clwm_data.behaviour_training.export import write_zoo
from clwm_data.behaviour_training.folder import RunFolder
from clwm_data.behaviour_training.pool import Pool
from clwm_data.behaviour_training.settings import CurvePoint, RunDescription, TrainingSettings
from clwm_data.behaviour_training.team import Candidate, Image, shortlisted
from clwm_data.families import get_family
from clwm_data.zoo.card import conditioning_record, load_policies, read_card
from clwm_data.zoo.image import image_of_policy, images_of_tasks
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.shipped import shipped_folder
from tests.data.families.test_symmetry import CASES
from tests.data.zoo.test_zoo import random_tensors


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("name", "index"), CASES)
def test_the_image_does_what_the_policy_would_have_the_image_do(name: str, index: int, layers: int) -> None:
    family = get_family(name)
    symmetry, conditioning = family.symmetries[index], family.conditioning
    generator = np.random.default_rng(index)
    size, actions = family.observation_size + len(conditioning.names), family.action_size
    tensors = random_tensors(index, (size, 16, 2 * actions)[:: 3 - layers], scale=0.3)
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


def test_a_policy_for_one_direction_walks_in_four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for constant in ("EPISODES", "SELECTION_EPISODES"):
        monkeypatch.setattr(export, constant, 1)  # an ant takes a while, and these end alike
    family, tasks, direction = get_family("ant-dir"), [5, 15, 25, 35], 35
    folder = shipped_folder(family)
    assert folder is not None
    content = safetensors.numpy.load_file(folder / "100.safetensors")
    prefix = f"{content['member'][direction]}/"
    expert = {
        name.removeprefix(prefix): tensor.astype(np.float32)
        for name, tensor in content.items()
        if name.startswith(prefix)
    }
    told = slice(family.observation_size, None)  # from now on always the same
    scaled = (family.conditioning.vectors[direction] - expert["input.mean"][told]) * expert["input.scale"][
        told
    ]
    expert["layer.0.bias"] += scaled @ expert["layer.0.weight"][told]
    expert["layer.0.weight"][told] = 0.0
    untrained = {name: tensor * (name != "layer.2.weight") for name, tensor in expert.items()}
    run = RunFolder(tmp_path / "run")
    run.begin(
        RunDescription(
            settings=TrainingSettings(family=family.name, tasks=tasks),
            observation_size=family.observation_size,
            action_size=family.action_size,
            conditioning=conditioning_record(family),
            packages={},
        )
    )
    for steps, policy, returns in ((0, untrained, [0.0] * 4), (1000, expert, [0.0, -800.0, 0.0, 800.0])):
        point = CurvePoint(
            environment_steps=steps, minutes=0.0, returns_stochastic=returns, returns_deterministic=returns
        )
        run.add(point, policy)
    zoo = tmp_path / "zoo"
    write_zoo(Pool([run]), zoo, 2)
    card = read_card(zoo, family)
    best = card.checkpoint(100)
    assert len(load_policies(zoo, card, best).policies) == 4
    assert (best.environment_steps, best.specialists) == (1000, [1000] * 3)
    # The four turns, or mirror images in their place: on the diagonals a mirrored turn is as good.
    assert len(set(best.symmetries)) == 4
    assert set(best.symmetries) <= {"", *(symmetry.name for symmetry in family.symmetries)}
    assert card.checkpoint(0).symmetries == []
    returns = np.asarray(best.returns_deterministic)
    assert returns.min() > 0.8 * returns.max() > 500.0


def test_images_do_not_crowd_out_other_policies() -> None:
    symmetry = get_family("ant-dir").symmetries[0]
    rows = np.asarray([[0.0] * 8, [9.0] + [5.0] * 7, [4.0] * 8, [3.0] * 8, [2.0] * 8])
    policies = [Candidate(0, i, 0.0, np.stack([row, row])) for i, row in enumerate(rows)]
    images = [Image.make(policies[1], symmetry, np.roll(np.arange(8), shift)) for shift in range(1, 8)]
    both = [*policies, *images]
    chosen = shortlisted(both, np.asarray([policy.returns.mean(axis=0) for policy in both]))
    assert len(chosen) == 6
    assert {policy.environment_steps for policy in chosen if policy.image is None} >= {1, 2, 3}
    assert sum(policy.original is policies[1] for policy in chosen) == 4
