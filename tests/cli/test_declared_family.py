"""A family that exists in YAML alone, through the whole chain, by the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Clwm

MANIFEST = """\
name: carts
family:
  name: cartpole-length
  env: CartPole-v1
  apply: my_carts:set_length
  horizon: 60
  tasks:
    grid: {length: {start: 0.3, stop: 1.5, count: 5}}
    id: 2
    ood: 4
behaviours:
  - {policy: random, episodes: 40}
"""
CODE = """\
def set_length(env, length):
    cart = env.unwrapped
    cart.length = length
    cart.polemass_length = cart.masspole * length
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my_carts.py").write_text(CODE)
    (tmp_path / "carts.yaml").write_text(MANIFEST)
    return tmp_path / "carts.yaml"


def test_collected_checked_trained_and_evaluated(clwm: Clwm, manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    listed = json.loads(clwm("families", "carts.yaml", "--json").stdout)
    assert (listed["splits"], listed["action_size"], listed["discrete"]) == (
        {"train": 3, "id": 1, "ood": 1},
        2,
        True,
    )
    done = clwm("collect", "carts.yaml", "--workers", "2")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = clwm("validate", "carts", "--replay", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from seeds and actions: compared bit for bit" in done.stdout
    done = clwm("train", "carts", "--preset", "tiny", "--steps", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    done = clwm("eval", "run", "--episodes", "1", "--threads", "2")
    assert done.returncode == 0, done.stderr
    assert "zero-shot  ood" in done.stdout


def test_a_store_trains_where_its_environment_is_gone_and_says_so_when_evaluated(
    clwm: Clwm, manifest: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    assert clwm("collect", "carts.yaml").returncode == 0
    (tmp_path / "my_carts.py").unlink()
    assert clwm("validate", "carts").returncode == 0
    done = clwm("train", "carts", "--preset", "tiny", "--steps", "1", "--out", "run")
    assert done.returncode == 0, done.stderr
    for arguments in (
        ("eval", "run"),
        ("validate", "carts", "--replay", "1"),
        ("collect", "carts.yaml", "--overwrite"),
    ):
        done = clwm(*arguments)
        assert done.returncode == 1
        assert "there is no module my_carts" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_code_in_a_store_of_somebody_else_is_not_run(
    clwm: Clwm, manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert clwm("collect", "carts.yaml").returncode == 0
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "another"))
    done = clwm("validate", "carts", "--replay", "1")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert 'CLWM_ALLOW_CODE="my_carts:set_length"' in done.stderr
    monkeypatch.setenv("CLWM_ALLOW_CODE", "my_carts:set_length")
    assert clwm("validate", "carts", "--replay", "1").returncode == 0
