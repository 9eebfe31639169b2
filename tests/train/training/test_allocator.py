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
from clwm_train.training.allocator import freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(10_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
returned = faults()
with freed_memory(kept=True):
    for _ in range(50):
        faults()
    kept = faults()
    with freed_memory(kept=False):
        inside = faults()
    for _ in range(50):
        faults()
    before = faults()
after = faults()
print(returned, kept, inside, before, after)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_arrays_keep_their_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    returned, kept, inside, before, after = map(int, done.stdout.split())
    assert min(returned, inside, after) > 1_000
    assert max(kept, before) < 100
