"""Declarations of families as YAML: lists, grids and samples of tasks, and mistakes with their lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.errors import ClwmError
from clwm_data.families.declared.reading import load_family
from clwm_data.manifest import Manifest, load_manifest
from tests.data.families.test_declared import declared


def test_a_grid_and_a_sample_are_what_they_say() -> None:
    grid = {
        "grid": {"a": {"start": 1, "stop": 100, "count": 3, "log": True}, "b": [5, 6]},
        "id": "1",
        "ood": "4-5",
    }
    tasks = declared(tasks=grid).task_list()
    assert [tuple(task.parameters.values()) for task in tasks] == [
        (pytest.approx(a), b) for a in (1, 10, 100) for b in (5, 6)
    ]
    assert [task.split for task in tasks] == ["train", "id", "train", "train", "ood", "ood"]
    ranges = {
        "g": {"range": [7, 13], "ood": [[4, 7], [13, 16]]},
        "s": {"range": [0.1, 10], "log": True},
        "w": [-1, 1],
    }
    sample: dict[str, Any] = {"sample": {"train": 400, "id": 5, "ood": 400}, "seed": 3, "parameters": ranges}
    tasks = declared(tasks=sample).task_list()
    assert tasks == declared(tasks=sample).task_list()
    train = [task.parameters for task in tasks if task.split == "train"]
    ood = [task.parameters for task in tasks if task.split == "ood"]
    assert all(7 <= p["g"] <= 13 and 0.1 <= p["s"] <= 10 and -1 <= p["w"] <= 1 for p in train)  # type: ignore[operator]
    assert all(4 <= p["g"] <= 7 or 13 <= p["g"] <= 16 for p in ood)  # type: ignore[operator]
    assert 0.4 < np.mean([p["s"] < 1 for p in train]) < 0.6  # type: ignore[operator]
    assert 0.4 < np.mean([p["g"] < 9 for p in ood]) < 0.6  # type: ignore[operator]
    # More tasks of one split leave the others, and those before, as they were.
    more = declared(tasks={**sample, "sample": {"train": 401, "id": 5, "ood": 400}}).task_list()
    assert [task.parameters for task in more if task.split == "train"][:400] == train
    assert [task.parameters for task in more if task.split == "ood"] == ood
    assert declared(tasks={**sample, "seed": 4}).task_list() != tasks


YAML = """\
name: mine
family:
  name: sliders
  env: tests.data.families.own_environments:Slider
  horizon: 20
  tasks:
    grid: {friction: {start: 0.1, stop: 0.4, count: 4}}
    id: 2
    ood: "3"
behaviours:
  - {policy: random, episodes: 2}
"""


def test_a_manifest_declares_a_family_or_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(YAML)
    mine = load_manifest(str(tmp_path / "m.yaml"))
    assert (mine.family, mine.task_indices()) == ("sliders", (0, 1, 2, 3))
    block = YAML[YAML.index("  name: sliders") : YAML.index("behaviours")]
    (tmp_path / "f.yaml").write_text("\n".join(line[2:] for line in block.splitlines()))
    (tmp_path / "n.yaml").write_text(
        "name: mine\nfamily: f.yaml\nbehaviours: [{policy: random, episodes: 2}]\n"
    )
    assert load_manifest(str(tmp_path / "n.yaml")) == mine
    for name in ("m.yaml", "n.yaml", "f.yaml"):
        assert load_family(tmp_path / name) is mine.task_family
    again = Manifest.model_validate(mine.resolved().model_dump(mode="json"))
    assert again.declared_family is not None
    assert again.declared_family.probed is not None
    assert "declared_family" not in load_manifest("point-robot").model_dump()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("horizon: 20", "horizon: none", "m.yaml:5: horizon: "),
        ("horizon: 20", "horizon: 20\n  horizont: 20", "m.yaml:6: unknown key horizont: did you mean"),
        ("  horizon: 20\n", "", "m.yaml: key horizon is missing"),
        ("count: 4", "count: 0", "m.yaml:7: tasks.grid.friction.count: input should be greater"),
        ("count: 4", "cont: 4", "m.yaml:7: "),
        ("grid:", "gird:", "m.yaml:6: tasks: list the tasks, or give the key grid or sample"),
        ("name: sliders", "name: cheetah-vel", "m.yaml:3: name: cheetah-vel is another family's"),
        ("id: 2", "id: 9", "no task 9"),
        ('ood: "3"', 'ood: "2-3"', "task 2 is in two splits: id and ood"),
        ('ood: "3"', "ood: 0-1,3", "there is no train task"),
        ("env: tests", "env: a b tests", "m.yaml:4: env: 'a b tests"),
        (
            YAML[YAML.index("\n    grid:") : YAML.index("\nbehaviours")],
            " [{parameters: {friction: 1}}, {parameters: {friction: [1, 2]}}]",
            "m.yaml:6: tasks: task 1: friction is a list (2 items), in task 0 1.0: give it a number in all",
        ),
        (
            YAML[YAML.index("\n    grid:") : YAML.index("\nbehaviours")],
            " 5",
            "m.yaml:6: tasks: list the tasks, or",
        ),
        (
            YAML[YAML.index("\n    grid:") : YAML.index("\nbehaviours")],
            "\n    sample: {train: 2}\n    parameters: {friction: {range: [1, 2], ood: [3, 4]}}",
            "m.yaml:8: tasks.parameters.friction.ood: expected a list of ranges: write [[3, 4]]",
        ),
        (
            YAML[YAML.index("\n  name: sliders") : YAML.index("\nbehaviours")],
            " my_families:Dial",
            "m.yaml:2: family: 'my_families:Dial': a class of your own goes by the name that it registers",
        ),
        ("policy: random", "policy: scripted", "family sliders has no behaviour 'scripted'; it has: random"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in YAML
    (tmp_path / "m.yaml").write_text(YAML.replace(old, new))
    with pytest.raises(ClwmError) as caught:
        load_manifest(str(tmp_path / "m.yaml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
