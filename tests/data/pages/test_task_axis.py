from __future__ import annotations

import pytest

from clwm_data.families import get_family
from clwm_data.pages.task_axis import parameter_title, task_axis, varying_parameter


@pytest.mark.parametrize(
    ("family", "title"),
    [
        ("cheetah-vel", "velocity (m/s)"),
        ("point-robot", "angle (rad)"),
        ("ant-dir", "direction (rad)"),
        ("hopper-mass", "mass scale"),
        ("finger-speed", "speed (rad/s)"),
        ("cheetah-ls", "task"),  # two numbers vary
        ("ant-goal", "task"),
    ],
)
def test_tasks_stand_at_the_parameter_that_varies(family: str, title: str) -> None:
    tasks = {task.index: task.parameters for task in get_family(family).tasks}
    found = task_axis(family, tasks)
    assert found.axis.title == title
    name = varying_parameter(list(tasks.values()))
    expected = {index: float(index) if name is None else task[name] for index, task in tasks.items()}
    assert found.places == expected
    assert found.gap > 0.0
    assert all(found.axis.low < place < found.axis.high for place in found.places.values())


def test_a_single_task_and_unknown_families_have_an_axis_too() -> None:
    found = task_axis("elsewhere", {7: {"velocity": 0.3}})
    assert (found.axis.title, found.axis.marks) == ("task", {0.0: "7"})
    assert task_axis("elsewhere", {0: {"wind": 1.0}, 1: {"wind": 2.0}}).axis.title == "wind"
    assert parameter_title("elsewhere", "friction_scale") == "friction scale"


def test_values_that_tasks_share_are_no_axis() -> None:
    assert varying_parameter([{"a": 1.0}, {"a": 1.0}]) is None
    assert varying_parameter([{"a": 1.0}, {"a": 2.0}, {"a": 1.0}]) is None
    assert varying_parameter([{"a": 1.0, "g": (0.0, 1.0)}, {"a": 2.0, "g": (0.0, 2.0)}]) == "a"
    assert varying_parameter([{"a": 1.0, "b": 0.0}, {"a": 2.0, "b": 1.0}]) is None
    assert varying_parameter([{"a": 1.0}, {"a": [1.0, 2.0]}]) is None
    assert varying_parameter([{"a": 1.0, "g": 1.0}, {"a": 2.0, "g": [1.0, 2.0]}]) == "a"
