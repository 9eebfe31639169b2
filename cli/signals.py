"""Stopping long work at a safe point after a signal."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Self

#: Sent by Ctrl-C; by batch systems before they kill; by a terminal or an ssh connection that closes.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopOnSignal:
    """Whether a signal has asked to stop, for a loop that checks after every step.

    A second Ctrl-C stops at once; the first says so, since an evaluation that has begun is finished. The
    other signals may arrive twice (``timeout`` and closing terminals send them twice) and never interrupt a
    write. A signal that is ignored, as under ``nohup``, stays ignored.
    """

    def __init__(self) -> None:
        self._stop = False

    def __call__(self) -> bool:
        """Whether a signal has arrived."""
        return self._stop

    def __enter__(self) -> Self:
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
        for number in self._before:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        if number == signal.SIGINT:
            with suppress(OSError):  # not by sys.stderr, which this may have interrupted
                os.write(2, b"\nclwm: stopping at the next safe point; Ctrl-C again stops at once\n")
            signal.signal(number, signal.default_int_handler)
