"""Where data comes from: time, command, versions, machine."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath

from clwm_data.store.command_line import without_folder
from clwm_data.store.format import Provenance

PACKAGES = ("clwm", "numpy", "zarr", "gymnasium", "mujoco", "mjbatch", "dm-control", "metaworld")
#: Packages whose version may change what a simulator computes.
SIMULATORS = ("numpy", "gymnasium", "mujoco", "mjbatch", "dm-control", "metaworld")


@cache
def package_versions() -> dict[str, str]:
    """Versions of the installed packages that decide the bytes of collected data."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def machine_type() -> str:
    """Operating system and processor type: ``Linux x86_64``."""
    return f"{platform.system()} {platform.machine()}"


def current_provenance() -> Provenance:
    """Provenance of data that this process is about to make."""
    name = PurePath(sys.argv[0]).name or "python"
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join([name, *map(without_folder, sys.argv[1:])]),
        packages=package_versions(),
        platform=machine_type(),
    )


def simulator_differences(provenance: Provenance) -> tuple[str, ...]:
    """How the simulator here differs from the one that collected; empty if results must agree to the bit."""
    here = current_provenance()
    pairs = {"machine": (provenance.platform, here.platform)}
    for package in SIMULATORS:
        pairs[package] = (provenance.packages.get(package, "none"), here.packages.get(package, "none"))
    return tuple(
        f"{name} {recorded} there, {current} here"
        for name, (recorded, current) in pairs.items()
        if recorded != current
    )
