"""``clwm list``: stores and runs on this machine, or on the Hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clwm_data.disk import describe
from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.mistaken import has_lost_its_mark
from clwm_data.opening import DATA, RUNS, stores_in
from clwm_data.pages.numbers import plural
from clwm_data.store.overview import human_bytes, store_bytes

from .common import echo_json, echo_table
from .options import json_option
from .transfers import quiet_hub

if TYPE_CHECKING:
    from clwm_data.store import Store
    from clwm_train.runs.run import Run

#: Tag of everything that `clwm push` publishes.
TAG = "clwm"


@click.command("list")
@click.option("--hub", is_flag=True, help="Published datasets and agents instead, found by their tag.")
@json_option
def list(hub: bool, as_json: bool) -> None:
    """List the stores under data/ and the runs under runs/, or what is published on the Hub.

    The state of a store is judged by its metadata and the sizes of its files; `clwm validate` reads the data,
    too. For runs, the highest few-shot return on id tasks among their evaluations is shown: a mean over tasks
    and seeds, normalised where the family has reference returns.

    \b
    Examples:
      clwm list
      clwm list --json
      clwm list --hub
    """
    listed = list_hub() if hub else list_here(DATA, RUNS)
    if as_json:
        echo_json(listed)
        return
    nothing = {
        "stores": f"no stores under {DATA}/: `clwm collect MANIFEST` makes one",
        "runs": f"no runs under {RUNS}/: `clwm train STORE` makes one",
        "datasets": "no datasets on the Hub",
        "agents": "no agents on the Hub",
    }
    for number, (what, entries) in enumerate(listed.items()):
        if number:
            click.echo()
        if not entries:
            click.echo(nothing[what])
            continue
        header = tuple(entries[0])
        echo_table(header, [tuple(_cell(key, entry[key]) for key in header) for entry in entries])


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key == "size":
        return human_bytes(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def list_here(data: Path, runs: Path) -> dict[str, Any]:
    """The stores below a folder, and the runs below another, however deep experiments put them."""
    stores = [_store_entry(path) for path in stores_in(data)]
    folders = {record.parent for record in runs.glob("**/run.yaml")}
    folders |= {inside.parent for inside in runs.glob("**/checkpoints") if has_lost_its_mark(inside.parent)}
    return {"stores": stores, "runs": [_run_entry(path) for path in sorted(folders)]}


def _store_entry(path: Path) -> dict[str, Any]:
    from clwm_data.opening import open_store

    entry: dict[str, Any] = {
        "store": str(path),
        "family": None,
        "tasks": None,
        "transitions": None,
        "size": None,
    }
    try:
        store = open_store(path)
        records = [task.record for task in store]
        return {
            "store": str(path),
            "family": store.family,
            "tasks": len(records),
            "transitions": sum(record.transitions for record in records),
            "size": store_bytes(store),
            "state": _state(store),
        }
    except ClwmError as error:
        return {**entry, "state": str(error)}
    except OSError as error:
        return {**entry, "state": describe(error)}


def _state(store: Store) -> str:
    """The state of a store, from its metadata and the sizes of its files."""
    for task in store:
        if (damage := task.damage()) is not None:
            return f"damaged: task {task.index} {damage}"
    missing = store.missing_tasks
    return (
        f"{plural(len(missing), 'task')} of its manifest {'is' if len(missing) == 1 else 'are'} missing"
        if missing
        else "complete"
    )


def _run_entry(path: Path) -> dict[str, Any]:
    from clwm_train.runs.checkpoint import list_checkpoints, read_record
    from clwm_train.runs.run import open_run

    entry: dict[str, Any] = {
        "run": str(path),
        "method": None,
        "store": None,
        "seeds": None,
        "updates": None,
        "few-shot id": None,
    }
    if find_spec("torch") is None:
        return {**entry, "state": 'runs are read with torch: pip install "clwm[train]"'}
    try:
        run = open_run(path)
        checkpoints = list_checkpoints(run.checkpoints)
        updates = read_record(checkpoints[-1]).step if checkpoints else 0
        return {
            **entry,
            "method": run.label,
            "store": run.record.store_name,
            "seeds": len(run.record.seeds),
            "updates": updates,
            "few-shot id": _best(run),
            "state": "trained"
            if updates >= run.config.steps
            else f"{updates:,} of {plural(run.config.steps, 'update')}",
        }
    except ClwmError as error:
        return {**entry, "state": str(error)}
    except OSError as error:
        return {**entry, "state": describe(error)}


def _best(run: Run) -> str | None:
    """The highest few-shot result on id tasks among the run's evaluations."""
    from statistics import fmean

    from clwm_train.evaluation.results import read_evaluations

    best: tuple[float, str] | None = None
    for evaluation in read_evaluations(run):
        entries = [
            parts["few-shot"]["id"] for parts in evaluation.results if "id" in parts.get("few-shot", {})
        ]
        if not entries:
            continue
        scaled = [entry.normalised_mean for entry in entries if entry.normalised_mean is not None]
        value = fmean(scaled or [entry.return_mean for entry in entries])
        text = f"{value:.3f} normalised" if scaled else f"{value:.1f}"
        best = max(best or (value, text), (value, text))
    return None if best is None else best[1]


def list_hub() -> dict[str, Any]:
    """What is published with clwm's tag.

    Raises:
        UnavailableError: the Hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    quiet_hub()
    api = HfApi()
    try:
        return {
            "datasets": [_published("dataset", info) for info in api.list_datasets(filter=TAG)],
            "agents": [_published("agent", info) for info in api.list_models(filter=TAG)],
        }
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(f"the Hub ({api.endpoint}) cannot be asked: {reason}") from error


def _published(kind: str, info: Any) -> dict[str, Any]:
    changed = None if info.last_modified is None else info.last_modified.date().isoformat()
    return {kind: info.id, "downloads": info.downloads, "changed": changed}
