"""Environments that come with Gymnasium, as families by YAML alone: collected, checked, simulated again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from clwm_data.collection.collector import collect
from clwm_data.manifest import Manifest
from clwm_data.store.replay import replay
from clwm_data.store.validate import validate

HERE = __name__


def set_attributes(env: Any, **values: float) -> None:
    for name, value in values.items():
        setattr(env.unwrapped, name, value)


class Counted(gymnasium.Env[Any, Any]):
    """Discrete actions -1, 0 and 1."""

    observation_space = spaces.Box(-9, 9, (1,))
    action_space = spaces.Discrete(3, start=-1)

    def __init__(self, step: float) -> None:
        self.size = step

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = np.zeros(1, np.float32)
        return self.place, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.place = self.place + np.float32(self.size * int(action))
        return self.place, float(action), False, False, {}


@pytest.mark.parametrize(
    ("env", "parameter", "values", "more", "sizes"),
    [
        ("Pendulum-v1", "g", [9.0, 10.0], {}, (3, 1, None)),
        ("MountainCarContinuous-v0", "goal_velocity", [0.0, 0.1], {}, (2, 1, None)),
        ("MountainCar-v0", "goal_velocity", [0.0, 0.1], {}, (2, 3, 3)),
        ("Acrobot-v1", "LINK_LENGTH_1", [1.0, 1.2], {"apply": f"{HERE}:set_attributes"}, (6, 3, 3)),
        ("FrozenLake-v1", "unused", [0.0, 1.0], {"apply": f"{HERE}:set_attributes"}, (16, 4, 4)),
        ("Blackjack-v1", "unused", [0.0, 1.0], {"apply": f"{HERE}:set_attributes"}, (45, 2, 2)),
        (f"{HERE}:Counted", "step", [0.1, 0.2], {}, (1, 3, 3)),
    ],
)
def test_an_environment_is_a_family(
    tmp_path: Path,
    env: str,
    parameter: str,
    values: list[float],
    more: dict[str, Any],
    sizes: tuple[Any, ...],
) -> None:
    tasks = [{"parameters": {parameter: value}} for value in values]
    declared = {"name": "any", "env": env, "horizon": 20, "tasks": tasks, **more}
    manifest = Manifest.model_validate(
        {
            "name": "any",
            "family": "any",
            "declared_family": declared,
            "behaviours": [{"policy": "random", "episodes": 3}],
        }
    )
    store = collect(manifest, tmp_path / "any.zarr", workers=1)
    task = store[0]
    assert (task.observation_size, task.action_size, task.record.discrete_actions) == sizes
    assert validate(store.path) == []
    report = replay(store.path, None)
    assert report.findings == []
    assert "from seeds and actions: compared bit for bit" in str(report)
    if env.endswith("Counted"):
        moved = np.diff(task.load().episode(0).observation[:, 0]) / 0.1
        assert task.load().episode(0).stored_action.tolist() == (np.rint(moved) + 1).tolist()
