"""The data verbs as a user types them, each a real subprocess."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from clwm_cli.main import VERBS

from tests.cli.conftest import Call
from tests.conftest import Clwm, tiny_manifest


@pytest.fixture
def manifest_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_manifest().model_dump(mode="json")))
    return path


def test_help_lists_every_verb_with_examples(clwm: Clwm, call: Call) -> None:
    top = clwm("--help")
    assert top.returncode == 0
    for verb in VERBS:
        assert verb in top.stdout
        _, text, _ = call(verb, "--help")
        assert "Example" in text, verb
        assert f"clwm {verb}" in text, verb


def test_collect_info_validate(clwm: Clwm, manifest_file: Path, tmp_path: Path) -> None:
    done = clwm("collect", manifest_file)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "data/tiny.zarr: 3 tasks, 600 transitions\n"
    assert done.stderr == ""  # the progress bar is silent when stderr is not a terminal
    again = clwm("collect", manifest_file)
    assert again.stdout == done.stdout

    for store in ("tiny", "data/tiny.zarr"):
        shown = json.loads(clwm("info", store, "--json").stdout)
        assert (shown["name"], shown["family"]) == ("tiny", "point-robot")
        assert [task["task"] for task in shown["tasks"]] == [0, 6, 12]
        assert {"task", "split", "episodes", "transitions", "return_mean"} <= shown["tasks"][0].keys()
    text = clwm("info", "tiny").stdout
    assert "CC0-1.0" in text
    assert "train" in text

    checked = clwm("validate", "tiny")
    assert (checked.returncode, checked.stdout) == (0, "data/tiny.zarr: valid, 3 tasks\n")
    assert json.loads(clwm("validate", "tiny", "--json").stdout)["valid"] is True


def test_validate_prints_a_line_per_finding_and_exits_with_1(clwm: Clwm, store_path: Path) -> None:
    for name in ("action", "reward"):
        file = next((store_path / "tasks/0006" / name).glob("c.*"))
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    done = clwm("validate", store_path)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert all("was altered" in line for line in done.stdout.splitlines())
    as_json = clwm("validate", store_path, "--json")
    assert as_json.returncode == 1
    assert len(json.loads(as_json.stdout)["findings"]) == 2


def test_tasks_are_chosen(clwm: Clwm, manifest_file: Path) -> None:
    done = clwm("collect", manifest_file, "--out", "x.zarr", "--tasks", "6-12")
    assert done.returncode == 0
    assert "task 0" in done.stderr
    assert json.loads(clwm("info", "x.zarr", "--json").stdout)["missing_tasks"] == "0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nowhere"], ["nowhere", "clwm collect"]),
        (["validate", "nowhere.zarr"], ["nowhere.zarr"]),
        (["collect", "nowhere"], ["no manifest 'nowhere'"]),
        (["collect", "nowhere.yaml"], ["nowhere.yaml", "cannot be read"]),
        (["collect", "point-robot", "--tasks", "0-99"], ["no task 99", "0-39"]),
        (["collect", "point-robot", "--out", "tiny.yaml"], ["tiny.yaml", "choose another --out"]),
    ],
)
def test_errors_are_one_line_and_exit_with_1(
    clwm: Clwm, manifest_file: Path, arguments: list[str], words: list[str]
) -> None:
    done = clwm(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("clwm: error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_what_the_disk_refuses_is_one_line(clwm: Clwm, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = clwm("behaviour", "reference", "point-robot", "--out", "file/below")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("clwm: error: ")
    assert "Not a directory: solve this and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(clwm: Clwm) -> None:
    done = clwm("--debug", "info", "nowhere")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["info"], ["collect", "point-robot", "--workers", "0"]])
def test_wrong_usage_exits_with_2(clwm: Clwm, arguments: list[str]) -> None:
    assert clwm(*arguments).returncode == 2


def test_a_store_of_another_format_is_one_line(clwm: Clwm, store_path: Path) -> None:
    root = json.loads((store_path / "zarr.json").read_text())
    root["attributes"]["format_version"] = 2
    (store_path / "zarr.json").write_text(json.dumps(root))
    for verb in ("info", "validate"):
        done = clwm(verb, store_path)
        assert done.returncode == 1
        assert "format version 2" in done.stderr
        assert done.stderr.count("\n") == 1


def test_an_interrupted_collection_says_how_to_resume(tmp_path: Path) -> None:
    manifest = tiny_manifest(episodes=20_000)
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(manifest.model_dump(mode="json")))
    # A shell makes what runs in its background, tests and their children too, ignore SIGINT.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from clwm_cli.main import main; main()"
    command = [sys.executable, "-c", code, "collect", "m.yaml", "--out", "s.zarr", "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "s.zarr/.collect").glob("*/*.npz")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "clwm: interrupted: the same command resumes\n"


def test_info_names_a_seed_where_there_is_one(clwm: Clwm, collected: Path) -> None:
    assert "  seed:       0\n" in clwm("info", collected).stdout
    for task in ("0", "6"):
        assert clwm("select", collected, f"{task}.zarr", "--tasks", task).returncode == 0
    assert clwm("merge", "0.zarr", "6.zarr", "--out", "both.zarr").returncode == 0
    assert "seed:" not in clwm("info", "both.zarr").stdout


def test_one_of_a_thing_is_singular(clwm: Clwm, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "name: one\nfamily: point-robot\ntasks: [0]\nbehaviours: [{policy: random, episodes: 1}]\n"
    )
    said = clwm("collect", "one.yaml").stdout + clwm("info", "one").stdout + clwm("validate", "one").stdout
    assert "data/one.zarr: 1 task, 40 transitions\n" in said
    assert "40 transitions, 1 episode, 1 task, " in said
    assert "per task: 1 episode by random" in said
    assert "data/one.zarr: valid, 1 task\n" in said
    replayed = clwm("validate", "one", "--replay", "all").stdout
    assert "re-simulated 1 episode (drawn with" in replayed
    assert not re.search(r"\b1 (task|episode|transition|step)s\b", said + replayed)
