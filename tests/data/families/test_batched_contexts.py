"""Contexts over Gymnasium's MuJoCo environments: batched, and bit for bit as its environments one by one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.families import SPLITS
from clwm_data.families.declared import DeclaredFamily, FamilyDeclaration, declared_family
from clwm_data.families.declared.batched import EpisodeStates, batched_simulator, can_batch
from clwm_data.families.declared.simulator import DeclaredSimulator
from clwm_data.families.gymnasium_mujoco.originals import ORIGINALS
from clwm_data.manifest import load_manifest
from tests.conftest import ROOT

pytest.importorskip("mujoco")

#: Every quantity that mujoco-context knows, some also outside the range of the train tasks.
PARAMETERS: dict[str, Any] = {
    "gravity": {"range": [0.8, 1.2], "ood": [[0.3, 0.6]]},
    "mass": {"range": [0.5, 2.0], "log": True},
    "friction": [0.5, 2.0],
    "damping": [0.5, 2.0],
    "actuator_strength": [0.7, 1.3],
    "wind": {"range": [-1.0, 1.0], "ood": [[-3.0, -2.0], [2.0, 3.0]]},
}


def declaration(env: str, **changes: Any) -> FamilyDeclaration:
    tasks = {"sample": {"train": 4, "id": 2, "ood": 2}, "seed": 5, "parameters": PARAMETERS}
    fields = {"name": "contexts", "env": env, "horizon": 40, "apply": "mujoco-context", "tasks": tasks}
    return FamilyDeclaration.model_validate({**fields, **changes})


@pytest.mark.parametrize("env", list(ORIGINALS))
def test_batched_episodes_are_those_of_gymnasiums_environments(env: str) -> None:
    known = declaration(env)
    tasks = [known.task_list()[index] for index in (0, 5, 7, 0)]
    batch, loop = batched_simulator(known, tasks), DeclaredSimulator(known, tasks)
    seeds = [3, 2**40 + 7, 11, 4]
    for simulator in (batch, loop):
        simulator.reset(np.arange(4), seeds)
    rng = np.random.default_rng(0)
    active = np.ones(4, np.bool_)
    for _ in range(60):
        np.testing.assert_array_equal(batch.observe()[active], loop.observe()[active])
        action = rng.uniform(-1, 1, (4, loop.translation.action_size)).astype(np.float32).astype(np.float64)
        one, other = batch.step(action, active), loop.step(action, active)
        np.testing.assert_array_equal(one.reward[active], other.reward[active])
        np.testing.assert_array_equal(one.terminated[active], other.terminated[active])
        active &= ~one.terminated
    for lane in range(4):
        np.testing.assert_array_equal(batch.get_state(lane), loop.get_state(lane))
    state = loop.get_state(1)
    before = batch.observe()[[0, 2, 3]].copy()
    batch.set_state(1, state[: 1 + 7 * loop.translation.action_size])
    loop.set_state(1, state[: 1 + 7 * loop.translation.action_size])
    np.testing.assert_array_equal(batch.observe()[1], loop.observe()[1])
    np.testing.assert_array_equal(batch.observe()[[0, 2, 3]], before)
    batch.close()


def test_the_documented_benchmarks_are_manifests(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "new-family.md").read_text(encoding="utf-8")
    found = {}
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        family = load_manifest(str(path)).task_family
        assert isinstance(family, DeclaredFamily)
        found[family.name] = family
    assert set(found) == {"pendulum-gravity", "hopper-contexts"}
    contexts = found["hopper-contexts"]
    assert can_batch(contexts.declaration)
    assert [len(contexts.split(split)) for split in SPLITS] == [40, 10, 10]
    assert not set(contexts.tasks[0].parameters) ^ set(PARAMETERS)


def test_threads_and_a_single_lane_change_nothing() -> None:
    known = declaration("Hopper-v5")
    tasks = [known.task_list()[index] for index in (1, 6, 3)]
    alone = [batched_simulator(known, [task]) for task in tasks]
    batch = batched_simulator(known, tasks, threads=2)
    batch.reset(np.arange(3), [1, 2, 3])
    for seed, simulator in enumerate(alone, start=1):
        simulator.reset(np.zeros(1, np.int64), [seed])
    rng = np.random.default_rng(1)
    for _ in range(8):
        action = rng.uniform(-1, 1, (3, 3))
        batch.step(action, np.ones(3, np.bool_))
        for lane, simulator in enumerate(alone):
            simulator.step(action[lane : lane + 1], np.ones(1, np.bool_))
            np.testing.assert_array_equal(batch.observe()[lane], simulator.observe()[0])


def test_id_tasks_lie_inside_the_ranges_and_ood_tasks_outside_where_stated() -> None:
    tasks = declaration("Hopper-v5").task_list()
    for task in tasks:
        for name, ranges in PARAMETERS.items():
            stated = ranges if isinstance(ranges, dict) else {"range": ranges}
            intervals = stated.get("ood", [stated["range"]]) if task.split == "ood" else [stated["range"]]
            assert any(low <= task.number(name) <= high for low, high in intervals), (task, name)
    assert [task.split for task in tasks] == ["train"] * 4 + ["id"] * 2 + ["ood"] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"env": "Swimmer-v5"},
        {"apply": None, "tasks": [{"parameters": {"frame_skip": 2}}]},
        {"arguments": {"ctrl_cost_weight": 0.5}},
        {"success": "x_velocity"},
    ],
)
def test_other_declarations_step_gymnasiums_environments_one_by_one(changes: dict[str, Any]) -> None:
    known = declaration(**{"env": "Hopper-v5", **changes})
    assert not can_batch(known)
    family = declared_family(known, True)
    assert family.lanes == 8
    simulator = family.make_simulator([0])
    assert not isinstance(simulator, EpisodeStates)
    simulator.close()


def test_the_family_uses_the_batch() -> None:
    family = declared_family(declaration("Walker2d-v5"), True)
    assert family.lanes == 32
    simulator = family.make_simulator([0, 1])
    assert isinstance(simulator, EpisodeStates)
    simulator.close()
