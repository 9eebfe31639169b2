"""Manifests that ask for transitions instead of episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clwm_data.behaviours import make_behaviour
from clwm_data.collection.collector import collect
from clwm_data.collection.engine import collect_segment
from clwm_data.collection.plan import Segment, episodes_kept, next_segments, noise_generator
from clwm_data.collection.staging import segment_path
from clwm_data.collection.task_collection import TaskCollection
from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.seeds import episode_seed
from clwm_data.store.validate import validate

HOPPER = Manifest(
    name="hoppers",
    family="hopper-mass",
    tasks=[7, 30],
    behaviours=[
        BehaviourEntry(policy="random", transitions=3_000),
        BehaviourEntry(policy="random", episodes=2),
        BehaviourEntry(policy="random", transitions=150),
    ],
)


def content(path: Path) -> str:
    return open_store(path).record.content_sha256


@pytest.fixture(scope="module")
def hoppers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "hoppers.zarr"
    collect(HOPPER, path)
    return path


def test_the_first_episodes_that_reach_the_number_are_kept(hoppers: Path) -> None:
    assert validate(hoppers) == []
    for task in open_store(hoppers).tasks.values():
        arrays = task.load()
        for behaviour, entry in enumerate(HOPPER.behaviours):
            lengths = arrays.episode_length[arrays.episode_behaviour == behaviour]
            if entry.transitions is None:
                assert len(lengths) == entry.episodes
            else:
                assert lengths[:-1].sum() < entry.transitions <= lengths.sum()
        assert len(arrays.episode_length) > 100, "episodes end early: more are needed than the horizon says"


def test_episodes_are_those_of_their_numbers(hoppers: Path) -> None:
    """The oracle steps single environments by hand, one episode number after the other."""
    family = get_family("hopper-mass")
    env = family.make_env(7)
    stored = iter(open_store(hoppers).tasks[7].load())
    offset = 0
    for entry in HOPPER.behaviours:
        behaviour = make_behaviour(family, 7, entry)
        transitions, number = 0, offset
        while transitions < (entry.transitions or np.inf) and number - offset < (entry.episodes or np.inf):
            seed = episode_seed(HOPPER.seed, "hopper-mass", 7, number)
            noise = behaviour.draw(noise_generator(seed))
            env.reset(seed=seed)
            rewards: list[float] = []
            over = False
            while not over:
                _, reward, terminated, truncated, _ = env.step(noise[len(rewards)].astype(np.float32))
                rewards.append(reward)
                over = terminated or truncated
            episode = next(stored)
            assert episode.seed == seed
            np.testing.assert_array_equal(episode.reward, np.asarray(rewards, np.float32))
            transitions += len(rewards)
            number += 1
        offset += entry.most_episodes
    assert next(stored, None) is None


def test_bytes_depend_neither_on_workers_nor_on_interruptions(hoppers: Path, tmp_path: Path) -> None:
    collect(HOPPER, tmp_path / "two.zarr", workers=2)
    assert content(tmp_path / "two.zarr") == content(hoppers)
    resumed = tmp_path / "resumed.zarr"
    collection = TaskCollection(resumed, HOPPER.resolved(), 7)
    rounds = 0
    while missing := collection.plan():  # one task wholly on disk, its second round with a gap
        for segment in missing:
            collect_segment(HOPPER.resolved(), resumed, segment)
        collection.missing.clear()
        rounds += 1
        last = missing
    assert rounds > 1
    segment_path(resumed, last[0]).unlink()
    collect(HOPPER, resumed)
    assert content(resumed) == content(hoppers)
    assert not (resumed / ".collect").exists()


LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=40)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 4_000), st.integers(1, 60))
def test_planning_ends_and_covers_what_is_kept(cycle: list[int], transitions: int, before: int) -> None:
    """Episode n of the behaviour is ``cycle[n % len]`` long; the oracle counts them off one by one."""
    manifest = HOPPER.model_copy(
        update={
            "behaviours": [
                BehaviourEntry(policy="random", transitions=before),
                BehaviourEntry(policy="random", transitions=transitions),
            ]
        }
    )
    planned: list[Segment] = []
    lengths: list[int] = []
    while more := next_segments(manifest, 7, 1, lengths, len(lengths)):
        planned += more
        lengths = [cycle[n % len(cycle)] for n in range(sum(segment.episodes for segment in planned))]
    numbers = [s.first_episode + i for s in planned for i in range(s.episodes)]
    assert numbers == list(range(before, before + len(lengths)))
    wanted, total = 0, 0
    while total < transitions:
        total += cycle[wanted % len(cycle)]
        wanted += 1
    assert episodes_kept(manifest, 1, lengths) == wanted <= len(lengths) <= transitions
