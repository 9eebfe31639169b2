"""How slowly a transfer may go before it is given up.

A timeout bounds the silence between two bytes. A server that sends or takes one byte after another keeps
within it for ever, so what is transferred in a minute is counted, too.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from clwm_data.errors import UnavailableError

#: Bytes per second that must be transferred.
SLOWEST = 1000.0
#: Seconds over which they are counted.
WINDOW_SECONDS = 60.0


class TooSlowError(UnavailableError):
    """A transfer is too slow to go on with."""

    def __init__(self, verb: str = "arrives") -> None:
        super().__init__(f"{verb} at less than {SLOWEST / 1000:g} kB/s: run the same command later")


class Pace:
    """Counts what arrives on a connection, or what is sent.

    The wait for the first bytes of an answer does not count: the timeout bounds it, and a server may have to
    think before it answers.

    Args:
        window: seconds over which bytes are counted; ``WINDOW_SECONDS`` by default.
        clock: tells the seconds.
        verb: of the message about what is too slow.

    Attributes:
        window: as given.
    """

    def __init__(
        self,
        window: float | None = None,
        clock: Callable[[], float] = monotonic,
        verb: str = "arrives",
    ) -> None:
        self.window = WINDOW_SECONDS if window is None else window
        self._clock = clock
        self._verb = verb
        self._since: float | None = None
        self._bytes = 0

    def begin(self) -> None:
        """A new request is sent."""
        self._since = None

    def count(self, count: int) -> None:
        """Some bytes have been transferred; the first call after :meth:`begin` starts the clock.

        Raises:
            TooSlowError: too few in this window.
        """
        now = self._clock()
        if self._since is None:
            self._since, self._bytes = now, 0
            return
        self._bytes += count
        seconds = now - self._since
        if seconds >= self.window:
            if self._bytes < SLOWEST * seconds:
                raise TooSlowError(self._verb)
            self._since, self._bytes = now, 0
