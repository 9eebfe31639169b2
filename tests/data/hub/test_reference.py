from __future__ import annotations

import pytest

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.hub.reference import HubReference, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user/repo", ("user/repo", None, None)),
        ("user/repo@v1", ("user/repo", "v1", None)),
        ("hf://datasets/user/repo", ("user/repo", None, None)),
        ("hf://datasets/user/repo/", ("user/repo", None, None)),
        ("https://huggingface.co/datasets/user/repo/tree/v1/x.zarr", ("user/repo", "v1", "x.zarr")),
        ("hf://datasets/user/repo@v1/x.zarr", ("user/repo", "v1", "x.zarr")),
        ("hf://datasets/a-b/c.d_e@refs%2Fpr%2F1/x-y.zarr", ("a-b/c.d_e", "refs/pr/1", "x-y.zarr")),
        ("user/repo/x.zarr", ("user/repo", None, "x.zarr")),
    ],
)
def test_references(text: str, expected: tuple[str, str | None, str | None]) -> None:
    reference = parse_reference(text)
    assert (reference.repository, reference.revision, reference.store) == expected
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://models/user/repo", HubReference("user/repo", kind="model")),
        ("hf://user/repo@v1", HubReference("user/repo", "v1", kind="model")),
        ("user/repo", HubReference("user/repo", kind="model")),
        ("https://huggingface.co/user/repo", HubReference("user/repo", kind="model")),
    ],
)
def test_models(text: str, expected: HubReference) -> None:
    assert parse_reference(text, "model") == expected


def test_a_repository_of_another_kind_is_told_with_the_right_spelling() -> None:
    assert HubReference("user/repo", kind="model").page == "user/repo"
    with pytest.raises(
        InvalidInputError, match=r"names a dataset repository, not a model: hf://models/user/re"
    ):
        parse_reference("hf://datasets/user/repo", "model")
    # A bare name after hf:// is a model, as everywhere on the Hub.
    with pytest.raises(InvalidInputError, match=r"names a model repository, .*: hf://datasets/user/repo\?"):
        parse_reference("hf://user/repo")
    with pytest.raises(InvalidInputError, match="names a space repository, not a dataset or model"):
        parse_reference("hf://spaces/user/repo", None)
    assert [parse_reference(text, None).kind for text in ("hf://a/b", "hf://datasets/a/b", "a/b")] == [
        "model",
        "dataset",
        "dataset",
    ]


@pytest.mark.parametrize("revision", ["..", "../x", "v 1", "v\n1", "-x", "a..b"])
def test_revisions_that_are_none(revision: str) -> None:
    with pytest.raises(InvalidInputError, match="is not the name"):
        parse_reference(f"hf://datasets/user/repo@{revision.replace('/', '%2F')}")
