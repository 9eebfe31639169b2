from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from clwm_data.collection import worker
from clwm_data.collection.collector import collect
from clwm_data.collection.plan import Segment, next_segments
from clwm_data.collection.rollout import roll_out
from clwm_data.collection.staging import is_sound, load_segment, save_segment, segment_path
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.families import get_family
from clwm_data.manifest import BehaviourEntry, Manifest, load_manifest
from clwm_data.opening import open_store
from clwm_data.seeds import episode_seed
from clwm_data.store import provenance
from clwm_data.store.lock import locked
from clwm_data.store.provenance import current_provenance
from clwm_data.store.root_writer import RootWriter
from clwm_data.store.validate import validate
from clwm_data.zoo.shipped import shipped_folder
from tests.conftest import tiny_manifest, tree


def digests(path: Path) -> dict[int, dict[str, str]]:
    return {index: task.record.arrays for index, task in open_store(path).tasks.items()}


def test_segments_cover_every_episode_once_and_keep_behaviours_apart() -> None:
    manifest = tiny_manifest(episodes=400)
    segments = [segment for b in (0, 1) for segment in next_segments(manifest, 6, b, [], 0)]
    covered = [s.first_episode + i for s in segments for i in range(s.episodes)]
    assert covered == list(range(402))
    assert [s.behaviour for s in segments] == [0, 0, 0, 0, 1]
    assert len({s.name for s in segments}) == len(segments)


def test_episode_seeds_differ_in_every_argument() -> None:
    seeds = [
        episode_seed(manifest, family, task, episode)
        for manifest in (0, 1)
        for family in ("a", "b")
        for task in (0, 1)
        for episode in (0, 1)
    ]
    assert len(set(seeds)) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_an_episode_is_what_its_environment_gives_for_its_seed_and_actions(collected: Path) -> None:
    """The oracle is the single Gymnasium environment, stepped by hand."""
    store = open_store(collected)
    for index, task in store.tasks.items():
        env = get_family("point-robot").make_env(index)
        for episode in task.load():
            observation, _ = env.reset(seed=episode.seed)
            np.testing.assert_array_equal(env.get_state(), episode.initial_state)
            for step, action in enumerate(episode.action):
                np.testing.assert_array_equal(observation, episode.observation[step])
                observation, reward, terminated, truncated, _ = env.step(action)
                assert np.float32(reward) == episode.reward[step]
                assert (terminated, truncated) == (episode.terminated[step], episode.truncated[step])
            np.testing.assert_array_equal(observation, episode.observation[-1])
            assert truncated


def test_an_episode_does_not_depend_on_its_segment() -> None:
    manifest = tiny_manifest(episodes=50)
    together = roll_out(manifest, Segment(12, 0, 0, 50))
    alone = roll_out(manifest, Segment(12, 0, 41, 1))
    np.testing.assert_array_equal(together[41].action, alone[0].action)
    np.testing.assert_array_equal(together[41].observation, alone[0].observation)
    assert not np.array_equal(together[40].action, together[41].action)


@pytest.mark.parametrize("family", ["cheetah-vel", "mw-reach"])
def test_simulated_families_collect(family: str, tmp_path: Path) -> None:
    manifest = load_manifest(family)
    few = [entry.counted(1) for entry in manifest.behaviours]
    manifest = manifest.model_copy(
        update={"tasks": [0, 45] if family == "mw-reach" else [5, 6], "behaviours": few}
    )
    collect(manifest, tmp_path / "s.zarr")
    assert validate(tmp_path / "s.zarr") == []


def test_a_simulation_that_diverges_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Patched: it breaks the simulation of a family that is found by its name, and has no parameters.
    monkeypatch.setattr("clwm_data.families.point_robot.family.STEP", 1e300)
    with pytest.raises(ClwmError, match=r"point-robot task 12 episode \d: .*not finite"):
        roll_out(tiny_manifest(), Segment(12, 1, 3, 2))


def test_workers_give_the_same_bytes(tmp_path: Path) -> None:
    manifest = tiny_manifest(episodes=300)
    collect(manifest, tmp_path / "one.zarr")
    collect(manifest, tmp_path / "two.zarr", workers=2)
    assert digests(tmp_path / "one.zarr") == digests(tmp_path / "two.zarr")
    assert open_store(tmp_path / "one.zarr").record.content_sha256 == (
        open_store(tmp_path / "two.zarr").record.content_sha256
    )


def test_another_seed_gives_other_bytes(collected: Path, tmp_path: Path) -> None:
    collect(tiny_manifest(seed=1), tmp_path / "s.zarr")
    assert digests(tmp_path / "s.zarr")[6]["action"] != digests(collected)[6]["action"]


def test_tasks_can_be_collected_one_after_another(collected: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    assert collect(tiny_manifest(), path, tasks="12").missing_tasks == (0, 6)
    assert validate(path) == []
    assert collect(tiny_manifest(), path).missing_tasks == ()
    assert digests(path) == digests(collected)
    assert not (path / ".collect").exists()


def test_a_killed_collection_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    manifest = tiny_manifest(tasks=range(4), episodes=1000)
    text = yaml.safe_dump(manifest.model_dump(mode="json"))
    (tmp_path / "m.yaml").write_text(text)
    killed, whole = tmp_path / "killed.zarr", tmp_path / "whole.zarr"
    code = "from clwm_cli.main import main; main()"
    command = [sys.executable, "-c", code, "collect", "m.yaml", "--out", str(killed), "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    while not list((killed / ".collect").glob("*/*.npz")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert validate(killed) == []
    assert open_store(killed).missing_tasks
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    collect(manifest, whole)
    assert digests(killed) == digests(whole)
    assert validate(killed) == []
    assert not (killed / ".collect").exists()


def test_killing_the_collector_ends_its_workers(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(tiny_manifest(episodes=5000).model_dump(mode="json")))
    code = "from clwm_cli.main import main; main()"
    command = [sys.executable, "-c", code, "collect", "m.yaml", "--out", "s.zarr", "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    while not list((tmp_path / "s.zarr/.collect").glob("*/*.npz")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()

    def alive() -> list[int]:
        """Processes of the collector's session: zombies do not count."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return found

    deadline = time.monotonic() + 20
    while alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    left = alive()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_a_second_collector_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    path.mkdir()
    with locked(path), pytest.raises(ClwmError, match="another process is writing"):
        collect(tiny_manifest(), path)


def test_another_manifest_is_refused_and_the_store_kept(store_path: Path) -> None:
    before = digests(store_path)
    with pytest.raises(ClwmError, match=r"different manifest.*--overwrite"):
        collect(tiny_manifest(seed=5), store_path)
    assert digests(store_path) == before


def test_overwrite_replaces_the_store(store_path: Path) -> None:
    before = digests(store_path)
    collect(tiny_manifest(seed=5), store_path, overwrite=True)
    assert digests(store_path) != before
    assert validate(store_path) == []
    assert [entry.name for entry in store_path.parent.iterdir()] == [store_path.name]


def test_overwriting_some_tasks_would_lose_the_others(store_path: Path) -> None:
    before = digests(store_path)
    with pytest.raises(ClwmError, match="would lose tasks 0,12: leave --tasks out"):
        collect(tiny_manifest(seed=5), store_path, tasks=[6], overwrite=True)
    assert digests(store_path) == before


def test_a_collection_is_not_continued_by_another_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zarr"
    collect(tiny_manifest(), path, tasks=[0])
    here = provenance.package_versions()
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "package_versions", lambda: here | {"mujoco": "9.9"})
        with pytest.raises(ClwmError, match=r"begun with another simulator .mujoco .* 9\.9 here"):
            collect(tiny_manifest(), path)
        collect(tiny_manifest(), path, tasks=[0])  # nothing is left to do
    assert list(collect(tiny_manifest(), path).tasks) == [0, 6, 12]


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the first step fails")


def test_what_fails_before_its_first_segment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a mended manifest, or a package that was missing, needs no --overwrite of a store without data."""
    path = tmp_path / "s.zarr"
    with monkeypatch.context() as patched:
        patched.setattr(worker, "roll_out", fail)
        with pytest.raises(RuntimeError, match="the first step fails"):
            collect(tiny_manifest(), path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tasks", [[0], None])
def test_what_fails_later_keeps_what_it_has(
    tasks: list[int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole task, or a segment of the first one."""
    whole, path = collect(tiny_manifest(), tmp_path / "whole.zarr"), tmp_path / "s.zarr"
    if tasks:
        collect(tiny_manifest(), path, tasks=tasks)
    with monkeypatch.context() as patched:
        count = iter([False] * (tasks is None))
        roll_out = worker.roll_out
        patched.setattr(worker, "roll_out", lambda *each: fail() if next(count, True) else roll_out(*each))
        with pytest.raises(RuntimeError, match="the first step fails"):
            collect(tiny_manifest(), path)
    with pytest.raises(ClwmError, match="from a different manifest"):
        collect(tiny_manifest(seed=99), path)
    assert digests(collect(tiny_manifest(), path).path) == digests(whole.path)


def test_a_store_that_was_begun_and_killed_is_begun_anew_from_another_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, manifest = tmp_path / "s.zarr", tiny_manifest().resolved()
    path.mkdir()
    RootWriter(path, manifest.published(), current_provenance()).write()  # then it was killed
    other = tiny_manifest(seed=99)
    here = provenance.package_versions()
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "package_versions", lambda: here | {"mujoco": "9.9"})
        store = collect(other, path)
    assert store.manifest.seed == 99
    assert store.record.provenance.packages["mujoco"] == "9.9"
    assert digests(path) == digests(collect(other, tmp_path / "fresh.zarr").path)


def test_where_policies_lay_stays_at_home(tmp_path: Path) -> None:
    zoo = tmp_path / "secret" / "zoo"
    shutil.copytree(shipped_folder(get_family("cheetah-vel")), zoo)
    entry = BehaviourEntry(policy="learned", checkpoint=100, zoo=str(zoo), episodes=1)
    manifest = Manifest(name="own", family="cheetah-vel", tasks=[3, 7], behaviours=[entry])
    path = tmp_path / "own.zarr"
    collect(manifest, path, tasks=[3])
    collect(manifest, path)  # resumes
    assert not [file for file, content in tree(path).items() if b"secret" in content]
    assert open_store(path).manifest.behaviours[0].zoo == "zoo"


def test_overwrite_keeps_the_old_store_until_the_new_one_is_whole(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(store_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clwm_data.collection.worker.save_segment", fail)
    with pytest.raises(ClwmError, match="No space left on device: free space"):
        collect(tiny_manifest(seed=5), store_path, overwrite=True)
    assert digests(store_path) == before
    monkeypatch.undo()
    collect(tiny_manifest(seed=5), store_path, overwrite=True)
    assert open_store(store_path).manifest.seed == 5


@pytest.mark.parametrize(
    "make", [lambda p: p.write_text("x"), lambda p: (p.mkdir(), (p / "f").write_text("x"))]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_a_store_is_never_touched(tmp_path: Path, make: object, overwrite: bool) -> None:
    path = tmp_path / "precious"
    make(path)  # type: ignore[operator]
    with pytest.raises(ClwmError, match="choose another --out"):
        collect(tiny_manifest(), path, overwrite=overwrite)
    assert path.is_file() or (path / "f").read_text() == "x"


def test_a_task_of_another_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match="has no task 3"):
        collect(tiny_manifest(), tmp_path / "s.zarr", tasks=3)
    assert not (tmp_path / "s.zarr").exists()


def test_manifests_compare_by_what_they_collect() -> None:
    manifest = tiny_manifest()
    assert manifest.same_data_as(Manifest(**{**manifest.model_dump(), "description": "other words"}))
    assert not manifest.same_data_as(tiny_manifest(episodes=4))


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/home/me/bin/clwm", "collect", "m"], "clwm collect m"),
        (
            ["clwm", "collect", "data/m.yaml", "--out", "/secret/s.zarr"],
            "clwm collect data/m.yaml --out s.zarr",
        ),
        (["clwm", "train", "/secret/a b.zarr", "--out=/tmp/run/"], "clwm train 'a b.zarr' --out=run/"),
        (["clwm", "train", "x", "--set", "iql.expectile=0.9"], "clwm train x --set iql.expectile=0.9"),
        ([""], "python"),
    ],
)
def test_provenance_keeps_no_folders(
    arguments: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert current_provenance().command == command


def test_damaged_segments_are_collected_anew(collected: Path, tmp_path: Path) -> None:
    """Every kind of damage: bytes, headers that still parse, a cut file, a segment of an earlier format."""
    manifest = tiny_manifest(tasks=[6])
    generator = np.random.default_rng(0)
    for attempt in range(40):
        path = tmp_path / f"{attempt}.zarr"
        segments = next_segments(manifest.resolved(), 6, 0, [], 0)
        save_segment(path, segments[0], roll_out(manifest.resolved(), segments[0]))
        file = segment_path(path, segments[0])
        content = bytearray(file.read_bytes())
        place = int(generator.integers(len(content)))
        content[place] ^= 1 << int(generator.integers(8))
        file.write_bytes(content if attempt % 4 else content[:place])
        assert not is_sound(path, segments[0])
        with pytest.raises(DamagedDataError, match="is damaged"):
            load_segment(path, segments[0])
        if attempt < 4:
            collect(manifest, path)
            assert digests(path)[6] == digests(collected)[6]
