"""Processor time of ``clwm push`` and ``clwm pull`` against a Hub on loopback, beside ``cp``.

Usage: python bench/hub.py [--tasks 10] [--transitions 100000] [--rounds 5] [--no-parquet]

A store of noise in the shape of cheetah-vel, 109 MB. The Hub is the one of the tests and has a process of its
own; a push goes to a new repository, a pull to a new folder. Medians of commands in turn: the user's and
the system's processor time of the command, start of Python and imports included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import table
from memory import write_store

ROOT = Path(__file__).parents[1]
CLWM = (sys.executable, "-c", "from clwm_cli.main import main; main()")
SERVER = """
import sys
from tests.hub_server import HubServer
server = HubServer().start()
print(server.endpoint, flush=True)
sys.stdin.read()
"""


def processor_seconds(command: list[str | Path], environment: dict[str, str]) -> float:
    """Of a command that must succeed."""
    before = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--transitions", type=int, default=100_000, help="of each task")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-parquet", action="store_true", help="as of clwm push")
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdin is not None
    endpoint = server.stdout.readline().strip()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = folder / "noise.zarr"
        write_store(store, options.tasks, options.transitions)
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "hf"),
            "HF_TOKEN": "hf_SecretSecretSecretSecret",
            "CLWM_CACHE": str(folder / "cache"),
        }
        plain = ["--no-parquet"] if options.no_parquet else []
        times: dict[str, list[float]] = {}
        for number in range(options.rounds):
            pushed, pulled, copied = f"user/data{number}", folder / "pulled.zarr", folder / "copied.zarr"
            commands: dict[str, list[str | Path]] = {
                "python -c pass": [sys.executable, "-c", "pass"],
                "cp -r": ["cp", "-r", store, copied],
                "clwm push": [*CLWM, "push", store, pushed, *plain],
                "clwm pull": [*CLWM, "pull", pushed, "--out", pulled],
            }
            for name, command in commands.items():
                times.setdefault(name, []).append(processor_seconds(command, environment))
            for path in (pulled, copied):
                shutil.rmtree(path)
    server.stdin.close()
    server.wait()
    table(
        f"A store of {size / 1e6:.0f} MB, Hub on loopback",
        ["", "processor s"],
        [[name, f"{statistics.median(seconds):.2f}"] for name, seconds in times.items()],
    )


if __name__ == "__main__":
    main()
