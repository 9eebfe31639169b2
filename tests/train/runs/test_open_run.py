"""Runs are opened by their path."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.errors import NotFoundError
from clwm_train import open_run


@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_no_run_is_said_so(kind: type[str] | type[Path], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing: run does not exist; `clwm train` makes one"):
        open_run(kind(tmp_path / "nothing"))
    with pytest.raises(NotFoundError, match="is not a run"):
        open_run(kind(tmp_path))
