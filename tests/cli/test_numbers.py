"""Numbers that no option can mean: a usage error, never a traceback."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Call

DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ("preview", "point-robot", "--noise", "nan"),
        ("preview", "x.zarr", "--agent-seed", "9" * 30),
        ("collect", "point-robot", "--workers", "9" * 30),
        ("collect", "point-robot", "--workers", DIGITS),
        ("sweep", "x.yaml", "--minutes", "inf"),
        ("select", "x.zarr", "y.zarr", "--min-return", "nan"),
        ("eval", "x", "--noise", "nan"),
        ("eval", "x", "--episodes", "9" * 30),
        ("eval", "x", "--prior-weight", "inf"),
        ("eval", "x", "--threads", "9" * 30),
        ("train", "x.zarr", "--threads", DIGITS),
        ("train", "x.zarr", "--steps", "9" * 30),
        ("analyse", "x", "--horizon", "0"),
        ("behaviour", "train", "cheetah-vel", "--steps", "9" * 30),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_a_number_that_cannot_be_meant(call: Call, arguments: tuple[str, ...]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert arguments[-2] in err
    assert "bug in clwm" not in err
