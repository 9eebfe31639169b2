"""Helpers of the tests that edit stores: what is compared before and after."""

from __future__ import annotations

from pathlib import Path

from clwm_data.opening import open_store
from clwm_data.store.replay import replay
from clwm_data.store.validate import validate


def episodes(path: Path, index: int) -> list[tuple[object, ...]]:
    """The episodes of a task as comparable values, each with the policy that made it."""
    task = open_store(path).tasks[index]
    return [
        (
            *(array.tobytes() for array in (e.observation, e.action, e.reward, e.terminated, e.truncated)),
            e.initial_state.tobytes(),
            e.seed,
            (task.record.behaviours[e.behaviour].policy, task.record.behaviours[e.behaviour].noise),
        )
        for e in task.load(verify=True)
    ]


def assert_sound(path: Path) -> None:
    assert validate(path) == []
    assert replay(path, 1).findings == []
    assert not list(path.parent.glob(f".{path.name}*"))
    assert not (path / ".collect").exists()
