"""The examples, in a size for tests: collected, checked, converted, trained, evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clwm_data.manifest import load_manifest
from clwm_data.opening import open_store
from tests.cli.conftest import SIZES, Call
from tests.conftest import ROOT, Clwm


@pytest.mark.parametrize(("example", "discrete"), [("pendulum", None), ("cartpole", 2)])
def test_an_example_works_from_collection_to_evaluation(
    clwm: Clwm,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    example: str,
    discrete: int | None,
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "cache"))
    shutil.copytree(ROOT / "examples" / example, tmp_path, dirs_exist_ok=True)
    file = tmp_path / f"{example}.yaml"
    manifest = load_manifest(str(file))
    assert [len(manifest.task_family.split(split)) for split in ("train", "id", "ood")] == [20, 5, 5]
    (entry,) = manifest.behaviours
    file.write_text(file.read_text().replace(f"episodes: {entry.episodes}", "episodes: 3"))
    done = clwm("collect", file.name, "--tasks", "0-2,20-21,25", "--workers", "2")
    assert done.returncode == 0, done.stderr
    store = open_store(tmp_path / "data" / f"{example}.zarr")
    assert store[0].record.discrete_actions == discrete
    code, out, err = call("validate", example, "--replay", "2")
    assert code == 0, out + err
    assert "from seeds and actions: compared bit for bit" in out
    for goal in ("npz", "parquet"):
        code, _, err = call("convert", example, tmp_path / f"as.{goal}", "--to", goal)
        assert code == 0, err
    code, _, err = call("train", example, "--preset", "tiny", "--out", tmp_path / "run", *SIZES)
    assert code == 0, err
    code, out, err = call("eval", tmp_path / "run", "--episodes", "1", "--split", "id", "--json")
    assert code == 0, err
    assert json.loads(out)["few-shot"]["id"]["tasks"].keys() == {str(task) for task in store.split("id")}
    code, _, err = call("push", example, "someone/example", "--dry-run")
    assert code == 0, err
