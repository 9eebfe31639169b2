"""The front door: what people mean by a store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import clwm_data
from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_data.hub.reference import HubReference
from clwm_data.opening import DATA, locate, locate_here, open_store, stores_in


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_a_store_argument_means(here: Path) -> None:
    for folder in ("data/mine.zarr", "user/repo", "x.zarr"):
        Path(folder).mkdir(parents=True)
    assert locate("mine", DATA) == here / "data/mine.zarr"
    assert locate("mine.zarr", DATA) == here / "data/mine.zarr"
    assert locate("data/mine.zarr", DATA) == here / "data/mine.zarr"
    assert locate("x.zarr", DATA) == here / "x.zarr"
    # What is here is never looked for elsewhere, unless somebody says hf://.
    assert locate("user/repo", DATA) == here / "user/repo"
    assert locate("hf://datasets/user/repo", DATA) == HubReference("user/repo")
    assert locate("someone/repo", DATA) == HubReference("someone/repo")
    assert locate("someone/repo@v1", DATA) == HubReference("someone/repo", "v1")
    assert locate("https://host/x.zarr", DATA) == "https://host/x.zarr"
    assert locate((here / "x.zarr").as_uri(), DATA) == here / "x.zarr"
    # A Path swallows a slash.
    assert locate(Path("hf://datasets/user/repo"), DATA) == HubReference("user/repo")
    assert locate(Path("https://host/x.zarr")) == "https://host/x.zarr"


@pytest.mark.parametrize(
    "text",
    [
        "data/nowhere",
        "data/nowhere.zarr",
        "nowhere",
        "someone/nowhere.zarr",
        "./a/b",
        "../a",
        "/a/b",
        "a/b/c",
        "m.yaml",
        "runs/none",
        "here/none",
        "~/none",
    ],
)
def test_a_mistyped_path_is_no_business_of_the_hub(text: str) -> None:
    Path("data/mine.zarr").mkdir(parents=True)
    Path("here").mkdir()
    with pytest.raises(NotFoundError, match=r"no store .*stores under data/: mine"):
        locate(text, DATA)


def test_a_near_miss_is_named() -> None:
    Path("data/point-robot.zarr").mkdir(parents=True)
    with pytest.raises(NotFoundError, match=r"did you mean point-robot\?"):
        locate("point-robt", DATA)


def test_a_folder_that_is_no_store_does_not_hide_one_of_its_name(collected: Path, here: Path) -> None:
    Path("tiny").mkdir()
    store = Path(shutil.copytree(collected, "data/tiny.zarr"))
    assert locate("tiny", DATA) == here / store
    assert locate("./tiny", DATA) == here / "tiny"  # said to be a path
    shutil.copytree(collected, "tiny", dirs_exist_ok=True)
    assert locate("tiny", DATA) == here / "tiny"


def test_a_store_without_the_suffix_has_a_name_too(collected: Path, here: Path) -> None:
    """As ``clwm collect --out data/mine`` makes it."""
    shutil.copytree(collected, here / "data/mine")
    (here / "data/notes").mkdir()
    assert locate("mine", DATA) == here / "data/mine"
    assert [path.name for path in stores_in(DATA)] == ["mine"]
    with pytest.raises(NotFoundError, match="did you mean mine"):
        locate("mime", DATA)
    shutil.copytree(collected, here / "data/mine.zarr")
    assert locate("mine", DATA) == here / "data/mine.zarr"


def test_a_name_that_ends_in_zarr() -> None:
    Path("data/a.zarr.zarr").mkdir(parents=True)
    assert locate("a.zarr", DATA) == Path("data/a.zarr.zarr").resolve()
    Path("data/a.zarr").mkdir()
    assert locate("a.zarr", DATA) == Path("data/a.zarr").resolve()


def test_paths_are_absolute_and_without_links(collected: Path, here: Path) -> None:
    Path("link.zarr").symlink_to(collected)
    Path("up").symlink_to(collected.parent)
    os.chdir(collected)
    for path in (".", Path(), here / "link.zarr", str(here / "up/tiny.zarr"), "../tiny.zarr/"):
        assert open_store(path).path == collected


def test_a_store_survives_a_change_of_folder(collected: Path, here: Path) -> None:
    shutil.copytree(collected, "tiny.zarr")
    store = open_store("tiny.zarr")
    os.chdir("/")
    assert store.tasks[6].load().transitions == 200


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(InvalidInputError):
        open_store(path)


@pytest.mark.parametrize("path", [".", "/", Path(), "nowhere", Path("nowhere")])
def test_where_no_store_is(path: str | Path) -> None:
    with pytest.raises(ClwmError, match=r"does not exist|is not a store|neither a path"):
        open_store(path)


def test_links_that_lead_nowhere() -> None:
    Path("dangling.zarr").symlink_to("nowhere.zarr")
    with pytest.raises(NotFoundError, match=r"dangling.zarr: is a link to nowhere.zarr, where nothing is"):
        open_store("dangling.zarr")
    Path("circle").symlink_to("circle")
    with pytest.raises(InvalidInputError, match="circle"):
        open_store("circle")


def test_what_is_changed_or_published_is_on_this_machine(here: Path) -> None:
    for text in ("user/repo", "hf://datasets/user/repo", "https://host/x.zarr"):
        with pytest.raises(NotFoundError, match="no store"):
            locate_here(text, DATA)


def test_a_store_that_is_open_can_be_edited_and_converted(store_path: Path, tmp_path: Path) -> None:
    """What makes a store returns it: the next step takes it as it is, as training does."""
    store = open_store(store_path)
    assert open_store(store) is store
    first, *others = store.tasks
    one = clwm_data.select(store, tmp_path / "one.zarr", tasks=str(first))
    rest = clwm_data.select(store, tmp_path / "rest.zarr", tasks=others)
    assert [*one.tasks, *rest.tasks] == [first, *others]
    whole = clwm_data.merge([one, rest], tmp_path / "whole.zarr")
    assert list(whole.tasks) == list(store.tasks)
    count = whole[first].record.episodes
    assert clwm_data.delete_episodes(whole, {first: [0]})[first].record.episodes == count - 1
    zero = clwm_data.relabel(one, tmp_path / "zero.zarr", lambda s, a, following, p: np.zeros(len(s)))
    assert not zero[first].load().reward.any()
    (written,) = clwm_data.convert_to(zero, tmp_path / "zero.npz", "npz")
    assert Path(written).is_file()
    with pytest.raises(InvalidInputError, match="no task 99999; there are"):
        clwm_data.select(store, tmp_path / "x.zarr", tasks="99999")


def test_a_name_under_data_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/robot.zarr").mkdir(parents=True)
    for name in ("robot", "robot.zarr"):
        with pytest.raises(NotFoundError, match=r"did you mean data/robot\.zarr\?"):
            open_store(name)


def test_a_split_is_one_of_three_and_an_id_of_gymnasium_needs_a_task() -> None:
    family = clwm_data.get_family("point-robot")
    with pytest.raises(InvalidInputError, match="a split is one of train, id, ood, not 'test'"):
        family.split("test")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"its tasks 0 to 39: gymnasium\.make\('clwm/point-robot-v0'"):
        gymnasium.make("clwm/point-robot-v0")
