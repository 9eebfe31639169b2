"""What the real Hub does that a simple server would not: renamed repositories, checked cards."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.errors import UnavailableError
from clwm_data.hub.cache import cached_store, open_remote
from clwm_data.hub.outgoing import without_paths
from clwm_data.hub.push import publish_store
from clwm_data.hub.reference import parse_reference
from clwm_data.store.validate import validate
from tests.hub_repository import Repository
from tests.hub_server import HubServer


def test_a_renamed_repository_is_found_by_its_former_name(
    hub: HubServer, published: Repository, collected: Path
) -> None:
    hub.renamed["user/former"] = "user/data"
    former = parse_reference("user/former")
    assert open_remote(former)[6].load().transitions == 200
    assert validate(cached_store(former)) == []
    published.change({"tiny.zarr/zarr.json": b"{}"})
    publish_store(collected, "user/former").push(replace=True)
    assert published.files()["tiny.zarr/zarr.json"] == (collected / "zarr.json").read_bytes()


def test_a_card_that_the_hub_refuses(hub: HubServer, collected: Path) -> None:
    hub.card_mistakes = ['"license" must be one of\n[apache-2.0, mit]']
    with pytest.raises(UnavailableError) as caught:
        publish_store(collected, "user/data").push()
    assert "\n" not in str(caught.value)
    assert '"license" must be one of [apache-2.0, mit]' in str(caught.value)
    assert "tiny.zarr/zarr.json" not in hub.dataset().files()


def test_arguments_of_a_declared_family_name_no_folder() -> None:
    arguments = {"model": "/home/ada/arm.xml", "joints": 7, "kind": "left arm", "url": "https://x.y/z.xml"}
    assert without_paths(arguments) == {**arguments, "model": "arm.xml"}
