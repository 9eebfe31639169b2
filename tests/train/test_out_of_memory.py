from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clwm_data.errors import UnavailableError
from clwm_train.out_of_memory import memory_errors


def test_an_array_that_does_not_fit_is_one_line() -> None:
    with (
        pytest.raises(UnavailableError, match=r"^runs/a: out of memory: take fewer seeds$"),
        memory_errors(Path("runs/a"), "take fewer seeds"),
    ):
        torch.empty(1 << 55)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_errors(Path("runs/a"), "take fewer seeds"):
        torch.ones(2, 3) @ torch.ones(2, 3)
