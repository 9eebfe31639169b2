from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError, UnavailableError
from clwm_train.runs.checkpoint import (
    choose_checkpoint,
    list_checkpoints,
    read_record,
    read_tensors,
    save_best,
    save_checkpoint,
)

TENSORS = {"weight": torch.arange(6.0).reshape(1, 2, 3), "bias": torch.ones(1, 3)}


def save(folder: Path, step: int, keep: int = 9) -> Path:
    learner = {"moment": torch.zeros(1, 3)}
    return save_checkpoint(folder, step, (3,), agent=TENSORS, learner=learner, keep=keep)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "run" / "checkpoints", 4)
    assert read_record(path, (3,)).step == 4
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
    read_record(path, (3,))
    for name in ("agent.safetensors", "learner.safetensors"):
        read_tensors(path / name)


def test_any_bit_of_the_index_counts(tmp_path: Path) -> None:
    """The step and the seeds are in the folder's name and in the run's record as well."""
    path = save(tmp_path, 4)
    index = path / "checkpoint.yaml"
    sound = index.read_bytes()
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 5
        if damaged.split() == sound.split():
            continue  # white space
        index.write_bytes(damaged)
        with pytest.raises(DamagedDataError) as caught:
            read_all(path)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_is_found_by_what_people_call_it(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    with pytest.raises(NotFoundError, match="holds no checkpoint yet"):
        choose_checkpoint(folder, None)
    with pytest.raises(NotFoundError, match=r"nope: no such checkpoint of .*run; it has none"):
        choose_checkpoint(folder, "nope")
    first, last = save(folder, 4), save(folder, 8)
    best = save_best(folder, 6, (3,), agent=TENSORS, score={"return": 1.0})
    assert list_checkpoints(folder) == [first, last]
    assert choose_checkpoint(folder, None) == last
    assert choose_checkpoint(folder, "best") == best
    for text in ("4", "step-000000004", first, str(first)):
        assert choose_checkpoint(folder, text) == first
    with pytest.raises(NotFoundError, match=r"it has step-000000004, step-000000008, best$"):
        choose_checkpoint(folder, "nope")
    other = save(tmp_path / "other" / "checkpoints", 4)
    with pytest.raises(InvalidInputError, match="is not a checkpoint of"):
        choose_checkpoint(folder, other)


def test_the_best_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for step in (2, 4):
        save_best(tmp_path, step, (3,), agent=TENSORS, score={"return": float(step)})
    assert read_record(tmp_path / "best").step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_full_disk_is_one_line_and_earlier_checkpoints_stay(tmp_path: Path) -> None:
    """The limit of a file's size stands for the end of the disk: the system refuses to write on."""
    first = save(tmp_path, 4)
    code = f"""
import resource, signal, torch
from pathlib import Path
from clwm_data.errors import UnavailableError
from clwm_train.runs.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
small, large = {{"w": torch.zeros(1, 10)}}, {{"m": torch.zeros(1, 10**6)}}
try:
    save_checkpoint(Path({str(tmp_path)!r}), 8, (3,), agent=small, learner=large, keep=1)
except UnavailableError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'step-000000008'}: File too large: ")
    assert len(done.stdout.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    read_tensors(first / "learner.safetensors")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UnavailableError, match="earlier checkpoints are intact"):
        save(tmp_path / "checkpoints", 4)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_stray_files_do_not_block(tmp_path: Path) -> None:
    (tmp_path / "note.partial").write_text("left by another program")
    (tmp_path / "step-000000099").write_text("no checkpoint")
    path = save(tmp_path, 4)
    assert list_checkpoints(tmp_path) == [path]
    assert not (tmp_path / "note.partial").exists()
