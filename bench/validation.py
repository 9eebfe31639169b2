"""Checking a store beside the hash of its bytes.

Usage: python bench/validation.py [--tasks 4] [--transitions 100000] [--rounds 15]

A store of noise in the shape of cheetah-vel, with one thread and with as many as ``clwm validate`` takes,
beside the sha256 of its bytes, and of the same bytes twice: no check of two digests can take less.
Contestants take turns. ``--tasks 40 --transitions 25000`` are tasks as small as those of the small datasets.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

from measure import interleaved, table
from memory import write_store

import clwm_data.store.validate as validate


def sha256(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            hashlib.sha256(file.read_bytes()).hexdigest()


def twice(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for _ in range(2):
                hashlib.sha256(content).hexdigest()


def check(path: Path, threads: int) -> None:
    with patch.object(validate, "MOST_THREADS", threads):
        validate.validate(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--transitions", type=int, default=100_000, help="of each task")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.zarr"
        write_store(path, options.tasks, options.transitions)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        ways = {f"clwm validate, {n} thread(s)": partial(check, path, n) for n in (1, validate.MOST_THREADS)}
        times = interleaved(
            {"sha256": partial(sha256, path), "sha256 twice": partial(twice, path), **ways}, options.rounds
        )
    wall, processor = times["sha256"]
    table(
        f"A store of {size / 1e6:.0f} MB",
        ["", "wall s", "processor s", "beside sha256 (wall)", "(processor)"],
        [
            [name, f"{w:.3f}", f"{p:.3f}", f"{w / wall:.2f} x", f"{p / processor:.2f} x"]
            for name, (w, p) in times.items()
        ],
    )


if __name__ == "__main__":
    main()
