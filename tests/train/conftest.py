"""Data that several tests of the trainer share."""

from __future__ import annotations

import pytest

from clwm_data import Store, collect
from tests.conftest import tiny_manifest


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A tiny store with two train tasks; do not change it."""
    return collect(tiny_manifest(tasks=(0, 6, 12, 13)), tmp_path_factory.mktemp("stores") / "tiny.zarr")
