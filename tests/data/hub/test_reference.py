from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.hub.reference import HubReference, parse_reference
from clwm_data.hub.resolve import locate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user/repo", ("user/repo", None, None)),
        ("user/repo@v1", ("user/repo", "v1", None)),
        ("hf://user/repo", ("user/repo", None, None)),
        ("hf://datasets/user/repo", ("user/repo", None, None)),
        ("hf://datasets/user/repo/", ("user/repo", None, None)),
        ("hf://user/repo@v1/x.zarr", ("user/repo", "v1", "x.zarr")),
        ("hf://datasets/a-b/c.d_e@refs%2Fpr%2F1/x-y.zarr", ("a-b/c.d_e", "refs/pr/1", "x-y.zarr")),
        ("user/repo/x.zarr", ("user/repo", None, "x.zarr")),
    ],
)
def test_references(text: str, expected: tuple[str, str | None, str | None]) -> None:
    reference = parse_reference(text)
    assert (reference.repository, reference.revision, reference.store) == expected
    if "%2F" not in text:
        assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "repo",
        "hf://",
        "hf://user",
        "hf://datasets/user",
        "user/",
        "/repo",
        "user/repo@",
        "../repo",
        "user/..",
        "user/repo/x",
        "user/repo/../x.zarr",
        "user/repo/a/x.zarr",
        "us er/repo",
        "user/re\npo",
        "hf://models/user/repo",
    ],
)
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(ClwmError) as caught:
        parse_reference(text)
    assert text in str(caught.value) or text == ""


def test_models_have_their_own_prefix() -> None:
    assert parse_reference("hf://models/user/repo", "model") == HubReference("user/repo", kind="model")
    assert HubReference("user/repo", kind="model").page == "user/repo"
    with pytest.raises(ClwmError, match="is a dataset repository, expected a model repository"):
        parse_reference("hf://datasets/user/repo", "model")


def test_what_a_store_argument_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path("data")
    for folder in ("data/mine.zarr", "user/repo", "x.zarr"):
        Path(folder).mkdir(parents=True)
    assert locate("mine", data) == data / "mine.zarr"
    assert locate("mine.zarr", data) == data / "mine.zarr"
    assert locate("data/mine.zarr", data) == Path("data/mine.zarr")
    assert locate("x.zarr", data) == Path("x.zarr")
    # What is here is never looked for elsewhere, unless somebody says hf://.
    assert locate("user/repo", data) == Path("user/repo")
    assert locate("hf://user/repo", data) == HubReference("user/repo")
    assert locate("someone/repo", data) == HubReference("someone/repo")
    assert locate("someone/repo@v1", data) == HubReference("someone/repo", "v1")


@pytest.mark.parametrize(
    "text",
    [
        "data/nowhere",
        "data/nowhere.zarr",
        "nowhere",
        "someone/nowhere.zarr",
        "./a/b",
        "/a/b",
        "a/b/c",
        "m.yaml",
    ],
)
def test_a_misspelt_path_is_no_business_of_the_hub(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/mine.zarr").mkdir(parents=True)
    with pytest.raises(ClwmError, match=r"no store .*: stores under data/: mine"):
        locate(text, Path("data"))
