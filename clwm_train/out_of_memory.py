"""Running out of memory, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clwm_data.errors import UnavailableError


@contextmanager
def memory_errors(path: Path, remedy: str) -> Iterator[None]:
    """A block in which running out of memory raises an error of one line.

    Args:
        path: what the error names.
        remedy: what may help.

    Raises:
        UnavailableError: memory does not suffice.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise UnavailableError(f"{path}: out of memory: {remedy}") from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise UnavailableError(f"{path}: out of memory: {remedy}") from error
