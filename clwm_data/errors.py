"""The exceptions that users see. Each is also the built-in exception that it resembles.

Messages are one line: what is wrong, and how to mend it. The command line prints them and exits with 1.
"""

from __future__ import annotations


class ClwmError(Exception):
    """Base of all: catch it to catch whatever clwm reports."""


class InvalidInputError(ClwmError, ValueError):
    """Something that the caller gave cannot be used: an option, a manifest, a configuration, an array."""


class NotFoundError(ClwmError, FileNotFoundError, LookupError):
    """There is no such store, run, file, task family, task, method or repository."""


class DamagedDataError(ClwmError, ValueError):
    """Data on disk, or data that was downloaded, is not what it says it is: digests differ, files are cut."""


class ConflictError(ClwmError, FileExistsError):
    """What is there already stands in the way: a target that exists, another process at work, another run."""


class UnavailableError(ClwmError, RuntimeError):
    """This machine cannot do it now: a package, a device, memory, disk space or the network is missing."""


class DivergedError(ClwmError, ArithmeticError):
    """A training arrived at numbers that are not finite."""
