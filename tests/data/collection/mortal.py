"""Runs collections that die: a process that has everything imported and forks one child per order.

Starting Python takes longer than collecting a small dataset; forking a warm process takes milliseconds, so a
test can afford hundreds of deaths. One JSON order per line on stdin, one JSON answer per line on stdout; the
message of an error goes to the file that the order names.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clwm_data.collection.collector
from clwm_data.collection import plan
from clwm_data.errors import ClwmError
from clwm_data.manifest import load_manifest

#: Audit events of calls that change a file system.
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


def on_change(act: Callable[[int], None]) -> None:
    """Call ``act`` with 0, 1, 2, ... right before each change that this process makes to a file system."""
    count = -1

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        written = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if written or event in CHANGES:
            count += 1
            act(count)

    sys.addaudithook(hook)


def child(order: dict[str, Any]) -> int:
    """Carry out an order in the forked process: 0 when it is complete, 1 with the error on stderr."""
    if order["die_at_change"] is not None:
        on_change(lambda n: os.kill(os.getpid(), signal.SIGKILL) if n == order["die_at_change"] else None)
    elif order["count_changes"]:
        counter = Path(order["count_changes"]).open("wb", buffering=0)  # noqa: SIM115 (open until the end)
        on_change(lambda n: counter.write(b"."))
    plan.SEGMENT_TRANSITIONS = order["segment_transitions"]
    try:
        clwm_data.collection.collector.collect(
            load_manifest(order["manifest"]),
            Path(order["out"]),
            workers=order["workers"],
            overwrite=order["overwrite"],
        )
    except ClwmError as error:
        Path(order["stderr"]).write_text(str(error))
        return 1
    return 0


def answer(reply: dict[str, Any]) -> None:
    """One line on stdout, at once."""
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer orders until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        if "mount" in order:
            subprocess.run(["mount", *order["mount"]], check=True)
            answer({})
            continue
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(child(order))
        if order["die_after"] is not None:
            time.sleep(order["die_after"])
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        reply = {"code": os.waitstatus_to_exitcode(status), "seconds": time.perf_counter() - start}
        answer(reply)


if __name__ == "__main__":
    main()
