from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import fsspec
import numpy as np
import pytest

import clwm_data
from clwm_data.errors import ClwmError
from tests.conftest import ROOT

DOCS = ROOT / "docs"


class Site(NamedTuple):
    url: str
    asked: list[str]


@pytest.fixture
def site(store_path: Path) -> Iterator[Site]:
    """A web server for ``store_path``, with the paths that it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(store_path.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Site(f"http://127.0.0.1:{server.server_port}/{store_path.name}", asked)
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_flat_arrays_are_what_the_episodes_hold(collected: Path) -> None:
    store = clwm_data.open_store(collected)
    arrays = store.to_arrays()
    row = 0
    for index, task in store.tasks.items():
        for number, episode in enumerate(task.load()):
            for step in range(len(episode.reward)):
                np.testing.assert_array_equal(arrays["observation"][row], episode.observation[step])
                np.testing.assert_array_equal(arrays["next_observation"][row], episode.observation[step + 1])
                np.testing.assert_array_equal(arrays["action"][row], episode.action[step])
                assert arrays["reward"][row] == episode.reward[step]
                assert arrays["truncated"][row] == episode.truncated[step]
                place = (arrays["task"][row], arrays["episode"][row], arrays["behaviour"][row])
                assert place == (index, number, episode.behaviour)
                row += 1
    assert {len(array) for array in arrays.values()} == {row}
    assert "success" not in arrays


def test_choosing_tasks(collected: Path) -> None:
    store = clwm_data.open_store(str(collected))
    assert [store.split(split) for split in ("train", "id", "ood")] == [(12,), (6,), (0,)]
    assert set(store.to_arrays(tasks=[0, 6])["task"]) == {0, 6}
    assert set(store.to_arrays(split="train")["task"]) == {12}
    listed = list(store.episodes(tasks=[6, 12], split="id"))
    assert [index for index, _ in listed] == [6] * 5
    with pytest.raises(ClwmError, match="holds no task 1; it has: 0,6,12"):
        store.to_arrays(tasks=[1])
    with pytest.raises(ClwmError, match="no task of the store was chosen"):
        store.to_arrays(tasks=[0], split="train")


def test_a_task_is_a_whole_number(collected: Path) -> None:
    store = clwm_data.open_store(collected)
    assert store[np.int64(6)] is store[6]  # type: ignore[index]
    for index in (6.0, "6", True, None):
        with pytest.raises(ClwmError, match=f"a task is a whole number from 0 on, not {index!r}$"):
            store[index]  # type: ignore[index]
    with pytest.raises(ClwmError, match="holds no task 1; it has 0,6,12"):
        store[1]


def test_tasks_are_chosen_by_indices_an_index_or_text(collected: Path) -> None:
    store = clwm_data.open_store(collected)
    for one in (6, np.int64(6), "6"):
        assert set(store.to_arrays(tasks=one)["task"]) == {6}  # type: ignore[arg-type]
    assert set(store.to_arrays(tasks="0-6,12")["task"]) == {*store.tasks} & {*range(7), 12}
    assert {index for index, _ in store.episodes("12")} == {12}
    assert len(store.torch_dataset(tasks=6)) == len(store[6].load().reward)
    with pytest.raises(ClwmError, match="no task 1;"):
        store.to_arrays(tasks="1")
    with pytest.raises(ClwmError, match="'6': expected whole numbers"):
        store.to_arrays(tasks=["6"])  # type: ignore[list-item]


def test_a_split_is_one_of_three(collected: Path) -> None:
    store = clwm_data.open_store(collected)
    for use in (store.split, lambda split: store.to_arrays(split=split)):
        with pytest.raises(ClwmError, match="a split is one of train, id, ood, not 'test'"):
            use("test")  # type: ignore[arg-type]


def test_an_open_store_stands_for_its_path(collected: Path) -> None:
    store = clwm_data.open_store(collected)
    assert Path(store) == store.path
    assert clwm_data.validate(store) == []


def test_a_store_on_a_web_server(site: Site, collected: Path) -> None:
    here, there = clwm_data.open_store(collected), clwm_data.open_store(site.url + "/")
    assert there.tasks[6].parameters == here.tasks[6].parameters
    assert site.asked == ["/tiny.zarr/zarr.json"]
    np.testing.assert_array_equal(there.tasks[6].load().reward, here.tasks[6].load(verify=True).reward)
    assert all(path.startswith(("/tiny.zarr/zarr.json", "/tiny.zarr/tasks/0006/")) for path in site.asked)
    asked = len(site.asked)
    again = clwm_data.open_store(site.url).to_arrays(tasks=[6])
    np.testing.assert_array_equal(again["reward"], here.to_arrays(tasks=[6])["reward"])
    assert site.asked[asked:] == ["/tiny.zarr/zarr.json"]  # the files of the task were in the cache


@pytest.mark.parametrize("kind", ["longer", "shorter", "altered", "missing"])
def test_bad_files_of_a_web_server_are_refused(site: Site, store_path: Path, kind: str, cache: Path) -> None:
    file = store_path / "tasks/0006/reward/c.0"
    text = file.read_bytes()
    bad = {"longer": text + b"x", "shorter": text[:-1], "altered": bytes([text[0] ^ 1]) + text[1:]}
    file.write_bytes(bad[kind]) if kind in bad else file.unlink()
    store = clwm_data.open_store(site.url)
    words = {"missing": "answers 404", "longer": "has more than 800 bytes"}.get(kind, "not have the digest")
    with pytest.raises(ClwmError, match=rf"tasks/0006/reward/c\.0: .*{words}"):
        store.tasks[6].load()
    assert not list(cache.rglob("reward/c.0*"))
    file.write_bytes(text)
    assert len(store.tasks[6].load().reward) == 200


def test_a_bad_root_is_refused(site: Site, store_path: Path) -> None:
    root = json.loads((store_path / "zarr.json").read_text())
    root["attributes"]["manifest"]["seed"] = 77
    (store_path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(ClwmError, match="differs from its own digest"):
        clwm_data.open_store(site.url)
    with pytest.raises(ClwmError, match="the server answers 404"):
        clwm_data.open_store(site.url + "/nowhere")


def test_unreachable_addresses() -> None:
    with pytest.raises(ClwmError, match="cannot be reached"):
        clwm_data.open_store("http://127.0.0.1:9/x.zarr")
    with pytest.raises(ClwmError, match="nonsense"):
        clwm_data.open_store("nonsense://x.zarr")


def test_object_storage_through_fsspec(collected: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(collected), "/bucket/tiny.zarr", recursive=True)
    store = clwm_data.open_store("memory://bucket/tiny.zarr")
    np.testing.assert_array_equal(
        store.tasks[12].load().action, clwm_data.open_store(collected).tasks[12].load().action
    )
    memory.rm("/bucket", recursive=True)
    with pytest.raises(ClwmError, match="cannot be read"):
        clwm_data.open_store("memory://bucket/tiny.zarr")


def test_the_documented_examples_run(collected: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/point-robot.zarr").symlink_to(collected)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "reading.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    code = "import sys\nsys.modules['torch'] = None\n" + "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
