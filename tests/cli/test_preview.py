from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Clwm

images = pytest.importorskip("PIL.Image")


def test_a_family_and_a_store_are_filmed(clwm: Clwm, collected: Path, tmp_path: Path) -> None:
    done = clwm("preview", "point-robot", "--tasks", "3,19", "--behaviour", "random")
    assert (done.returncode, done.stdout, done.stderr) == (0, "point-robot.gif: 2 episodes\n", "")
    assert images.open(tmp_path / "point-robot.gif").n_frames == 41
    done = clwm("preview", collected, "--episode", "worst", "--out", "worst.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, "worst.png: 3 episodes\n", "")
    assert images.open(tmp_path / "worst.png").size[0] > 900


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["point-robot", "--episode", "1"], 1, "point-robot is a family: --episode does not go with it"),
        (["nothing-like-it"], 1, "nor is there a family of that name"),
        (["point-robot", "--tasks", "40"], 1, "no task 40; there are 0-39"),
        (["point-robot", "--out", "a.avi"], 1, "a.avi: a preview ends in .gif, .mp4, .png"),
    ],
)
def test_mistakes_are_one_line(clwm: Clwm, arguments: list[str], code: int, message: str) -> None:
    done = clwm("preview", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_option_of_families_is_refused_for_a_store(clwm: Clwm, collected: Path) -> None:
    done = clwm("preview", collected, "--noise", "0.1")
    assert done.returncode == 1
    assert "is a store: --noise does not go with it" in done.stderr
    done = clwm("preview", collected, "--episode", "nicest")
    assert done.returncode == 2
