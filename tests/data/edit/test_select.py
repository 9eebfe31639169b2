from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clwm_data.edit import select
from clwm_data.errors import ClwmError
from clwm_data.families import SPLITS
from clwm_data.manifest import BehaviourEntry
from clwm_data.opening import open_store
from clwm_data.store import Episode, TaskArrays
from tests.conftest import tree
from tests.data.edit.editing import assert_sound, episodes


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_select_keeps_exactly_what_passes(
    collected: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    everything = {index: (task.split, task.load()) for index, task in open_store(collected).tasks.items()}
    returns = np.concatenate([arrays.episode_return for _, arrays in everything.values()]).tolist()
    tasks = data.draw(st.none() | st.sets(st.sampled_from(sorted(everything)), min_size=1))
    splits = data.draw(st.none() | st.sets(st.sampled_from(SPLITS), min_size=1))
    behaviours = data.draw(st.none() | st.sets(st.sampled_from(["random", "scripted"]), min_size=1))
    min_return = data.draw(st.none() | st.sampled_from(returns))
    numbers = data.draw(st.none() | st.sets(st.integers(0, 4), min_size=1))
    expected = {
        index: [
            number
            for number, value in enumerate(arrays.episode_return)
            if (tasks is None or index in tasks)
            and (splits is None or split in splits)
            and (behaviours is None or ("scripted" if number < 3 else "random") in behaviours)
            and (min_return is None or value >= min_return)
            and (numbers is None or number in numbers)
        ]
        for index, (split, arrays) in everything.items()
    }
    target = tmp_path_factory.mktemp("select") / "part.zarr"

    def make() -> None:
        select(
            collected,
            target,
            tasks=tasks,
            splits=splits,
            behaviours=behaviours,
            min_return=min_return,
            episodes=numbers,
        )

    if not any(expected.values()):
        with pytest.raises(ClwmError, match="no episode passes"):
            make()
        assert not list(target.parent.iterdir())
        return
    make()
    part = open_store(target)
    assert list(part.tasks) == [index for index, kept in expected.items() if kept]
    assert part.missing_tasks == ()
    for index in part.tasks:
        whole = episodes(collected, index)
        assert episodes(target, index) == [whole[number] for number in expected[index]]
    assert_sound(target)


def test_a_selection_says_where_it_comes_from(collected: Path, tmp_path: Path) -> None:
    before = tree(collected)
    select(collected, tmp_path / "a.zarr", splits=["train", "id"])
    part = select(tmp_path / "a.zarr", tmp_path / "b.zarr", tasks=[6], behaviours=["random"])
    assert tree(collected) == before
    assert part.name == "b"
    assert part.manifest.behaviours == [BehaviourEntry(policy="random", episodes=2)]
    assert part.tasks[6].record.statistics.returns_by_behaviour[0].episodes == 2
    edited = part.record.edited
    assert edited is not None
    assert (edited.operation, edited.options) == ("select", {"tasks": "6", "behaviours": "random"})
    (source,) = edited.sources
    assert (source.name, source.edited.options) == ("a", {"splits": "train, id"})
    (first,) = source.edited.sources
    assert (first.name, first.edited) == ("tiny", None)
    assert first.content_sha256 == open_store(collected).record.content_sha256
    assert first.manifest == open_store(collected).manifest


def test_the_whole_store_selected_is_the_same_data(collected: Path, tmp_path: Path) -> None:
    copy = select(collected, tmp_path / "copy.zarr")
    assert copy.record.content_sha256 == open_store(collected).record.content_sha256
    again = select(collected, tmp_path / "again.zarr", episodes=range(5))
    assert again.record.content_sha256 == open_store(collected).record.content_sha256


def test_take_is_what_indexing_says(collected: Path) -> None:
    arrays = open_store(collected).tasks[6].load()
    taken = arrays.take([3, 0])
    expected: list[Episode] = [arrays.episode(3), arrays.episode(0)]
    np.testing.assert_array_equal(taken.observation, np.vstack([e.observation for e in expected]))
    assert taken.episode_start.tolist() == [0, 40]
    with pytest.raises(ValueError, match="only some"):
        TaskArrays.from_episodes([expected[0], replace(expected[1], seed=None)])


def test_one_split_and_one_behaviour_may_be_named_as_they_are(collected: Path, tmp_path: Path) -> None:
    part = select(collected, tmp_path / "part.zarr", splits="id", behaviours="random")
    assert {task.split for task in part} == {"id"}
    assert part.record.edited is not None
    assert part.record.edited.options == {"splits": "id", "behaviours": "random"}
    with pytest.raises(ClwmError, match="has no split test; it has: id, ood, train"):
        select(collected, tmp_path / "none.zarr", splits="test")


@pytest.mark.parametrize("choose", [int, np.int64, str, lambda n: [n], lambda n: iter([n])])
def test_one_index_text_and_generators_choose(
    collected: Path, tmp_path: Path, choose: Callable[[int], Any]
) -> None:
    target = tmp_path / "part.zarr"
    names = (iter(names) for names in (SPLITS, ["random", "scripted"]))
    part = select(
        collected, target, tasks=choose(6), episodes=choose(3), splits=next(names), behaviours=next(names)
    )
    assert [*part.tasks] == [6]
    assert episodes(target, 6) == episodes(collected, 6)[3:4]
