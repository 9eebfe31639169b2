"""Training that is compiled to machine code. All tests are of one configuration: compiling takes half a
minute, and torch keeps what it compiled for the next one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from clwm_data import Recorder
from clwm_train.runs.metrics_log import THROUGHPUT
from clwm_train.runs.run import open_run
from tests.cli.conftest import SMALL_OPTIONS, Call
from tests.train.helpers import COMPILER
from tests.train.training.test_divergence import LINE
from tests.train.training.test_fast_path import assert_straightforward

pytestmark = COMPILER
SEEDS, TEMPERATURE = [3, 4], 0.5
SETTINGS = f"world_model.temperature={TEMPERATURE}", "iql.hidden=[8]"
OPTIONS = ("--seeds", "3,4", *SMALL_OPTIONS, *(part for text in SETTINGS for part in ("--set", text)))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as the data of :mod:`tests.train.training.test_learner`: three train tasks, and episodes that
    are shorter than a window.
    """
    path = tmp_path_factory.mktemp("uneven") / "uneven.zarr"
    generator = np.random.default_rng(0)
    for task in range(3):
        with Recorder(path, task=task, parameters={"x": task}, split="train") as recorder:
            for length in (4, 2, 1, 5, 2):
                recorder.add_episode(
                    generator.normal(size=(length + 1, 2)),
                    generator.uniform(-1, 1, (length, 2)),
                    generator.normal(size=length),
                    terminated=length < 4,
                )
    return path


def test_an_update_is_the_straightforward_one() -> None:
    assert_straightforward(SEEDS, TEMPERATURE, "inductor")


def test_training_is_the_same_but_for_rounding(call: Call, uneven: Path, tmp_path: Path) -> None:
    found = []
    for options in ((), ("--compile",)):
        folder = tmp_path / f"run{len(options)}"
        code, _, err = call("train", uneven, "--out", folder, *OPTIONS, *options)
        assert code == 0, err
        found.append([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()])
    interrupted = tmp_path / "interrupted"
    for options in (("--steps", 5, "--compile"), ("--steps", 8, "--resume")):
        code, _, err = call("train", uneven, "--out", interrupted, *OPTIONS, *options)
        assert code == 0, err
        assert "the update is compiled first" in err
    assert [open_run(tmp_path / name).record.compiled for name in ("run0", "run1", "interrupted")] == [
        False,
        True,
        True,
    ]
    name = "checkpoints/step-000000008/agent.safetensors"
    assert (interrupted / name).read_bytes() == (tmp_path / "run1" / name).read_bytes()
    plain, compiled = found
    for before, after in zip(plain, compiled, strict=True):
        for name in before.keys() - set(THROUGHPUT):
            assert after[name] == pytest.approx(before[name], rel=1e-3, abs=1e-4), name


def test_what_diverges_ends_in_a_line(call: Call, uneven: Path) -> None:
    """With the index of a code of NaN out of its range, the graph would fail instead."""
    wild = "--set", "world_model.learning_rate=1e30", "--set", "steps=40"
    code, _, err = call("train", uneven, *OPTIONS, *wild, "--compile")
    assert code == 1
    line = err.splitlines()[-1].removeprefix("clwm: error: ")
    assert re.match(LINE, line), err
