from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.store import atomic
from clwm_train.methods.resolve import resolve
from clwm_train.runs.checkpoint import (
    AGENT,
    choose_checkpoint,
    list_checkpoints,
    read_record,
    read_tensors,
    save_best,
    save_checkpoint,
)
from clwm_train.runs.run import LAYOUT, Run, RunRecord

#: Of every run here.
RECORD_FIELDS: dict[str, Any] = {
    "layout": LAYOUT,
    "method": "spc",
    "preset": "tiny",
    "seeds": (3,),
    "store": "/nowhere",
    "store_name": "point-robot",
    "store_sha256": "ab" * 32,
    "family": "point-robot",
    "observation_size": 2,
    "action_size": 2,
    "train_tasks": (),
    "created": "2026-01-01T00:00:00Z",
    "command": "clwm train",
    "packages": {},
    "platform": "none",
}
TENSORS = {"weight": torch.arange(6.0).reshape(1, 2, 3), "bias": torch.ones(1, 3)}


def run_in(folder: Path, **record: Any) -> Run:
    config = resolve("spc", "tiny", ("keep_checkpoints=9", "steps=1000"))
    return Run(folder, config, RunRecord(**{**RECORD_FIELDS, **record}))


def save(folder: Path, step: int) -> Path:
    learner = {"moment": torch.zeros(1, 3)}
    return save_checkpoint(run_in(folder), step, agent=TENSORS, learner=learner)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "run", 4)
    assert path == tmp_path / "run" / "checkpoints" / "step-000000004"
    assert read_record(path, run_in(tmp_path)).step == 4
    read = read_tensors(path / "agent.safetensors")
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], value) for name, value in TENSORS.items())
    assert torch.equal(read_tensors(path / "learner.safetensors")["moment"], torch.zeros(1, 3))


@pytest.mark.parametrize("name", ["agent.safetensors", "learner.safetensors"])
def test_any_bit_of_a_tensor_file_counts(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 4) / name
    sound = path.read_bytes()
    for position in range(0, len(sound), 7):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedDataError, match=re.escape(f"{path}: is damaged: its SHA-256")):
            read_tensors(path)
    for cut in (0, 5, len(sound) - 1):
        path.write_bytes(sound[:cut])
        with pytest.raises(DamagedDataError):
            read_tensors(path)
    path.unlink()
    with pytest.raises(DamagedDataError, match="cannot be read"):
        read_tensors(path)


def read_all(path: Path) -> None:
    read_record(path, run_in(path.parents[1]))
    for name in ("agent.safetensors", "learner.safetensors"):
        read_tensors(path / name)


def test_any_bit_of_the_index_counts(tmp_path: Path) -> None:
    """The step, the seeds and the data are in the folder's name and in the run's record as well."""
    path = save(tmp_path, 4)
    index = path / "checkpoint.yaml"
    sound = index.read_bytes().partition(b"config:")[0]  # long; the next test is about it
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 5
        if damaged.split() == sound.split():
            continue  # white space
        index.write_bytes(damaged)
        with pytest.raises((DamagedDataError, InvalidInputError)) as caught:
            read_all(path)
        assert "\n" not in str(caught.value)


def test_a_run_described_otherwise_than_it_was_trained_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 4)
    run = run_in(tmp_path)
    for key, text, said in (
        ("iql.expectile", "0.6", "says iql.expectile 0.6, but step-000000004 was trained with 0.8"),
        ("data.clip_observation", "3.0", "says data.clip_observation 3.0, but .* trained with None"),
        ("iql.hidden", "[8]", r"says iql.hidden \[8\], but .* trained with \[64, 64\]"),
    ):
        altered = replace(run, config=resolve("spc", "tiny", (f"{key}={text}",)))
        with pytest.raises(InvalidInputError, match=f"config.yaml: {said}: put back"):
            read_record(path, altered)
    for name, value in {"seeds": (4,), "store_sha256": "cd" * 32}.items():
        with pytest.raises(InvalidInputError, match=f"run.yaml: says {name} "):
            read_record(path, run_in(tmp_path, **{name: value}))
    free = ("steps=7", "keep_checkpoints=1", "checkpoint_every=1", "evaluation.every=5")
    read_record(path, replace(run, config=resolve("spc", "tiny", free)))


def test_a_key_that_one_revision_has_is_not_compared(tmp_path: Path) -> None:
    path = save(tmp_path, 4)
    index = path / "checkpoint.yaml"
    text = index.read_text()
    for altered in (
        text.replace("  expectile: 0.8", "  expectation: 0.8"),
        re.sub(r"config:\n(  .*\n)+", "", text),
        re.sub(r"(store_sha256: .*\n)|config:\n(  .*\n)+", "", text),
    ):
        assert altered != text
        index.write_text(altered)
        read_record(path, run_in(tmp_path))


def test_a_checkpoint_is_found_by_what_people_call_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = run / "checkpoints"
    with pytest.raises(NotFoundError, match="holds no checkpoint yet"):
        choose_checkpoint(folder, None)
    with pytest.raises(NotFoundError, match=r"nope: no such checkpoint of .*run; it has none"):
        choose_checkpoint(folder, "nope")
    first, last = save(run, 4), save(run, 8)
    best = save_best(run_in(run), 6, agent=TENSORS, score={"return": 1.0})
    assert list_checkpoints(folder) == [first, last]
    assert choose_checkpoint(folder, None) == last
    assert choose_checkpoint(folder, "best") == best
    for text in (4, "4", "step-000000004", first, str(first)):
        assert choose_checkpoint(folder, text) == first
    with pytest.raises(NotFoundError, match=r"it has step-000000004, step-000000008, best$"):
        choose_checkpoint(folder, "nope")
    other = save(tmp_path / "other", 4)
    with pytest.raises(InvalidInputError, match="is not a checkpoint of"):
        choose_checkpoint(folder, other)
    for damaged, remedy in ((last, "the one before it is used"), (best, "name another checkpoint")):
        (damaged / AGENT).write_bytes(b"")
        with pytest.raises(DamagedDataError, match=f"is damaged: .*{remedy}$"):
            read_tensors(damaged / AGENT)
        (damaged / "checkpoint.yaml").unlink()
        with pytest.raises(DamagedDataError, match=f"{damaged.name}: has no checkpoint.yaml: delete"):
            choose_checkpoint(folder, damaged.name)


@pytest.mark.parametrize("swaps", [True, False])
def test_the_best_takes_the_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool
) -> None:
    """Where the system can swap names, a process killed at any moment leaves one of both."""
    if not swaps:
        monkeypatch.setattr(atomic, "exchange", lambda first, second: False)
    folder, removed, remove = tmp_path / "checkpoints", [], atomic.remove

    def watched(path: Path) -> None:
        removed.append(read_record(path).step if path.name == "best" else read_record(folder / "best").step)
        remove(path)

    for step in (2, 4):
        monkeypatch.setattr(atomic, "remove", watched if step == 4 else remove)
        save_best(run_in(tmp_path), step, agent=TENSORS, score={"return": float(step)})
    assert read_record(folder / "best").step == 4
    assert [path.name for path in folder.iterdir()] == ["best"]
    assert removed == [4 if swaps and sys.platform.startswith("linux") else 2]


def test_a_full_disk_is_one_line_and_earlier_checkpoints_stay(tmp_path: Path) -> None:
    """The limit of a file's size stands for the end of the disk: the system refuses to write on."""
    first = save(tmp_path, 4)
    code = f"""
import resource, signal, torch
from pathlib import Path
from clwm_data.errors import UnavailableError
from clwm_train.runs.checkpoint import save_checkpoint
from tests.train.runs.test_checkpoint import run_in
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
small, large = {{"w": torch.zeros(1, 10)}}, {{"m": torch.zeros(1, 10**6)}}
try:
    save_checkpoint(run_in(Path({str(tmp_path)!r})), 8, agent=small, learner=large)
except UnavailableError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{first.with_name('step-000000008')}: File too large: ")
    assert len(done.stdout.splitlines()) == 1
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    read_tensors(first / "learner.safetensors")


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UnavailableError, match="earlier checkpoints are intact"):
        save(tmp_path, 4)
    with pytest.raises(DamagedDataError, match="checkpoints: is not a folder: move it away"):
        choose_checkpoint(tmp_path / "checkpoints", None)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_stray_files_do_not_block(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "note.partial").write_text("left by another program")
    (folder / "step-latest").write_text("no checkpoint")
    path = save(tmp_path, 4)
    assert list_checkpoints(folder) == [path]
    assert not (folder / "note.partial").exists()


@pytest.mark.parametrize("kind", ["file", "broken link", "empty folder"])
def test_what_has_the_name_of_a_checkpoint_is_not_passed_over(tmp_path: Path, kind: str) -> None:
    """The agent of an earlier update would be taken for that of the latest."""
    later = save(tmp_path, 4).with_name("step-000000008")
    if kind == "file":
        later.write_text("")
    elif kind == "broken link":
        later.symlink_to("elsewhere")
    else:
        later.mkdir()
    latest = choose_checkpoint(later.parent, None)
    with pytest.raises(DamagedDataError, match=r"step-000000008.* delete the checkpoint's folder"):
        read_record(latest)
    with pytest.raises(DamagedDataError, match=r"step-000000008: has no checkpoint.yaml: delete"):
        choose_checkpoint(later.parent, "8")
