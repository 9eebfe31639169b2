from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import yaml

from clwm_data.families import get_family
from clwm_data.zoo.names import CARD
from clwm_data.zoo.shipped import find_policies, shipped_folder


def test_policies_that_were_trained_again_are_seen_in_the_same_process(tmp_path: Path) -> None:
    family = get_family("cheetah-vel")
    shipped = shipped_folder(family)
    assert shipped is not None
    zoo = Path(shutil.copytree(shipped, tmp_path / "zoo"))
    before = find_policies(family, str(zoo), 100, None)
    assert find_policies(family, str(zoo), 100, None) is before
    # The best policy is now what the second best was.
    card = yaml.safe_load((zoo / CARD).read_text())
    *_, second, best = card["checkpoints"]
    best.update({key: second[key] for key in ("sha256", "file")})
    (zoo / CARD).write_text(yaml.safe_dump(card))
    after = find_policies(family, str(zoo), 100, None)
    other = find_policies(family, str(zoo), second["quality"], None)
    observation = np.zeros((1, family.observation_size), np.float32)
    conditioning = family.conditioning.vectors[[20]]
    actions = [found.for_task(20).act(observation, conditioning) for found in (before, after, other)]
    assert not np.array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[1], actions[2])
