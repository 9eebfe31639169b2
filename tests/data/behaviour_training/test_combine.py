"""Checkpoints chosen from several training runs together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clwm_data.behaviour_training import export
from clwm_data.behaviour_training.combine import combine
from clwm_data.behaviour_training.export import write_zoo
from clwm_data.behaviour_training.folder import RunFolder
from clwm_data.behaviour_training.pool import Pool
from clwm_data.behaviour_training.run import train
from clwm_data.behaviour_training.settings import RunDescription, TrainingSettings
from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.zoo.card import conditioning_record, load_policies, read_card
from clwm_data.zoo.policy import LearnedPolicy
from tests.conftest import Clwm, tree

FAMILY = get_family("point-robot")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs: one on three tasks, stopped before it learns, and one on the last of them that does learn."""
    folder = tmp_path_factory.mktemp("runs")
    short = TrainingSettings(family="point-robot", tasks=[3, 20, 31])
    long = TrainingSettings(family="point-robot", tasks=[31], seed=4, updates=2)
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
    written = write_zoo(Pool([RunFolder(run) for run in runs]), zoo, 3)
    card = read_card(zoo, FAMILY)
    assert card == written
    assert (card.seed, card.tasks) == (0, [3, 20, 31])
    assert [(run.seed, run.tasks) for run in card.further_runs] == [(4, [31])]
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


def test_stages_lie_where_they_should(runs: list[Path], tmp_path: Path) -> None:
    """Of the run that learns: half of the way from its untrained policy to its best."""
    card = write_zoo(Pool([RunFolder(runs[1])]), tmp_path / "zoo", 3)
    low, stage, best = (checkpoint.returns_stochastic[0] for checkpoint in card.checkpoints)
    policies = Pool([RunFolder(runs[1])]).candidates[1:]
    nearest = min(abs(policy.returns[0, 0] - (low + best) / 2) for policy in policies)
    assert best > low
    assert abs(stage - (low + best) / 2) <= nearest + 3.0  # episodes of the choice are not those of the card


def test_runs_that_do_not_go_together_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match=r"all: is on tasks that .*one is not on \(3,20\): name a run on all"):
        Pool([RunFolder(run) for run in runs[::-1]])
    with pytest.raises(ClwmError, match="is named twice"):
        Pool([RunFolder(runs[0]), RunFolder(runs[0] / ".." / "all")])
    with pytest.raises(ClwmError, match="holds no training run"):
        Pool([RunFolder(runs[0] / "zoo")])
    description = RunFolder(runs[0]).read_description()
    family = get_family("cheetah-vel")
    other = RunFolder(tmp_path / "other")
    other.begin(
        RunDescription(
            settings=TrainingSettings(family=family.name, tasks=[3]),
            observation_size=family.observation_size,
            action_size=family.action_size,
            conditioning=conditioning_record(family),
            packages=description.packages,
        )
    )
    with pytest.raises(
        ClwmError, match=r"other: is about cheetah-vel, .*all about point-robot: name runs of"
    ):
        Pool([RunFolder(runs[0]), other])
    with pytest.raises(ClwmError, match="has not been evaluated yet"):
        Pool([other])
    conditioning = description.conditioning.model_copy(update={"low": [0.25] * 3})
    other.begin(description.model_copy(update={"conditioning": conditioning}))
    with pytest.raises(ClwmError, match="was trained on another version of point-robot"):
        Pool([other])
    settings = description.settings
    for update in ({"family": "nothing"}, {"tasks": [40]}):
        other.begin(description.model_copy(update={"settings": settings.model_copy(update=update)}))
        with pytest.raises(ClwmError, match="other: "):
            Pool([other])


DAMAGE: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("run.json", lambda content: content[:40]),
    ("run.json", lambda content: b"\xff" + content),
    ("run.json", lambda content: content.replace(b"seed", b"sead")),
    ("curve.jsonl", lambda content: b"nonsense\n" + content),
    (
        "curve.jsonl",
        lambda content: content.replace(b'"returns_stochastic":[', b'"returns_stochastic":[1.0,'),
    ),
    ("candidates/000001000.safetensors", lambda content: content[:100]),
    ("candidates/000001000.safetensors", lambda content: b""),
]


@pytest.mark.parametrize(("file", "damage"), DAMAGE)
def test_damaged_runs_are_named(
    runs: list[Path], tmp_path: Path, file: str, damage: Callable[[bytes], bytes]
) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    out = tmp_path / "out"
    (run / file).write_bytes(damage((run / file).read_bytes()))
    with pytest.raises(ClwmError, match=f"{run / file}.*: (is damaged|is not a policy)"):
        combine([run], out, 2)
    (run / file).unlink()
    with pytest.raises(
        ClwmError, match=r"holds no training run|has not been evaluated|is missing: restore it"
    ):
        combine([run], out, 2)
    # What failed is not in the way of the same command.
    shutil.copy(runs[0] / file, run / file)
    measured: list[int] = []
    assert combine([run], out, 2, measured=measured.append) == read_card(out / "zoo", FAMILY)
    assert measured == list(range(len(measured)))
    assert len(measured) > 2
    with pytest.raises(ClwmError, match="is there already"):
        combine([run], out, 2)


@pytest.mark.parametrize("fails", ["write_card", "move_folder"])
def test_a_zoo_outlives_a_failure_while_it_is_replaced(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    pool, zoo = Pool([RunFolder(runs[0])]), tmp_path / "zoo"
    write_zoo(pool, zoo, 2)
    first = tree(zoo)

    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(export, fails, full)
        with pytest.raises(OSError, match="no space left"):
            write_zoo(pool, zoo, 3)
        assert tree(zoo) == first
        # A kill at the worst moment leaves it aside; the next export, even one that fails, brings it back.
        zoo.rename(tmp_path / ".zoo.before")
        (tmp_path / ".zoo.partial").mkdir()
        with pytest.raises(OSError, match="no space left"):
            write_zoo(pool, zoo, 3)
    assert tree(zoo) == first
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_it_needs_no_learner() -> None:
    code = "import sys, clwm_data.behaviour_training.combine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command(runs: list[Path], tmp_path: Path, clwm: Clwm) -> None:
    out = tmp_path / "combined"
    done = clwm("behaviour", "combine", runs[0], runs[1], "--out", out, "--checkpoints", "3")
    assert done.returncode == 0, done.stderr
    assert re.search(r"100\.safetensors: .* of run 2.* steps, return", done.stdout)
    assert 1 in read_card(out / "zoo", FAMILY).checkpoints[-1].runs
    again = clwm("behaviour", "combine", runs[0], "--out", out)
    assert again.returncode == 1
    assert again.stderr.strip() == f"clwm: error: {out}: is there already: choose another --out"
    wrong = clwm("behaviour", "combine", out, "--out", "new")
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert "holds no training run" in wrong.stderr
