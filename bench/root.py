"""What a store's root metadata costs: while thousands of tasks are collected, and when it is opened.

Run ``python bench/root.py --tasks 5000``. The tasks are those of a point robot, two episodes each, written by
the collector itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from clwm_data.collection.collector import collect
from clwm_data.families import Task, get_family
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store.root_writer import RootWriter

OPENED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5000)
    options = parser.parse_args()
    family = get_family("point-robot")
    first = family.task(12)
    tasks = tuple(Task(index, first.split, first.parameters) for index in range(options.tasks))
    vars(family)["tasks"] = tasks  # a cached property
    manifest = Manifest(
        name="many",
        family="point-robot",
        behaviours=[BehaviourEntry(policy="random", episodes=2)],
    )
    spent = {"reading": 0.0, "writing": 0.0}
    roots = 0

    def timed(method: str, kind: str):
        original = getattr(RootWriter, method)

        def wrapped(*arguments: object) -> object:
            nonlocal roots
            since = time.perf_counter()
            try:
                return original(*arguments)
            finally:
                spent[kind] += time.perf_counter() - since
                roots += kind == "writing"

        return patch.object(RootWriter, method, wrapped)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.zarr"
        since = time.perf_counter()
        with timed("_read", "reading"), timed("write", "writing"):
            collect(manifest, path)
        whole = time.perf_counter() - since
        share = 100 * sum(spent.values()) / whole
        print(
            f"{options.tasks} tasks collected in {whole:.1f} s; root metadata {sum(spent.values()):.1f} s "
            f"({share:.1f} %): read in {spent['reading']:.1f} s, written {roots} times in "
            f"{spent['writing']:.1f} s; {(path / 'zarr.json').stat().st_size / 1e6:.1f} MB"
        )
        opened, listed, verified = [], [], []
        for _ in range(OPENED):
            since = time.process_time()
            store = open_store(path)
            opened.append(time.process_time() - since)
            list(store)
            listed.append(time.process_time() - since)
            since = time.process_time()
            store.root.verify(str(path))
            verified.append(time.process_time() - since)
        whole, each, digest = (statistics.median(times) for times in (opened, listed, verified))
        print(
            f"in processor time: opened in {whole:.2f} s, with the metadata of all tasks checked in "
            f"{each:.2f} s, its digest compared in {digest:.2f} s"
        )


if __name__ == "__main__":
    main()
