"""``~`` is the home folder wherever a path is given: shells leave it in ``--out=~/x``, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from clwm_cli.options import TargetPath, UserPath

from clwm_data.behaviour_entry import BehaviourEntry
from clwm_data.cache import cache_root
from clwm_data.errors import ClwmError, NotFoundError
from clwm_data.families.declared.reading import load_family
from clwm_data.paths import expand_home, real_path
from clwm_data.references import has_references, own_references, reference_record
from clwm_train.methods.method_file import find


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_paths_of_the_home_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert expand_home("~/a b") == real_path("~/a b") == home / "a b"
    assert real_path("~") == home
    for kind in (UserPath(), TargetPath()):
        assert kind.convert("~/x", None, None) == home / "x"
    for name in ("a/~", "x~", "~no-such-user/x"):
        assert expand_home(name) == Path(name)
    entry = BehaviourEntry(policy="sb3", file="~/model.zip", episodes=1)
    assert entry.file == str(home / "model.zip")
    assert BehaviourEntry(policy="learned", zoo="~/zoo", episodes=1).zoo == str(home / "zoo")
    (home / "method.yaml").write_text("extends: spc")
    assert find("methods", "~/method.yaml") == find("methods", "~/method.yaml", Path("elsewhere"))
    for variable, folder in (("CLWM_CACHE", cache_root), ("CLWM_REFERENCES", own_references)):
        monkeypatch.setenv(variable, "~/kept")
        assert folder() == home / "kept"
    with pytest.raises(NotFoundError, match=str(home)):
        load_family("~/family.yaml")
    assert not any(Path().iterdir())


def test_where_there_is_no_home_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def nobody(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CLWM_CACHE", "CLWM_REFERENCES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for function in (lambda: real_path("~/x"), cache_root, own_references):
        with pytest.raises(ClwmError, match="there is no home folder"):
            function()
    with pytest.raises(click.BadParameter, match="there is no home folder here: write the whole path"):
        TargetPath().convert("~/x", None, None)
    assert not has_references("my-robot")
    with pytest.raises(NotFoundError, match="has no reference returns"):
        reference_record("my-robot")
    assert has_references("point-robot")
