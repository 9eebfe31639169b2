"""How slowly a download may arrive before it is given up.

A timeout bounds the silence between two bytes. A server that sends one byte after another keeps within it for
ever, so what arrives in a minute is counted, too.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from clwm_data.errors import UnavailableError

#: Bytes per second that must arrive.
SLOWEST = 1000.0
#: Seconds over which they are counted.
WINDOW_SECONDS = 60.0


class TooSlowError(UnavailableError):
    """A download arrives too slowly to go on with."""

    def __init__(self) -> None:
        super().__init__(f"arrives at less than {SLOWEST / 1000:g} kB/s: run the same command later")


class Pace:
    """Counts what arrives on a connection.

    The wait for the first bytes of an answer does not count: the timeout bounds it, and a server may have to
    think before it answers.
    """

    def __init__(self, window: float | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._window = WINDOW_SECONDS if window is None else window
        self._clock = clock
        self._since: float | None = None
        self._bytes = 0

    def begin(self) -> None:
        """A new request is sent."""
        self._since = None

    def received(self, count: int) -> None:
        """Some bytes have arrived.

        Raises:
            TooSlowError: too few in this window.
        """
        now = self._clock()
        if self._since is None:
            self._since, self._bytes = now, 0
            return
        self._bytes += count
        seconds = now - self._since
        if seconds >= self._window:
            if self._bytes < SLOWEST * seconds:
                raise TooSlowError
            self._since, self._bytes = now, 0
