from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.families import get_family
from clwm_data.families.builtin import BUILTIN
from clwm_data.manifest import BehaviourEntry, Manifest, bundled_manifests, load_manifest
from clwm_data.preview import default_behaviour
from clwm_data.ranges import format_indices, parse_indices
from clwm_data.strict import build_model, parse_yaml
from clwm_data.zoo.card import read_card, write_card
from clwm_data.zoo.shipped import shipped_folder
from tests.conftest import ROOT, Clwm

GOOD = """\
name: mine
family: point-robot
behaviours:
  - policy: scripted
    noise: 0.5
    episodes: 3
"""


def load(tmp_path: Path, text: str) -> Manifest:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_manifest(str(path))


def test_defaults(tmp_path: Path) -> None:
    manifest = load(tmp_path, GOOD)
    assert manifest.seed == 0
    assert manifest.task_indices() == tuple(range(40))
    assert manifest.resolved().tasks == list(range(40))


@pytest.mark.parametrize(
    ("edit", "line", "words"),
    [
        (("noise: 0.5", "nosie: 0.5"), 5, ["behaviours[0].nosie", "did you mean noise"]),
        (("noise: 0.5", "noise: loud"), 5, ["behaviours[0].noise", "valid number", "'loud'"]),
        (("noise: 0.5", "noise: -0.5"), 5, ["behaviours[0].noise", "greater than or equal to 0"]),
        (("noise: 0.5", "noise: .nan"), 5, ["behaviours[0].noise"]),
        (("noise: 0.5", "noise: '0.5'"), 5, ["behaviours[0].noise", "valid number"]),
        (("episodes: 3", "episodes: 0"), 6, ["behaviours[0].episodes", "greater than or equal to 1"]),
        (("episodes: 3", "episodes: 2.5"), 6, ["behaviours[0].episodes", "valid integer"]),
        (("episodes: 3", "episodes: true"), 6, ["behaviours[0].episodes", "valid integer"]),
        (("policy: scripted", "policy: expert"), 4, ["behaviours[0].policy", "random, scripted"]),
        (("policy: scripted", "policy: random"), 5, ["random actions take no noise"]),
        (("family: point-robot", "family: point-robto"), 2, ["family", "did you mean point-robot"]),
        (("family: point-robot", "family: point-robot\ntasks: 0-50"), 3, ["tasks", "no task 50"]),
        (("family: point-robot", "family: point-robot\ntasks: [1, 77]"), 3, ["tasks", "no task 77"]),
        (("family: point-robot", "family: point-robot\nsede: 3"), 3, ["unknown key sede", "mean seed"]),
        (("name: mine", "name: ../mine"), 1, ["name", "letters, digits"]),
        (("name: mine", "name: mine\nseed: 12:30"), 2, ["seed: ", "valid integer", "'12:30'"]),
        (("name: mine", "name: mine\nseed: 1_000"), 2, ["seed: ", "'1_000'", "write 1000"]),
        (("episodes: 3", "deterministic: yes\n    episodes: 3"), 6, ["valid boolean", "write true"]),
        (("behaviours:", "behaviors:"), 3, ["unknown key behaviors: did you mean behaviours?"]),
        (("name: mine", "name: mine\nhub: ../.."), 2, ["hub", "user/name"]),
        (("name: mine", "name: mine\nhub: user/.."), 2, ["hub", "user/name"]),
        (("name: mine", "name: mine\nhub: a/b/c"), 2, ["hub", "user/name"]),
        (("name: mine", "name: mine\nhub: -u/name"), 2, ["hub", "user/name"]),
        (("name: mine", "name: mine\nmethods: {}"), 2, ["an experiment: `clwm sweep` takes it"]),
        (("name: mine", "name: mine\nname: yours"), 2, ["is given twice", "line 1"]),
        (("name: mine", "name: [mine"), 2, ["not valid YAML"]),
        (("    noise: 0.5\n", ""), None, []),
    ],
)
def test_mistakes_name_file_line_and_key(
    tmp_path: Path, edit: tuple[str, str], line: int | None, words: list[str]
) -> None:
    assert edit[0] in GOOD
    text = GOOD.replace(*edit)
    if line is None:
        load(tmp_path, text)
        return
    with pytest.raises(ClwmError) as error:
        load(tmp_path, text)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'mine.yaml'}:{line}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    manifest = load(
        tmp_path, GOOD.replace("noise: 0.5", "noise: 1e-1") + "seed: 010\nhub: user/point-robot.v1\n"
    )
    assert manifest.behaviours[0].noise == 0.1
    assert manifest.seed == 10
    assert manifest.hub == "user/point-robot.v1"


def test_a_file_of_another_kind_is_told_what_it_is(clwm: Clwm, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(GOOD)
    (tmp_path / "e.yaml").write_text((ROOT / "experiments/quick.yaml").read_text())
    (tmp_path / "f.yaml").write_text("extends: spc\n")
    for command, kind in (
        (
            ("sweep", "m.yaml"),
            "m.yaml:3: unknown key behaviours: this is a manifest: `clwm collect`",
        ),
        (("collect", "e.yaml"), "this is an experiment: `clwm sweep` takes it"),
        (("collect", "f.yaml"), "this is a method: `clwm train --method` takes it"),
    ):
        result = clwm(*command)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
        assert kind in result.stderr


def test_policies_of_some_tasks_collect_no_others(tmp_path: Path) -> None:
    family = get_family("cheetah-vel")
    folder = shipped_folder(family)
    assert folder is not None
    zoo = Path(shutil.copytree(folder, tmp_path / "zoo"))
    card = read_card(zoo, family)
    of_two = [
        checkpoint.model_copy(update={"returns_stochastic": [0.0, 0.0], "returns_deterministic": [0.0, 0.0]})
        for checkpoint in card.checkpoints
    ]
    write_card(zoo, card.model_copy(update={"tasks": [7, 8], "checkpoints": of_two}))
    entry = f"{{policy: learned, checkpoint: 100, zoo: {zoo}, episodes: 1}}"
    text = f"name: x\nfamily: cheetah-vel\ntasks: %s\nbehaviours:\n  - {entry}\n"
    assert load(tmp_path, text % "7").task_indices() == (7,)
    with pytest.raises(ClwmError, match=r'5: behaviours\[0\]\.zoo: .* tasks 7-8 alone: set `tasks: "7-8"`'):
        load(tmp_path, text % "all")


@pytest.mark.parametrize("text", ["", "- 1\n", "3", "name: !!python/object:os.system {}\n", "a: &x [*x]\n"])
def test_what_is_not_a_manifest_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ClwmError) as error:
        load(tmp_path, text)
    assert "\n" not in str(error.value)


def test_missing_key_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match=r"mine\.yaml: key behaviours is missing"):
        load(tmp_path, "name: mine\nfamily: point-robot\n")


def test_unknown_manifest_suggests_names() -> None:
    with pytest.raises(ClwmError, match="did you mean point-robot"):
        load_manifest("point-robt")


@pytest.mark.parametrize("name", bundled_manifests())
def test_bundled_manifests_are_valid_and_bear_their_name(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.name == name
    # Whoever collects is credited and decides, not the authors of clwm.
    assert (manifest.licence, manifest.authors) == (None, [])
    assert manifest.description


@pytest.mark.parametrize(
    "name", [name for name in BUILTIN if default_behaviour(get_family(name)) != "random"]
)
def test_every_family_has_its_manifests(name: str) -> None:
    assert {f"{name}{variant}" for variant in ("", "-expert", "-medium", "-tiny")} <= set(bundled_manifests())
    if not name.startswith(("point-robot", "mw-")):
        assert f"{name}-small" in bundled_manifests()
    variants = ["-expert", "-medium"]
    if not name.startswith("point-robot"):  # the small default
        variants.append("-paper" if name.startswith("mw-") else "")
    goals = 50 if name.startswith("ml") else 1  # of a benchmark, which has as much data as a task elsewhere
    for variant in variants:
        entries = load_manifest(name + variant).behaviours
        assert sum(entry.transitions or 0 for entry in entries) == 200_000 / goals


def test_a_resolved_manifest_survives_yaml() -> None:
    manifest = load_manifest("point-robot").resolved()
    text = yaml.safe_dump(manifest.model_dump(mode="json"))
    assert build_model(Manifest, parse_yaml(text, "x")) == manifest


@given(st.sets(st.integers(0, 60)))
def test_selections_round_trip(indices: set[int]) -> None:
    text = format_indices(indices)
    if indices:
        assert parse_indices(text, range(61)) == tuple(sorted(indices))
    else:
        assert text == "none"


@pytest.mark.parametrize("text", ["", "3-1", "x", "1,,2", "-1", "0-99", "1.5", "0-4-7"])
def test_bad_selections_are_refused(text: str) -> None:
    with pytest.raises(ClwmError):
        parse_indices(text, range(40))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"behaviours": [{"policy": "random", "episodes": -1}]},
            "behaviours[0].episodes: input should be greater than or equal to 1, found -1",
        ),
        ({"behaviors": []}, "unknown key behaviors: did you mean behaviours?"),
        ({"seed": 1.5}, "seed: input should be a valid integer, found 1.5"),
    ],
)
def test_a_mistake_in_python_is_one_line(change: dict[str, object], message: str) -> None:
    values = {"name": "a", "family": "point-robot", "behaviours": [{"policy": "random", "episodes": 1}]}
    assert Manifest(**values).behaviours == [BehaviourEntry(policy="random", episodes=1)]  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError) as error:
        Manifest(**(values | change))  # type: ignore[arg-type]
    assert str(error.value) == f"Manifest: {message}"
