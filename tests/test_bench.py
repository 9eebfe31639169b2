"""Every script of bench/ runs, at its smallest size."""

from __future__ import annotations

from pathlib import Path

import pytest

import clwm_train
from tests.conftest import ROOT
from tests.train.helpers import TRUSTED_PROCESSOR
from tests.warm_python import WarmPython

BENCH = ROOT / "bench"
#: Arguments with which a script takes the least time.
SMALLEST = {
    "bench_families.py": "--rounds 1 --lanes 2 --families cheetah-vel,finger-speed --tables one,many",
    "behaviour_updates.py": "--family point-robot --updates 1 --rounds 1",
    "bench_update.py": "--smallest --products",
    "collection.py": "hopper-mass --repeats 1 --episodes 2",
    "compiling.py": "--method bc --rounds 1",
    "contexts.py": "--rounds 1 --steps 2",
    "evaluation.py": "--family point-robot --preset tiny --rounds 1 --store STORE",
    "hub.py": "--tasks 1 --transitions 400 --rounds 1 --no-parquet",
    "lanes.py": "--lanes 2 --steps 2 --rounds 1",
    "many_tasks.py": "--tasks 3 5 --size tiny --methods spc --rounds 1",
    "memory.py": "--tasks 2 --transitions 400 --updates 2 --preset tiny",
    "metaworld_overhead.py": "--tasks reach --rounds 1 --steps 4",
    "other_trainers.py": "--rounds 1 --workers 1",
    "mixture_actions.py": "MIXTURE STORE",
    "root.py": "--tasks 3",
    "validation.py": "--tasks 1 --transitions 400 --rounds 1",
    "code_contents.py": "RUN STORE --steps 2 --observations 40 --tasks 1 --seeds 1",
    "settled_codes.py": "RUN STORE --steps 2 --episodes 1 --no-compile",
    "sampling.py": "--size tiny --episodes 1 --rounds 1 --batches 2",
    "store.py": "--tasks 2 --episodes 2 --megabytes 2 --rounds 1 "  # without the start of workers and of Ray
    "--only collection --only memory --only write --only read --only windows",
}
#: ``python SCRIPT ARGUMENTS``, when SCRIPT and ARGUMENTS are the arguments.
AS_SCRIPT = """
import os, runpy, sys
del sys.argv[0]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
#: Parts of the scripts.
MODULES = {"formats.py", "jax_update.py", "measure.py", "reference.py", "synthetic.py"}


def test_every_script_is_run() -> None:
    programs = {path.name for path in BENCH.glob("*.py") if '"__main__"' in path.read_text()}
    assert programs == set(SMALLEST)
    assert {path.name for path in BENCH.glob("*.py")} == programs | MODULES


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALLEST)
def test_a_script_runs(
    script: str,
    tmp_path: Path,
    collected: Path,
    warm_python: WarmPython,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = SMALLEST[script].replace("STORE", str(collected))
    for name, overrides in {"RUN": {}, "MIXTURE": {"policy.head": "mixture"}}.items():
        if name in arguments:
            run = clwm_train.train(collected, overrides={"steps": 2, **overrides}, out=tmp_path / "run")
            arguments = arguments.replace(name, str(run.path))
    for name, value in {"CLWM_CACHE": str(tmp_path), **TRUSTED_PROCESSOR}.items():
        monkeypatch.setenv(name, value)
    done = warm_python.run(AS_SCRIPT, [BENCH / script, *arguments.split()], ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert any(character.isdigit() for character in done.stdout)
