"""Peak memory of training: `paper` on 40 tasks x 200k transitions of cheetah-vel.

Usage: python bench/memory.py [--tasks 40] [--transitions 200000] [--updates 4] [--preset paper] [--compile]

Writes a store of noise in that shape to a temporary folder, then trains on it in a process of its own, which
does what ``clwm train`` does, and prints that process's largest resident set.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from synthetic import synthetic_task

from clwm_data.families import SPLITS, get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.store.provenance import current_provenance
from clwm_data.store.root_writer import write_root
from clwm_data.store.writer import write_task

FAMILY = "cheetah-vel"


def write_store(path: Path, tasks: int, transitions: int) -> None:
    family = get_family(FAMILY)
    episodes = transitions // family.horizon
    entry = BehaviourEntry(policy="random", episodes=episodes)
    train_first = [index for split in SPLITS for index in family.split(split)]
    indices = sorted(train_first[:tasks])
    manifest = Manifest(name="memory", family=FAMILY, tasks=indices, behaviours=[entry])
    path.mkdir()
    for index in indices:
        noise = synthetic_task(index, episodes, family.horizon, family.observation_size, family.action_size)
        write_task(path, family.task(index), [entry], noise.load(), manifest.storage)
    write_root(path, manifest, current_provenance())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--transitions", type=int, default=200_000, help="per task")
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--compile", action="store_true", help="as of clwm train")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "memory.zarr"
        write_store(store, options.tasks, options.transitions)
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        settings = ["--preset", options.preset, *(["--compile"] if options.compile else [])]
        command = ["train", store, *settings, "--steps", options.updates]
        program = [sys.executable, "-c", "from clwm_cli.main import main; main()"]
        subprocess.run([*program, *map(str, command), "--out", Path(folder) / "run"], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{options.tasks} x {options.transitions:,} transitions, {size / 2**30:.2f} GiB on disk")
    print(f"peak resident set of `clwm train {' '.join(settings)}`: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
