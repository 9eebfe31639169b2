"""Learning from data of a family that is not installed: indices with gaps, parameters that only some have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import clwm_train
from clwm_data.convert.source import ForeignTask, RawEpisode, Source
from clwm_data.convert.tables import TaskTable
from clwm_data.convert.target import write_converted
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.families.stored import FamilyFacts, StoredFamily
from clwm_data.store import Store
from clwm_train.analysis.run import analyse
from clwm_train.runs.run import open_run
from clwm_train.settings import AnalysisSettings
from tests.train.helpers import SMALL

TASKS = {2: ("train", 1.0), 5: ("train", 2.0), 7: ("train", 3.0), 9: ("id", 1.5), 12: ("id", 2.5)}


def foreign(folder: Path, **changes: object) -> Store:
    """Masses, a name that only task 2 knows, and one that is a vector in the others; episodes of 6 steps."""

    def episodes(index: int) -> list[RawEpisode]:
        generator = np.random.default_rng(index)
        return [
            RawEpisode(
                observation=generator.normal(size=(7, 2)),
                action=generator.uniform(-1, 1, (6, 2)),
                reward=generator.normal(size=6),
                terminated=np.zeros(6),
            )
            for _ in range(3)
        ]

    source = Source(
        name="robots",
        tasks={index: ForeignTask(f"robot {index}", lambda i=index: iter(episodes(i))) for index in TASKS},  # type: ignore[misc]
        sha256="0" * 64,
        options={},
    )
    table = TaskTable(
        {index: split for index, (split, _) in TASKS.items()},  # type: ignore[misc]
        {
            index: {"mass": mass, **({"owner": 3.0, "place": 1.0} if index == 2 else {"place": (2.0,)})}
            for index, (_, mass) in TASKS.items()
        },
        FamilyFacts(**changes),  # type: ignore[arg-type]
    )
    return write_converted(source, folder / "robots.zarr", "my-robots", table=table).store


def test_the_family_is_what_the_data_show(tmp_path: Path) -> None:
    family = foreign(tmp_path, varies="reward", references={str(i): [0.0, 2.0] for i in TASKS}).task_family
    assert isinstance(family, StoredFamily)
    assert (family.observation_size, family.action_size, family.horizon) == (2, 2, 6)
    assert [task.index for task in family.tasks] == sorted(TASKS)
    assert [dict(task.parameters) for task in family.tasks] == [{"mass": mass} for _, mass in TASKS.values()]
    assert (family.split("train"), family.split("id"), family.split("ood")) == ((2, 5, 7), (9, 12), ())
    assert not family.dynamics_vary
    assert family.normalised_return(9, [1.0, 3.0]).tolist() == [0.5, 1.5]
    with pytest.raises(NotFoundError, match="there is no task 3 in its data"):
        family.task(3)
    for make in (
        lambda: family.make_env(2),
        lambda: family.make_vec_env([2]),
        lambda: family.make_simulator([2]),
    ):
        with pytest.raises(NotFoundError, match="no task family is called 'my-robots' here"):
            make()


def test_an_agent_that_is_told_its_task_knows_those_of_the_data(tmp_path: Path) -> None:
    store = foreign(tmp_path)
    sizes = [text for text in SMALL if not text.startswith("world_model")]
    with pytest.warns(match=r"told mass of its task, but not owner, place: not all tasks have"):
        run = clwm_train.train(store, "oracle", overrides=sizes, out=tmp_path / "run")
    run = open_run(run.path)  # as it was written
    agent = clwm_train.load_agent(run)
    expected = {2: -1.0, 5: 0.0, 7: 1.0, 9: -0.5, 12: 0.5}
    for index, z in expected.items():
        assert agent.adapt(store[index]).z[0] == pytest.approx(z)  # sines and cosines follow
        known = agent.known_z([index])
        assert known is not None
        assert torch.allclose(known[..., 0].flatten(), torch.tensor([z]))

    class Other:
        index = 3

    for index in (3, 100):
        Other.index = index
        with pytest.raises(InvalidInputError, match=f"knows none of task {index}"):
            agent.adapt(Other())  # type: ignore[arg-type]
    analysis = analyse(run, store, AnalysisSettings(horizon=3, contexts=2))
    probe = analysis.seeds[0].probe
    assert probe is not None
    assert probe["id"]["mass"] == pytest.approx(1.0, abs=1e-6)  # z is the mass


def test_a_run_remembers_the_family_without_its_store(tmp_path: Path) -> None:
    store = foreign(tmp_path, varies="reward")
    run = clwm_train.train(store, overrides=[*SMALL, "context.next_observation=auto"], out=tmp_path / "run")
    (tmp_path / "robots.zarr").rename(tmp_path / "elsewhere")
    again = open_run(run.path)
    assert again.config.context.next_observation is False
    ours, theirs = again.task_family, store.task_family
    assert (ours.tasks, ours.horizon, ours.dynamics_vary) == (theirs.tasks, 6, False)
    np.testing.assert_array_equal(ours.conditioning.vectors, theirs.conditioning.vectors)
