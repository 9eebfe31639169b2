"""``python -m docs.generate.results [add RUNS...]``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from clwm_data.errors import ClwmError
from clwm_train.report.page import find_runs
from docs.generate.results.page import ROOT, write
from docs.generate.results.record import add_run


def current_revision() -> str:
    """The commit of the checkout, with ``+`` if the packages or experiments differ from it.

    Raises:
        SystemExit: the checkout is no Git repository.
    """
    head = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if head.returncode:
        raise SystemExit(
            "add: the revision is unknown, since this is no Git checkout: give it with --revision"
        )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "clwm_data", "clwm_train", "experiments", "manifests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return head.stdout.strip() + ("+" if changed.stdout else "")


def main() -> None:
    """Copy finished runs to results/, or make the page of what lies there."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate.results", description=__doc__)
    verbs = parser.add_subparsers(dest="verb")
    add = verbs.add_parser("add", help="copy the small files of finished runs")
    add.add_argument("runs", nargs="+", type=Path, help="folders of sweeps, such as runs/benchmark")
    add.add_argument("--out", type=Path, default=ROOT / "results", help="folder of all results")
    add.add_argument("--revision", help="commit that made the runs; by default that of the checkout")
    arguments = parser.parse_args()
    if arguments.verb is None:
        write(ROOT / "docs")
        return
    revision = arguments.revision or current_revision()
    for folder in arguments.runs:
        for run in find_runs([folder]):
            copy = add_run(run, arguments.out / folder.resolve().name, revision)
            text = copy or f"{run.path}: left out, since it was not evaluated at its last update"
            sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    try:
        main()
    except ClwmError as error:
        sys.exit(f"add: {error}")
