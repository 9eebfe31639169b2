"""The exceptions that users see. Each is also the built-in exception that it resembles.

Messages are one line: what is wrong, and how to fix it. The command line prints them and exits with 1.
"""

from __future__ import annotations


class ClwmError(Exception):
    """Base class: catch it to catch any error that clwm reports. It is never raised itself."""


class InvalidInputError(ClwmError, ValueError):
    """Something that the caller passed cannot be used: an option, a manifest, a configuration, an array."""


class NotFoundError(ClwmError, FileNotFoundError, LookupError):
    """There is no such store, run, file, task family, task, method or repository."""


class DamagedDataError(ClwmError, ValueError):
    """Data, on disk or downloaded, is not what its metadata says: digests differ, files are truncated."""


class ConflictError(ClwmError, FileExistsError):
    """Something that exists already prevents this: an existing target, another process, another run."""


class UnavailableError(ClwmError, RuntimeError):
    """This machine cannot do it now: a package, a device, memory, disk space or the network is missing."""


class DivergedError(ClwmError, ArithmeticError):
    """Training reached numbers that are not finite."""
