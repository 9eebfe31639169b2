"""Networks that learn in a fraction of the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clwm_data.behaviour_training import crossq


@pytest.fixture(scope="package", autouse=True)
def small_networks() -> Iterator[None]:
    """Sixteen times fewer weights; commands that run in processes of their own have the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossq, "HIDDEN", (64, 64))
        yield
