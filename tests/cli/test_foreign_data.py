"""Data of a robot that clwm does not know, through the whole chain, by the real command."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import SIZES, Call
from tests.conftest import ROOT, Clwm

ENVIRONMENT = """\
import gymnasium
import numpy as np


class Pusher(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, mass):
        self.mass = mass

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.zeros(2)
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.state = self.state + 0.1 * np.array([self.state[1], float(action[0]) / self.mass])
        return self.state.astype(np.float32), 1.0, False, False, {}


def make(task, parameters):
    return Pusher(parameters["mass"])


def wrong(task, parameters):
    return gymnasium.make("CartPole-v1")


def fails(task, parameters):
    raise RuntimeError("no licence")
"""


MISTAKES = [
    (["--env", "my_robot:wrong"], "my_robot:wrong: task 0 has observation size 4, its data 2"),
    (["--env", "my_robot:fails"], "my_robot:fails: task 0: RuntimeError: no licence"),
    (["--env", "my_robot:nothing"], "my_robot has no function nothing"),
    (["--env", "nowhere:make"], "there is no module nowhere"),
    (["--env", "my_robot:make", "--references", "few.csv"], "say nothing about task 1"),
    (["--env", "my_robot:make", "--references", "bad.csv"], "bad.csv: line 2: random and expert"),
]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """D4RL-like files of six robots with masses 1 to 6: two episodes of 12 steps each."""
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("torch")
    monkeypatch.delitem(sys.modules, "my_robot", raising=False)  # of another test's folder
    folder = tmp_path / "logs"
    folder.mkdir()
    for robot in range(6):
        generator = np.random.default_rng(robot)
        action = generator.uniform(-1, 1, (24, 1)).astype(np.float32)
        state = np.zeros((26, 2), np.float32)
        for episode in (0, 1):
            for step in range(12):
                x, v = state[13 * episode + step]
                state[13 * episode + step + 1] = (
                    x + 0.1 * v,
                    v + 0.1 * action[12 * episode + step, 0] / (robot + 1),
                )
        before = np.r_[0:12, 13:25]
        with h5py.File(folder / f"robot{robot}.hdf5", "w") as file:
            file["observations"], file["next_observations"] = state[before], state[before + 1]
            file["actions"], file["rewards"] = action, np.full(24, 0.5, np.float32)
            file["terminals"] = np.zeros(24, bool)
            file["timeouts"] = np.arange(24) % 12 == 11
    rows = "\n".join(f"{robot},{robot + 1}.0" for robot in range(6))
    (tmp_path / "masses.csv").write_text(f"task,mass\n{rows}\n")
    rows = "\n".join(f"{robot},0,10" for robot in range(6))
    (tmp_path / "returns.csv").write_text(f"task,random,expert\n{rows}\n")
    (tmp_path / "my_robot.py").write_text(ENVIRONMENT)
    return tmp_path


def imported(call: Call, *more: str | Path) -> None:
    code, _, err = call(
        *("convert", "logs", "data/pushers.zarr", "--from", "hdf5", "--family", "my-robot"),
        *("--splits", "train:0-2,5,id:3-4", "--parameters", "masses.csv", *more),
    )
    assert code == 0, err


def convert(clwm: Clwm, *more: str | Path) -> None:
    done = clwm(
        *("convert", "logs", "data/pushers.zarr", "--from", "hdf5", "--family", "my-robot"),
        *("--splits", "train:0-2,5,id:3-4", "--parameters", "masses.csv", *more),
    )
    assert done.returncode == 0, done.stderr
    assert "robot3.hdf5" in done.stdout


def test_foreign_data_is_imported_trained_analysed_reported_and_pushed(clwm: Clwm, logs: Path) -> None:
    convert(clwm, "--varies", "reward")
    done = clwm("train", "pushers", "--preset", "tiny", "--out", "run", *SIZES)
    assert done.returncode == 0, done.stderr
    # What the data cannot show was said when they were imported.
    assert "next_observation: false" in (logs / "run/config.yaml").read_text()
    done = clwm("analyse", "run", "--horizon", "5", "--json")
    assert done.returncode == 0, done.stderr
    (seed,) = json.loads(done.stdout)["seeds"]
    assert seed["probe"]["id"].keys() == {"mass"}
    assert seed["off_policy"].keys() == {"train", "id"}
    assert {"value", "policy_value", "data_return", "log_likelihood"} < seed["off_policy"]["id"].keys()
    done = clwm("report", "run", "--out", "page.html")
    assert done.returncode == 0, done.stderr
    for options in (("pushers", "--no-parquet"), ("run",)):
        done = clwm("push", *options, "someone/pushers", "--dry-run")
        assert done.returncode == 0, done.stderr


def test_evaluation_needs_an_environment_and_says_how_to_give_one(call: Call, logs: Path) -> None:
    imported(call)
    assert call("train", "pushers", "--preset", "tiny", "--out", "run", *SIZES)[0] == 0
    code, _, err = call("eval", "run")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "no task family is called 'my-robot' here" in err
    assert "--env package.module:function" in err
    code, _, err = call("train", "pushers", "--preset", "tiny", "--out", "other", "--eval-every", "2", *SIZES)
    assert (code, (logs / "other").exists()) == (1, False)
    assert "no task family is called 'my-robot' here" in err

    code, out, err = call("eval", "run", "--env", "my_robot:make", "--episodes", "1", "--threads", "2")
    assert code == 0, err
    assert "no normalised returns: my-robot has no reference returns" in out
    arguments = ("eval", "run", "--env", "my_robot:make", "--episodes", "1", "--references", "returns.csv")
    results = json.loads(call(*arguments, "--json")[1])
    assert results["few-shot"]["id"]["tasks"] == {"3": 12.0, "4": 12.0}  # rewards of 1, as long as the data
    assert results["zero-shot"]["id"]["task_normalised"] == {"3": 1.2, "4": 1.2}
    code, _, err = call("report", "run", "--out", "page.html", "--evaluation", "env=my_robot:make")
    assert code == 0, err
    assert "1.2" in (logs / "page_files/results.csv").read_text()


def test_mistakes_of_evaluations_end_in_one_line(call: Call, logs: Path) -> None:
    imported(call)
    assert call("train", "pushers", "--preset", "tiny", "--out", "run", *SIZES)[0] == 0
    (logs / "few.csv").write_text("task,random,expert\n0,1,2\n")
    (logs / "bad.csv").write_text("task,random,expert\n0,1,1\n")
    for options, message in MISTAKES:
        code, _, err = call("eval", "run", *options)
        assert (code, len(err.splitlines())) == (1, 1), err
        assert message in err


def test_references_may_come_with_the_data(call: Call, logs: Path) -> None:
    imported(call, "--references", "returns.csv")
    assert call("train", "pushers", "--preset", "tiny", "--out", "run", *SIZES)[0] == 0
    _, out, _ = call("eval", "run", "--env", "my_robot:make", "--episodes", "1", "--json")
    assert json.loads(out)["few-shot"]["train"]["normalised_mean"] == pytest.approx(1.2)
    (logs / "returns.csv").write_text("task,random,expert\n0,0,10\n")
    code, _, err = call(
        *("convert", "logs", "b.zarr", "--from", "hdf5", "--family", "b", "--references", "returns.csv")
    )
    assert (code, (logs / "b.zarr").exists()) == (1, False)
    assert "--references: says nothing about task 1-5" in err


def test_data_of_a_package_are_learned_from_after_it_was_uninstalled(clwm: Clwm, tmp_path: Path) -> None:
    """A family that another package registers, whose environment's module cannot be imported any more."""
    pytest.importorskip("torch")
    (family, *_) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/new-family.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "my_families.py").write_text(family)
    info = tmp_path / "my_families-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-families\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[clwm.families]\ndial = my_families\n")
    (tmp_path / "dial.yaml").write_text(
        "name: dials\nfamily: dial\ntasks: 4-9\nbehaviours: [{policy: random, episodes: 3}]\n"
    )
    assert clwm("collect", "dial.yaml").returncode == 0
    options = ("--preset", "tiny", *SIZES)
    assert clwm("train", "dials", "--out", "with", *options).returncode == 0
    shutil.rmtree(info)
    (tmp_path / "my_families.py").write_text("raise ImportError('uninstalled')")
    assert "dial" not in clwm("families").stdout.split()
    done = clwm("train", "dials", "--out", "without", *options)
    assert done.returncode == 0, done.stderr
    # Rewards alone vary: that came with the store. The networks are the same, bit for bit.
    assert (tmp_path / "with/config.yaml").read_text() == (tmp_path / "without/config.yaml").read_text()
    agents = [next((tmp_path / name).glob("checkpoints/*/agent.safetensors")) for name in ("with", "without")]
    assert agents[0].read_bytes() == agents[1].read_bytes()
    done = clwm("analyse", "with", "--json", "--horizon", "5")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seeds"][0]["probe"]["id"].keys() == {"angle"}
    done = clwm("eval", "with")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "no task family is called 'dial' here" in done.stderr
