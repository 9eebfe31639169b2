"""A small run, and a store of every split."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data import collect
from tests.conftest import Call, tiny_manifest
from tests.train.helpers import SMALL

SMALL_OPTIONS = tuple(part for text in SMALL for part in ("--set", text))
#: A few updates on data of few tasks.
SIZES = tuple(
    part
    for text in ("batch.tasks=3", "batch.windows=4", "batch.context=8", "steps=6", "checkpoint_every=6")
    for part in ("--set", text)
)


@pytest.fixture(scope="session")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two tasks of every split; do not change it."""
    path = tmp_path_factory.mktemp("six") / "six.zarr"
    collect(tiny_manifest(tasks=(0, 1, 6, 7, 12, 13), name="six"), path)
    return path


@pytest.fixture
def run_path(call: Call, store_path: Path, tmp_path: Path) -> Path:
    code, out, err = call("train", store_path, "--out", tmp_path / "run", *SMALL_OPTIONS)
    assert code == 0, err
    assert "8 updates done" in out
    return tmp_path / "run"
