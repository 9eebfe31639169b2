"""The console script: what has to be done before anything else is imported."""

from __future__ import annotations

import os
import signal


def run() -> None:
    """Run ``clwm``. Ctrl-C ends it with exit code 130, even during imports."""
    _occupy_standard_streams()
    # A command that was started in the background ignores the signal, and must continue to do so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from .main import main

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


def _occupy_standard_streams() -> None:
    """Redirect closed standard streams (``2>&-``) to the null device. Otherwise the next file that is opened
    would take their number, and messages would be written into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    import sys

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
