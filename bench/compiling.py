"""What a compiled training costs before its first update: processor seconds, cold and with a warm cache.

Usage: OMP_NUM_THREADS=1 python bench/compiling.py [--size tiny] [--method spc] [--rounds 3]

Every start is a process of its own. The first one finds torch's cache empty; its compiler's processes count.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

import torch
from bench_update import Setting, Way, ours

from clwm_data.compiler import check_compiler


def start(size: str, method: str, compiles: bool) -> None:
    """Two updates, one of each kind."""
    if compiles:
        check_compiler(torch.device("cpu"))
    contestant = ours(Setting.of_size(size, "cpu", method), Way("fp32", compiles))
    for step in range(2):
        contestant.update(step)


def spent(arguments: list[str], cache: str) -> float:
    """Processor seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
    subprocess.run([sys.executable, __file__, *arguments], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--method", default="spc")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--start", choices=("eager", "compiled"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        torch.set_num_threads(1)
        start(options.size, options.method, options.start == "compiled")
        return
    size = ["--size", options.size, "--method", options.method, "--start"]
    with tempfile.TemporaryDirectory() as cache:
        eager = statistics.median(spent([*size, "eager"], cache) for _ in range(options.rounds))
        cold = spent([*size, "compiled"], cache) - eager
        warm = statistics.median(spent([*size, "compiled"], cache) for _ in range(options.rounds)) - eager
    print(f"{options.size}: {cold:.1f} s when nothing is compiled yet, {warm:.1f} s later")
    print(f"(more than an eager start, which takes {eager:.1f} s)")


if __name__ == "__main__":
    main()
