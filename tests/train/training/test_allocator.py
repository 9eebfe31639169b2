from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Page faults of arrays of 40 MB that are requested and freed again and again. Kept memory is used again from
#: the first time on unless something small has been put beside it: glibc looks for the size of an aligned
#: array and its alignment together. That ends as soon as what is small has found its places.
PROGRAM = """
import resource
import torch
from clwm_train.training.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(10_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
returned = faults()
assert keep_freed_memory()
for _ in range(50):
    faults()
print(returned, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_arrays_keep_their_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    returned, kept = map(int, done.stdout.split())
    assert returned > 1_000
    assert kept < 100
