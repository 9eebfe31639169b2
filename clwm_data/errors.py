"""The one exception a user sees."""

from __future__ import annotations


class ClwmError(Exception):
    """A mistake in the input or on disk, told in one line: what is wrong, and how to mend it.

    The command line prints the message on stderr and exits with 1; library users catch it.
    """
