"""The console script: what has to be done before anything else is imported."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import warnings
from contextlib import suppress
from types import FrameType

#: Sent by batch systems before they kill; by a terminal or an ssh connection that closes.
TERMINATING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(BaseException):
    """A signal ends the command. Not a SystemExit: amid a user's code that would be an error of that code."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def run() -> None:
    """Run ``clwm``. Ctrl-C ends it with exit code 130, even during imports; SIGTERM with 143, SIGHUP 129.

    What the command had begun to write is removed first, or left so that the same command resumes.
    """
    _occupy_standard_streams()
    _print_anything()
    # A command that was started in the background ignores the signal, and must continue to do so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from .main import main

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Calls of zarr that are interrupted leave one.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    for number in TERMINATING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    try:
        main()
    except Terminated as ended:
        sys.exit(ended.status)
    finally:
        gc.freeze()  # at its end Python would search all that torch brought for cycles: half a second


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave by the same way as Ctrl-C: through everything that cleans up behind itself."""
    signal.signal(number, signal.SIG_IGN)  # it may come twice, and cleaning up is not to be interrupted
    with suppress(OSError):  # the terminal may be closed
        os.write(2, f"clwm: stopped by {signal.Signals(number).name}\n".encode())
    raise Terminated(128 + number)


def _print_anything() -> None:
    """Escape characters that the terminal's encoding does not have, instead of failing at them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _occupy_standard_streams() -> None:
    """Redirect closed standard streams (``2>&-``) to the null device. Otherwise the next file that is opened
    would take their number, and messages would be written into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
