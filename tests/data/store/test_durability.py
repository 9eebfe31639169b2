"""What a power cut cannot undo: the order of syncing and renaming, read from the calls to the system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clwm_data.store.atomic import replacing
from tests.conftest import ROOT

ACTIONS = """
import sys
from pathlib import Path
from clwm_data.collection.collector import collect
from clwm_data.convert.npz import to_npz
from clwm_data.edit import delete_episodes, merge, select
from tests.conftest import tiny_manifest
folder = Path(sys.argv[1])
collect(tiny_manifest(tasks=[6]), folder / "one.zarr")
collect(tiny_manifest(tasks=[6], seed=1), folder / "two.zarr")
collect(tiny_manifest(tasks=[6]), folder / "one.zarr", overwrite=True)
select(folder / "one.zarr", folder / "selected.zarr", episodes=[0, 1])
merge([folder / "one.zarr", folder / "two.zarr"], folder / "merged.zarr")
delete_episodes(folder / "merged.zarr", {6: [0]})
to_npz(folder / "one.zarr", folder / "one.npz")
"""
RENAME = re.compile(
    r'(?:rename|renameat|renameat2)\((?:AT_FDCWD\S*, )?"(?P<source>[^"]+)", '
    r'(?:AT_FDCWD\S*, )?"(?P<target>[^"]+)"(?:, (?P<flags>\S+))?\)\s+= 0'
)
SYNC = re.compile(r"f(?:data)?sync\(\d+<(?P<path>[^>]+)>\)\s+= 0")


def is_unfinished(path: Path, folder: Path) -> bool:
    """Inside what is put in place as a whole later."""
    parents = path.relative_to(folder).parts[:-1]
    return any(part.endswith(".partial") or part.startswith(".") for part in parents)


def test_what_was_renamed_is_synced_before_and_its_folder_after(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace, folder = tmp_path / "trace", tmp_path / "stores"
    folder.mkdir()
    calls = "trace=rename,renameat,renameat2,fsync,fdatasync"
    done = subprocess.run(
        ["strace", "-f", "-y", "-s", "4096", "-e", calls, "-o", trace, sys.executable, "-c", ACTIONS, folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if "ptrace" in done.stderr:
        pytest.skip("this system lets no process trace another")
    assert done.returncode == 0, done.stderr
    events: list[tuple[str, Path, Path | None]] = []
    for line in trace.read_text().splitlines():
        if match := RENAME.search(line):
            events.append((match["flags"] or "rename", Path(match["source"]), Path(match["target"])))
        elif match := SYNC.search(line):
            events.append(("sync", Path(match["path"]), None))
    finished = []
    for number, (kind, source, target) in enumerate(events):
        if target is None or not target.is_relative_to(folder) or is_unfinished(target, folder):
            continue
        before = {path for event, path, _ in events[:number] if event == "sync"}
        after = {path for event, path, _ in events[number:] if event == "sync"}
        # An exchange puts its second name, the new store, where the old one was.
        arriving, place = (target, source) if kind == "RENAME_EXCHANGE" else (source, target)
        assert arriving in before, f"{place}: was not synced before it got its name"
        assert place.parent in after, f"{place}: its folder was not synced after it got its name"
        finished.append(place.name)
    for name in ("one.zarr", "selected.zarr", "merged.zarr", "one.npz", "zarr.json", "0006"):
        assert name in finished


def test_an_error_names_what_was_to_be_written(tmp_path: Path) -> None:
    """Not the unfinished file, which is gone by then."""
    taken = tmp_path / "results.csv"
    taken.mkdir()
    with pytest.raises(OSError, match=f"'{taken}'$"), replacing(taken) as temporary:
        temporary.write_text("a")
    beyond = tmp_path / "nowhere" / "results.csv"
    with pytest.raises(FileNotFoundError, match=f"'{beyond}'$"), replacing(beyond):
        pass
    assert list(tmp_path.iterdir()) == [taken]
