"""Stores whose families only have the name in common are not merged; what each knows of it is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from clwm_data.collection.collector import collect
from clwm_data.edit import merge, select
from clwm_data.errors import InvalidInputError
from clwm_data.families.stored import FamilyFacts
from clwm_data.manifest import load_manifest
from clwm_data.opening import open_store
from clwm_data.store import Store
from clwm_data.store.root_writer import write_root
from tests.data.edit.editing import assert_sound

PENDULUM: dict[str, Any] = {
    "name": "pendulum-g",
    "env": "Pendulum-v1",
    "horizon": 5,
    "tasks": [{"split": split, "parameters": {"g": g}} for split, g in (("train", 9.0), ("id", 10.0))],
}


def pendulum(folder: Path, seed: int, **changes: Any) -> Path:
    """A store of a declared family."""
    manifest = {
        "name": f"p{seed}",
        "family": {**PENDULUM, **changes},
        "behaviours": [{"policy": "random", "episodes": 1}],
        "seed": seed,
    }
    (folder / f"p{seed}.yaml").write_text(yaml.safe_dump(manifest))
    return collect(load_manifest(str(folder / f"p{seed}.yaml")), folder / f"p{seed}.zarr").path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"horizon": 7}, "horizon 7, that of .*p0.zarr 5: "),
        ({"arguments": {"render_mode": "rgb_array"}}, "arguments .*rgb_array"),
        ({"varies": "reward"}, "varies reward, that of .* dynamics"),
        ({"tasks": PENDULUM["tasks"][::-1]}, "has another task 0-1 than that of "),
    ],
)
def test_another_environment_of_the_same_name_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    paths = [pendulum(tmp_path, 0), pendulum(tmp_path, 1, **changes)]
    for stores in (paths, paths[::-1]):
        with pytest.raises(InvalidInputError, match="its family pendulum-g has "):
            merge(stores, tmp_path / "both.zarr")
    with pytest.raises(InvalidInputError, match=words):
        merge(paths, tmp_path / "both.zarr")
    assert not (tmp_path / "both.zarr").exists()


def test_a_family_that_has_grown_is_the_one_with_more_tasks(tmp_path: Path) -> None:
    more = [*PENDULUM["tasks"], {"split": "ood", "parameters": {"g": 12.0}}]
    paths = [pendulum(tmp_path, 0), pendulum(tmp_path, 1, tasks=more, summary="Other words.")]
    for name, stores in (("ab", paths), ("ba", paths[::-1])):
        both = merge(stores, tmp_path / f"{name}.zarr")
        assert len(both.task_family.tasks) == 3
        assert_sound(both.path)


def foreign(collected: Path, target: Path, task: int, facts: FamilyFacts | None) -> Store:
    """A task of a family that only the data know."""
    path = select(collected, target, tasks=[task]).path
    store = open_store(path)
    known = {"family": "elsewhere", "family_facts": facts}
    write_root(path, store.manifest.model_copy(update=known), store.provenance)
    return open_store(path)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (FamilyFacts(varies="reward"), FamilyFacts(), "varies dynamics, that of .* reward"),
        (FamilyFacts(horizon=200), FamilyFacts(horizon=300), "horizon 300, that of .* 200"),
        (
            FamilyFacts(references={"6": [0.0, 1.0], "12": [0.0, 1.0]}),
            FamilyFacts(references={"12": [0.0, 2.0]}),
            r"references of task 12 \[0\.0, 2\.0\], that of .* \[0\.0, 1\.0\]",
        ),
    ],
)
def test_facts_that_contradict_each_other_are_refused(
    one: FamilyFacts, other: FamilyFacts, words: str, collected: Path, tmp_path: Path
) -> None:
    stores = [foreign(collected, tmp_path / "a", 6, one), foreign(collected, tmp_path / "b", 12, other)]
    with pytest.raises(InvalidInputError, match=words):
        merge(stores, tmp_path / "both.zarr")


def test_episodes_beyond_a_horizon_that_another_store_knows_are_refused(
    collected: Path, tmp_path: Path
) -> None:
    """The merged store would say that they cannot be."""
    longest = max(len(episode.reward) for task in open_store(collected) for episode in task.load())
    for number, (horizon, sound) in enumerate([(longest, True), (longest - 1, False)]):
        folder = tmp_path / f"{number}"
        facts = FamilyFacts(horizon=horizon)
        stores = [foreign(collected, folder / "a", 6, None), foreign(collected, folder / "b", 12, facts)]
        for order in (stores, stores[::-1]):
            if sound:
                assert merge(order, folder / f"{order[0].path.name}-first").task_family.horizon == horizon
            else:
                words = f"a: has an episode of {longest} steps, and those .* end after {horizon} in "
                with pytest.raises(InvalidInputError, match=words):
                    merge(order, folder / "both.zarr")


def test_facts_of_all_stores_are_kept(collected: Path, tmp_path: Path) -> None:
    six, twelve = {"6": [0.0, 1.0]}, {"12": [1.0, 2.0]}
    for number, (one, other, expected) in enumerate(
        [
            (None, FamilyFacts(varies="reward"), FamilyFacts(varies="reward")),
            (FamilyFacts(), FamilyFacts(horizon=200), FamilyFacts(horizon=200)),
            (FamilyFacts(references=six), FamilyFacts(references=twelve), {**six, **twelve}),
            (FamilyFacts(references=six), FamilyFacts(), None),  # no evaluation could use those of a part
        ]
    ):
        folder = tmp_path / f"{number}"
        stores = [foreign(collected, folder / "a", 6, one), foreign(collected, folder / "b", 12, other)]
        facts = merge(stores, folder / "both.zarr").manifest.family_facts
        assert facts is not None
        if isinstance(expected, FamilyFacts):
            assert facts == expected
        else:
            assert facts.references == expected
        shutil.rmtree(folder)
