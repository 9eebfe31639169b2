from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.cache import cache_root
from clwm_data.edit import select
from clwm_data.errors import ClwmError
from clwm_data.hub.cache import cached_store
from clwm_data.hub.reference import parse_reference
from clwm_data.opening import open_store
from clwm_data.store.summary import summarise
from clwm_data.store.validate import validate
from tests.data.hub.conftest import publish
from tests.data.hub.pulling import change_and_publish, travelled
from tests.hub_repository import Repository
from tests.hub_server import Fault, HubServer


def test_a_cached_store_is_complete_and_downloaded_once(
    hub: HubServer, published: Repository, collected: Path
) -> None:
    sizes: list[tuple[int, int]] = []
    path = cached_store(parse_reference("user/data"), lambda size, total: sizes.append((size, total)))
    assert path.is_relative_to(cache_root())
    assert validate(path) == []
    assert open_store(path).missing_tasks == ()
    assert sum(size for size, _ in sizes) == sizes[-1][1]
    hub.sent.clear()
    # A new commit with the same data is no reason to download it again.
    published.change({"README.md": b"new"})
    assert cached_store(parse_reference("user/data")) == path
    assert travelled(hub) == set()


def test_versions_lie_side_by_side(hub: HubServer, published: Repository, store_path: Path) -> None:
    published.refs["v1"] = published.refs["main"]
    change_and_publish(published, store_path)
    old, new = (cached_store(parse_reference(f"user/data{at}")) for at in ("@v1", ""))
    assert old != new
    assert (2 * open_store(old).tasks[6].load().reward == open_store(new).tasks[6].load().reward).all()


def test_a_look_at_a_remote_store_reads_only_its_root(
    hub: HubServer, published: Repository, collected: Path
) -> None:
    store = open_store("hf://datasets/user/data")
    assert summarise(store) == summarise(open_store(collected))
    assert list(hub.sent) == ["tiny.zarr/zarr.json"]
    hub.sent.clear()
    arrays = store.tasks[6].load(verify=True)
    assert (arrays.observation == open_store(collected).tasks[6].load().observation).all()
    assert travelled(hub) == {"0006"}
    hub.sent.clear()
    open_store("hf://datasets/user/data@main/tiny.zarr").tasks[6].load()
    assert travelled(hub) == set()


def test_an_interrupted_download_into_the_cache_is_not_used(hub: HubServer, published: Repository) -> None:
    hub.faults.append(Fault("GET", r"tasks/0012/.*/c\.", status=500, times=999))
    with pytest.raises(ClwmError, match="run the same command again later"):
        cached_store(parse_reference("user/data"))
    hub.faults.clear()
    path = cached_store(parse_reference("user/data"))
    assert open_store(path).missing_tasks == ()


def test_one_of_several(hub: HubServer, published: Repository, store_path: Path) -> None:
    from tests.data.hub.test_push import other_store

    publish(published, other_store.__wrapped__(store_path))  # type: ignore[attr-defined]
    with pytest.raises(ClwmError, match="holds several stores"):
        cached_store(parse_reference("user/data"))
    assert open_store(cached_store(parse_reference("user/data/other.zarr"))).name == "other"
    assert open_store("hf://datasets/user/data/tiny.zarr").name == "tiny"


# -- what the cache holds damaged ----------------------------------------------------------------------------


def test_a_root_that_arrives_damaged_is_asked_for_again(hub: HubServer, published: Repository) -> None:
    hub.faults.append(Fault("GET", r"tiny.zarr/zarr.json", times=1, alter=lambda body: body[:-2]))
    assert open_store("user/data").missing_tasks == ()
    hub.faults.append(Fault("GET", r"tiny.zarr/zarr.json", times=2, alter=lambda body: body[:-2]))
    published.change({"README.md": b"another commit"})
    with pytest.raises(ClwmError, match=r"zarr\.json"):
        open_store("user/data")
    assert open_store("user/data").missing_tasks == ()  # nothing damaged stays


@pytest.mark.parametrize("damage", [b"", b"{}", b"x" * 1000])
def test_what_is_damaged_in_the_cache_is_downloaded_again(
    hub: HubServer, published: Repository, damage: bytes
) -> None:
    path = cached_store(parse_reference("user/data"))
    files = [p for p in cache_root().rglob("*") if p.is_file()]
    for file in [p for p in files if not {"0000", "0012"} & set(p.parts)]:  # one task of three will do
        before = file.read_bytes()
        file.write_bytes(damage)
        assert cached_store(parse_reference("user/data")) == path
        assert validate(path) == []
        assert open_store("user/data").to_arrays()["reward"].shape == (600,)
        if file.suffix not in (".txt", ""):  # notes and locks
            assert file.read_bytes() == before, file
        file.write_bytes(before)


def test_a_part_of_a_published_store_is_selected(
    published: Repository, collected: Path, tmp_path: Path
) -> None:
    """Its files are downloaded to be copied, and only those."""
    part = select("user/data", tmp_path / "part.zarr", tasks=[6])
    assert validate(part.path) == []
    whole = open_store(collected)
    assert part[6].record.arrays == whole[6].record.arrays
    assert list(part.tasks) == [6]
