"""A folder named in the place of another is told for what it is."""

from pathlib import Path

import pytest

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.mistaken import not_there
from clwm_data.paths import target_path
from clwm_data.store.root import read_root


def test_what_was_named_instead(tmp_path: Path) -> None:
    run, store = tmp_path / "runs" / "first", tmp_path / "data" / "point.zarr"
    for folder, mark in ((run, "run.yaml"), (store, "zarr.json")):
        folder.mkdir(parents=True)
        (folder / mark).write_text("{}")
    assert not_there(run, "store") == f"{run}: is a run, not a store: `clwm eval` and `clwm report` take runs"
    assert (
        not_there(store, "run") == f"{store}: is a store, not a run: `clwm info` and `clwm train` take stores"
    )
    data = not_there(store.parent, "store")
    assert data == f"{store.parent}: is not a store, but holds some: name one, such as {store}"
    lost = tmp_path / "data" / "lost.zarr"
    (lost / "tasks").mkdir(parents=True)
    (lost / "tasks" / "zarr.json").write_text("{}")
    assert "has lost its zarr.json" in not_there(lost, "store")
    aimless = tmp_path / "runs" / "aimless"
    (aimless / "checkpoints").mkdir(parents=True)
    (aimless / "config.yaml").write_text("{}")
    assert "has lost its run.yaml" in not_there(aimless, "run")
    assert "has lost its run.yaml" in not_there(aimless, "store")
    assert not_there(run.parent, "run").endswith(f"such as {run}")
    assert (
        not_there(tmp_path / "no", "run") == f"{tmp_path / 'no'}: run does not exist; `clwm train` makes one"
    )
    file = run / "run.yaml"
    assert (
        not_there(file, "store") == f"{file}: is not a store: it has no zarr.json; `clwm collect` makes one"
    )
    with pytest.raises(NotFoundError, match="is a run, not a store"):
        read_root(run)


@pytest.mark.parametrize(("kind", "mark"), [("store", "zarr.json"), ("run", "run.yaml")])
def test_nothing_is_made_inside_another(tmp_path: Path, kind: str, mark: str) -> None:
    inside = tmp_path / "that" / "sub" / "mine"
    (tmp_path / "that").mkdir()
    assert target_path(inside) == inside.resolve()
    (tmp_path / "that" / mark).write_text("{}")
    with pytest.raises(InvalidInputError, match=rf"mine: lies inside the {kind} .*that: choose a place out"):
        target_path(inside)
    assert target_path(tmp_path / "that") == (tmp_path / "that").resolve()  # replaced, or refused, as a whole
