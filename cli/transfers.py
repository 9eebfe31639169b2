"""Shared by the verbs that use the Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .common import progress_bar

if TYPE_CHECKING:
    from clwm_data.store.cached import ArrivalCallback


def quiet_hub() -> None:
    """Silence the progress bars and warnings of the Hub's client: the commands report themselves."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def bytes_bar(description: str) -> Iterator[ArrivalCallback]:
    """A progress bar of bytes, as a callback to call when some of them have been transferred."""
    with progress_bar(None, "B", description) as bar:
        bar.unit_scale = True

        def on_progress(size: int, total: int) -> None:
            bar.total = total
            bar.update(size)

        yield on_progress
