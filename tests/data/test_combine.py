"""Checkpoints chosen from several training runs together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.training.export import write_zoo
from clwm_data.training.pool import Pool
from clwm_data.training.run import train
from clwm_data.training.settings import RunFolder, TrainingSettings
from clwm_data.zoo.card import load_policies, read_card
from clwm_data.zoo.policy import LearnedPolicy
from tests.conftest import Clwm

FAMILY = get_family("point-robot")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs: one on three tasks, stopped before it learns, and one on the last of them that does learn."""
    folder = tmp_path_factory.mktemp("runs")
    short = TrainingSettings(family="point-robot", tasks=[3, 20, 31])
    long = TrainingSettings(family="point-robot", tasks=[31], seed=1)
    for name, settings, steps in (("all", short, 1_000), ("one", long, 4_000)):
        train(settings, RunFolder(folder / name), steps=steps, checkpoints=2)
    return [folder / "all", folder / "one"]


def test_each_task_is_played_by_the_run_that_plays_it_better(runs: list[Path], tmp_path: Path) -> None:
    alone = read_card(runs[0] / "zoo", FAMILY)
    specialist = read_card(runs[1] / "zoo", FAMILY)
    gained = (
        specialist.checkpoints[-1].returns_deterministic[0] - alone.checkpoints[-1].returns_deterministic[2]
    )
    assert gained > 1.0  # or there is nothing to combine
    zoo = tmp_path / "new" / "zoo"
    written = write_zoo([RunFolder(run) for run in runs], zoo, 3)
    card = read_card(zoo, FAMILY)
    assert card == written
    assert (card.seed, card.tasks) == (0, [3, 20, 31])
    assert [(run.seed, run.tasks) for run in card.further_runs] == [(1, [31])]
    best = card.checkpoints[-1]
    policies = load_policies(zoo, card, best)
    assert policies.member is not None
    steps = [best.environment_steps, *best.specialists]
    assert best.runs[policies.member[31]] == 1
    # The file holds that run's policy, in half precision.
    pool = Pool([RunFolder(run) for run in runs])
    taken = [c for c in pool.candidates if (c.run, c.environment_steps) == (1, steps[policies.member[31]])]
    observation = np.random.default_rng(0).normal(size=(20, FAMILY.observation_size)).astype(np.float32)
    told = FAMILY.conditioning.vectors[[31] * 20]
    np.testing.assert_allclose(
        policies.for_task(31).act(observation, told),
        LearnedPolicy(pool.tensors(taken[0])).act(observation, told),
        atol=0.02,
    )
    assert best.returns_deterministic[2] >= specialist.checkpoints[-1].returns_deterministic[0] - 1.0
    assert card.checkpoints[0].runs == []


def test_runs_that_do_not_go_together_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        ClwmError, match=r"all: has tasks that .*one has not, 3 for one: name the run with all"
    ):
        Pool([RunFolder(run) for run in runs[::-1]])
    with pytest.raises(ClwmError, match="holds no run of `clwm behaviour train`"):
        Pool([RunFolder(tmp_path)])
    other = tmp_path / "other"
    other.mkdir()
    settings = TrainingSettings(family="cheetah-vel", tasks=[3])
    (other / "settings.json").write_text(settings.model_dump_json())
    with pytest.raises(ClwmError, match=r"is about cheetah-vel, .* about point-robot"):
        Pool([RunFolder(runs[0]), RunFolder(other)])
    with pytest.raises(ClwmError, match="has not been evaluated yet"):
        Pool([RunFolder(other)])


def test_the_command(runs: list[Path], tmp_path: Path, clwm: Clwm) -> None:
    out = tmp_path / "combined"
    done = clwm("behaviour", "combine", str(runs[0]), str(runs[1]), "--out", str(out), "--checkpoints", "3")
    assert done.returncode == 0, done.stderr
    assert "100.safetensors" in done.stdout
    assert read_card(out / "zoo", FAMILY).further_runs
    again = clwm("behaviour", "combine", str(runs[0]), "--out", str(out))
    assert again.returncode == 1
    assert again.stderr.strip() == f"clwm: error: {out}: is there already: choose another --out"
