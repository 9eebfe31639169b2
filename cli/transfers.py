"""What the verbs share that talk to the Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .common import progress_bar

if TYPE_CHECKING:
    from clwm_data.store.cached import ProgressCallback


def quiet_hub() -> None:
    """Have the Hub's client draw no bars and print no warnings: the commands say themselves what is up."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def bytes_bar(description: str) -> Iterator[ProgressCallback]:
    """A progress bar of bytes, and what to call when some of them have travelled."""
    with progress_bar(None, "B", description) as bar:
        bar.unit_scale = True

        def on_progress(size: int, total: int) -> None:
            bar.total = total
            bar.update(size)

        yield on_progress
