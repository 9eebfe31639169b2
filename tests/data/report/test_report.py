from __future__ import annotations

import base64
import errno
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clwm_data.collection.collector import collect
from clwm_data.edit import select
from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_data.families.base import Split
from clwm_data.families.point_robot.family import PointRobotSimulator
from clwm_data.opening import open_store
from clwm_data.pages.numbers import column
from clwm_data.report import write_report
from clwm_data.report.charts import coverage_chart
from clwm_data.report.sample import projection, spread
from clwm_data.store.root_writer import write_root
from tests.conftest import Clwm, tiny_manifest

VOID = {"meta", "img", "br", "line", "rect"}


class Page(HTMLParser):
    """Checks that every element is closed, and keeps what is asked about."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_the_page_shows_what_the_store_holds(collected: Path, tmp_path: Path) -> None:
    page = Page(write_report(collected, tmp_path / "x.html", pictures=False))
    store = open_store(collected)
    for words in ("tiny", "point-robot", "CC0-1.0", "600", "15", store.record.content_sha256, "ood: 1 task"):
        assert words in page.text
    assert store.manifest.description in page.text
    assert "no description" not in page.text
    # Three tasks, two behaviours: the medians in the chart are those of the data.
    told = re.findall(r"task (\d+): median (\S+), (\S+) to (\S+), (\d+) episodes", page.text)
    expected = [
        (
            str(index),
            *(texts[place] for place in (1, 0, 2)),
            str(len(returns)),
        )
        for behaviour in (0, 1)
        for index, task in store.tasks.items()
        for arrays in [task.load()]
        for returns in [arrays.episode_return[arrays.episode_behaviour == behaviour]]
        for texts in [column([returns.min(), float(np.median(returns)), returns.max()])]
    ]
    assert told == expected
    assert sum(tag == "polyline" for tag, _ in page.tags) == 15 + 2  # episodes, and behaviours in the legend
    cells = [attributes for tag, attributes in page.tags if tag == "path"]
    assert {str(cell["class"]).split()[1] for cell in cells} == {"train", "id", "ood"}
    assert "angle (rad)" in page.text


def test_the_page_says_what_is_missing(store_path: Path, tmp_path: Path) -> None:
    store = open_store(store_path)
    write_root(store_path, store.manifest.model_copy(update={"description": ""}), store.provenance)
    assert "no description" in Page(write_report(store_path, tmp_path / "x.html", pictures=False)).text


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script><img src=http://example.org/x.png onerror=alert(1)>\" 'x'"
    manifest = tiny_manifest(tasks=[6]).model_copy(
        update={"description": evil, "authors": [evil], "licence": evil}
    )
    collect(manifest, tmp_path / "x.zarr")
    page = Page(write_report(tmp_path / "x.zarr", tmp_path / "x.html"))
    assert page.text.count("alert('x')") == 3
    assert not {"script", "iframe", "link", "object", "embed"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert "href" not in attributes
    assert any("default-src 'none'" in str(attributes.get("content")) for _, attributes in page.tags)


def test_films_move(collected: Path, tmp_path: Path) -> None:
    page = Page(write_report(collected, tmp_path / "x.html"))
    films = [str(attributes["src"]) for tag, attributes in page.tags if tag == "img"]
    assert len(films) == 3
    for film in films:
        picture = Image.open(io.BytesIO(base64.b64decode(film.removeprefix("data:image/webp;base64,"))))
        assert picture.n_frames > 10  # type: ignore[attr-defined]
        assert picture.width == 320


@pytest.mark.parametrize(("shape", "size"), [((2000, 3), (1, 640)), ((1, 5000), (320, 1))])
def test_thin_pictures_are_bounded(
    shape: tuple[int, int],
    size: tuple[int, int],
    collected: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thin = np.full((*shape, 3), 40, np.uint8)
    monkeypatch.setattr(PointRobotSimulator, "render", lambda self, lane: thin)
    page = Page(write_report(collected, tmp_path / "x.html"))
    films = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [(film["width"], film["height"]) for film in films] == [(str(size[0]), str(size[1]))] * 3


def test_without_a_simulator_the_page_says_so(store_path: Path, tmp_path: Path) -> None:
    store = open_store(store_path)
    write_root(store_path, store.manifest.model_copy(update={"family": "elsewhere"}), store.provenance)
    page = Page(write_report(store_path, tmp_path / "x.html"))
    assert "No pictures: no task family is called 'elsewhere'" in page.text


def test_edits_are_shown(collected: Path, tmp_path: Path) -> None:
    select(collected, tmp_path / "a.zarr", tasks=[6, 12])
    select(tmp_path / "a.zarr", tmp_path / "b.zarr", behaviours=["random"])
    text = Page(write_report(tmp_path / "b.zarr", tmp_path / "x.html", pictures=False)).text
    assert "select (behaviours random)" in text
    assert re.search(r"from tiny\s", text)


def test_command_and_errors(collected: Path, clwm: Clwm, tmp_path: Path) -> None:
    result = clwm("report", collected, "--no-pictures")
    assert (result.returncode, result.stdout) == (0, "tiny.html\n"), result.stderr
    assert (tmp_path / "tiny.html").stat().st_size > 10_000
    result = clwm("report", collected, "--no-pictures", "--out", "new/folder/x.html")
    assert (result.returncode, result.stdout) == (0, "new/folder/x.html\n"), result.stderr


def test_no_film_is_made_for_a_place_where_nothing_can_be_written(
    collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clwm_data.report.page.gather", lambda *_: pytest.fail("work was begun"))
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="is a file: choose another place"):
        write_report(collected, tmp_path / "file" / "x.html")
    with pytest.raises(InvalidInputError, match="is a folder: name a file in it"):
        write_report(collected, tmp_path)
    (tmp_path / "study.yaml").write_text("precious")
    with pytest.raises(
        InvalidInputError, match=r"study\.yaml: is not the name of a page: let it end in \.html"
    ):
        write_report(collected, tmp_path / "study.yaml")
    assert (tmp_path / "study.yaml").read_text() == "precious"
    monkeypatch.undo()
    monkeypatch.setattr("pathlib.Path.write_text", _refuse)
    with pytest.raises(UnavailableError, match=r"x\.html: cannot be written: No space left"):
        write_report(collected, tmp_path / "x.html", pictures=False)


def _refuse(*arguments: object, **options: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_projection_is_principal_component_analysis() -> None:
    rng = np.random.default_rng(0)
    mixed = (rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))).astype(np.float32)
    mixed[:, 3] = 7.0  # a constant column
    plane, labels = projection({"train": mixed[:300], "id": mixed[300:]}, "observation")
    both = np.vstack([plane["train"], plane["id"]])
    # Independent: eigenvalues of the correlation matrix of the columns that vary.
    eigenvalues = np.sort(np.linalg.eigvalsh(np.corrcoef(np.delete(mixed, 3, axis=1).T)))[::-1]
    np.testing.assert_allclose(both.var(axis=0), eigenvalues[:2], rtol=1e-4)
    assert abs(np.corrcoef(both.T)[0, 1]) < 1e-4
    assert labels[0] == f"component 1 ({100 * eigenvalues[0] / eigenvalues.sum():.0f} %)"
    flat, labels = projection({"train": mixed[:, :2]}, "action")
    np.testing.assert_allclose(flat["train"], mixed[:, :2])
    assert labels == ("action 0", "action 1")
    single, labels = projection({"train": mixed[:1]}, "observation")  # a store of one transition
    np.testing.assert_array_equal(single["train"], [[0.0, 0.0]])
    assert labels == ("component 1 (0 %)", "component 2 (0 %)")


def test_a_single_entry_is_shown_as_a_histogram() -> None:
    rng = np.random.default_rng(0)
    rows: dict[Split, np.ndarray] = {
        "train": rng.uniform(-1.0, 1.0, (4800, 1)).astype(np.float32),
        "ood": np.full((100, 1), 0.5, np.float32),
    }
    panels = coverage_chart(rows, "action").panels
    assert [panel.title for panel in panels] == ["train", "ood"]
    heights = [float(mark.split('height="')[1].split('"')[0]) for mark in panels[1].marks]
    assert sum(height > 0 for height in heights) == 1, "all values lie in one interval"
    assert panels[0].y.title == "share"
    assert panels[0].y.high == panels[1].y.high == pytest.approx(1.05), "one axis for all"
    total = sum(float(mark.split('height="')[1].split('"')[0]) for mark in panels[0].marks)
    assert total * 1.05 / panels[0].height == pytest.approx(1.0, abs=0.01), "shares add up to one"
    write = coverage_chart({"train": np.zeros((3, 1), np.float32)}, "action").html("actions")
    assert "e-7" not in write


def test_spread() -> None:
    assert spread(range(100), 3) == [0, 50, 99] or spread(range(100), 3) == [0, 49, 99]
    assert spread((4, 7), 5) == [4, 7]
    assert spread((), 5) == []
