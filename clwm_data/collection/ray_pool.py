"""Segments rolled out on a Ray cluster whose machines share the store's file system.

A segment's bytes depend on nothing but the manifest, so a Ray task that is lost with its machine is simply
run again.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from clwm_data.collection.plan import Segment
from clwm_data.collection.worker import Pool, collect_segment
from clwm_data.errors import UnavailableError
from clwm_data.extras import require
from clwm_data.manifest import Manifest
from clwm_data.store.lock import is_locked, working_on
from clwm_data.store.provenance import machine_type, package_versions

CONNECT_SECONDS = 10.0
#: How long cancelled tasks may take to end.
CANCEL_SECONDS = 30.0


@contextmanager
def ray_pool(manifest: Manifest, store: Path, workers: int | None) -> Iterator[Pool]:
    """A pool of Ray tasks of one CPU each, for the length of a block.

    The cluster is found as Ray's own tools find it (``RAY_ADDRESS``, one that runs on this machine, else a
    new one of this machine alone), unless this process has called ``ray.init``.

    Raises:
        UnavailableError: Ray is not installed, there is no such cluster, or one of its machines died, does
            not see the store, or has other versions of the packages that decide the data.
    """
    ray = require("ray", "ray", "--engine ray")
    started_here = not ray.is_initialized()
    if started_here:
        join_cluster(ray)
    manifest, store = _with_absolute_paths(manifest), store.absolute()
    task = ray.remote(num_cpus=1)(_collect_on_node)
    running: set[Any] = set()

    def submit(segment: Segment) -> Future[Segment]:
        reference = task.remote(manifest, store, segment, package_versions(), machine_type())
        running.add(reference)
        future: Future[Segment] = reference.future()
        future.add_done_callback(lambda _: running.discard(reference))
        return future

    try:
        yield Pool(submit, workers or 2 * max(1, int(ray.cluster_resources().get("CPU", 1))))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise UnavailableError(
            f"a Ray worker died ({type(error).__name__}; out of memory?): run the same command again; "
            "it resumes"
        ) from error
    finally:
        left = list(running)
        for reference in left:
            ray.cancel(reference, force=True)
        if left:
            ray.wait(left, num_returns=len(left), timeout=CANCEL_SECONDS)
        if started_here:
            ray.shutdown()


def join_cluster(ray: ModuleType) -> None:
    """Join a cluster as Ray's own tools do.

    Raises:
        UnavailableError: there is none where ``RAY_ADDRESS`` says, or it cannot be joined.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    os.environ.setdefault(
        "RAY_USAGE_STATS_ENABLED", "0"
    )  # a cluster that is started here sends no statistics
    try:
        if match := re.search(r"([^/]+):(\d+)$", address):  # Ray itself would retry for ten minutes
            socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(f"cannot join a Ray cluster (RAY_ADDRESS={address}): {reason}") from error


def _with_absolute_paths(manifest: Manifest) -> Manifest:
    """The manifest with absolute paths: Ray's workers have another working directory."""
    behaviours = [
        entry if entry.zoo is None else entry.model_copy(update={"zoo": str(Path(entry.zoo).absolute())})
        for entry in manifest.behaviours
    ]
    return manifest.model_copy(update={"behaviours": behaviours})


def _collect_on_node(
    manifest: Manifest, store: Path, segment: Segment, versions: Mapping[str, str], machine: str
) -> Segment:
    """Collect a segment, unless this machine would give other bytes or write them elsewhere."""
    node = platform.node()
    if machine_type() != machine:
        raise UnavailableError(f"Ray node {node} is a {machine_type()}, not a {machine}: bits could differ")
    for package in sorted({*package_versions(), *versions} - {"python"}):
        installed, expected = package_versions().get(package, "none"), versions.get(package, "none")
        if installed != expected:
            raise UnavailableError(
                f"Ray node {node} has {package} {installed}, not {expected}: install the same"
            )
    if not is_locked(store):
        raise UnavailableError(f"Ray node {node} does not see {store}: it must lie on a shared file system")
    with working_on(store):
        return collect_segment(manifest, store, segment)
