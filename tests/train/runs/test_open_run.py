"""Runs are opened by their path."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data import Store
from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_train import open_run
from clwm_train.methods.resolve import resolve
from clwm_train.runs.finding import find_run
from clwm_train.runs.run import Run, check_free, describe_run, discard_unbegun, write_run
from clwm_train.runs.same_data import check_same_data
from tests.train.runs.test_checkpoint import run_in


@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_no_run_is_said_so(kind: type[str] | type[Path], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing: run does not exist; `clwm train` makes one"):
        open_run(kind(tmp_path / "nothing"))
    with pytest.raises(NotFoundError, match="is not a run"):
        open_run(kind(tmp_path))


@pytest.mark.parametrize("kind", ["folder", "link", "current folder", "leftovers"])
def test_the_folder_of_a_new_run_may_exist_and_stays(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a mount point, in a folder where nothing can be created or removed."""
    folder = path = tmp_path / "folder"
    folder.mkdir()
    if kind == "link":
        path = tmp_path / "link"
        path.symlink_to(folder)
    elif kind == "current folder":
        monkeypatch.chdir(folder)
        path = Path()
    elif kind == "leftovers":
        (folder / "config.yaml").write_text("steps: 1")
        (folder / "run.yaml.12345678.partial").touch()
    before = folder.stat().st_ino
    write_run(run_in(path))
    assert {file.name for file in folder.iterdir()} == {"config.yaml", "run.yaml"}
    assert folder.stat().st_ino == before
    assert open_run(path).record.seeds == (3,)
    discard_unbegun(run_in(path))
    assert not folder.exists() or not any(folder.iterdir())


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, words in (
        ("/", "is the root of the file system"),
        (tmp_path / "file/x", "file is a file, not"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            check_free(run_in(Path(path)))


def test_files_that_are_missing_or_wrong_are_named_with_what_to_do(tmp_path: Path) -> None:
    run = write_run(run_in(tmp_path / "run"))
    record = run.path / "run.yaml"
    text = record.read_text()
    for old, new, words in (
        ("layout: 3", "layout: '3'", r"run\.yaml:1: layout: input should be a valid integer, found '3'"),
        ("layout: 3", "layout: 2", r"networks differ \(layout 2, here 3\)"),
        ("seeds:\n- 3", "seeds:\n- 3\n- 3", r"run\.yaml:.* seeds: names 3 twice"),
    ):
        assert old in text
        record.write_text(text.replace(old, new))
        with pytest.raises(InvalidInputError, match=words):
            open_run(run.path)
    for name in ("run.yaml", "config.yaml"):
        whole = (run.path / name).read_bytes()
        for damaged in (b"", whole[: len(whole) // 2], whole + b"\xff", whole + b"strange: 1\n"):
            (run.path / name).write_bytes(damaged)
            with pytest.raises(
                ClwmError, match=rf"^[^\n]*{name}:.*: put back the {name} of that run, or train"
            ):
                open_run(run.path)
        (run.path / name).write_bytes(whole if name == "config.yaml" else text.encode())
    (run.path / "config.yaml").unlink()
    with pytest.raises(NotFoundError, match=r"config\.yaml: cannot be read: .*: put back the config\.yaml"):
        open_run(run.path)


def test_a_record_that_contradicts_the_data_is_refused(store: Store, tmp_path: Path) -> None:
    run = describe_run(
        tmp_path / "run", store, resolve("spc", "tiny"), method="spc", preset="tiny", seeds=(0,)
    )
    check_same_data(run, store)
    for key, value, words in (
        ("family", "ant-dir", "says family ant-dir, but .* has point-robot"),
        ("observation_size", 3, "says observation_size 3, but .* has 2"),
        ("action_size", 1, "says action_size 1, but .* has 2"),
        ("train_tasks", (12,), "says train_tasks 12, but .* has 12-13"),
    ):
        altered = Run(run.path, run.config, run.record.model_copy(update={key: value}))
        with pytest.raises(InvalidInputError, match=rf"run\.yaml: {words}: put back the run\.yaml"):
            check_same_data(altered, store)


def test_a_name_under_runs_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/first").mkdir(parents=True)
    (tmp_path / "runs/first/run.yaml").touch()
    with pytest.raises(NotFoundError, match=r"^first: run does not exist: did you mean runs/first\?$"):
        find_run("first")
