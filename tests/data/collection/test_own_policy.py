"""Policies that users wrote, named in a manifest."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.collection.plan import noise_generator
from clwm_data.edit.select import select
from clwm_data.errors import ClwmError, ConflictError, UnavailableError
from clwm_data.families import get_family
from clwm_data.families.declared import DeclaredFamily, FamilyDeclaration
from clwm_data.manifest import BehaviourEntry, Manifest
from clwm_data.opening import open_store
from clwm_data.store.validate import validate
from tests.conftest import Clwm, tree

HERE = __name__


def remembering(task: Any, generator: np.random.Generator) -> Any:
    """Seeks the goal more and more, with a push of its own per episode, and notes of its last action."""
    goal, push = np.asarray(task.parameters["goal"]), generator.uniform(-0.2, 0.2, 2)
    last = np.zeros(2)

    def act(observation: Any) -> Any:
        nonlocal last
        assert observation.shape == (2,)
        last = 0.5 * last + 0.1 * (goal - observation) + push + generator.normal(0, 0.01, 2)
        return last

    return act


def seeking(task: Any) -> Any:
    goal = np.asarray(task.parameters["goal"])
    return lambda observation, noise: goal - observation + 0.1 * noise


calls = 0


def forgetful(task: Any, generator: Any) -> Any:
    def act(observation: Any) -> Any:
        global calls
        calls += 1
        return np.full(2, calls / 1e6)

    return act


def unseeded(task: Any) -> Any:
    return lambda observation, noise: np.random.default_rng().uniform(-1, 1, noise.shape)


def other_parameters(observation: Any) -> Any:
    return observation


def crashing(task: Any, generator: Any) -> Any:
    return lambda observation: {}["x"]


def not_finite(task: Any) -> Any:
    return lambda observation, noise: noise * np.nan


def too_wide(task: Any, generator: Any) -> Any:
    return lambda observation: np.zeros(3)


def no_policy(task: Any) -> Any:
    return 3


def manifest(*policies: str, **changes: Any) -> Manifest:
    return Manifest(
        name="own",
        family="point-robot",
        tasks=[3, 8],
        behaviours=[BehaviourEntry(policy=f"{HERE}:{policy}", episodes=5, **changes) for policy in policies],
    )


def test_an_episode_is_what_its_seed_and_its_function_say(tmp_path: Path) -> None:
    """Re-simulated one by one, by an own loop."""
    store = collect(manifest("remembering", "seeking"), tmp_path / "own.zarr")
    assert validate(store.path) == []
    family = get_family("point-robot")
    for task in store:
        for episode in task.load():
            assert episode.seed is not None
            generator = noise_generator(episode.seed)
            noise = generator.standard_normal((family.horizon, 2))
            described = family.task(task.index)
            per_episode = episode.behaviour == 0
            policy = remembering(described, generator) if per_episode else seeking(described)
            env = family.make_env(task.index)
            observation, _ = env.reset(seed=episode.seed)
            for step, action in enumerate(episode.action):
                np.testing.assert_array_equal(observation, episode.observation[step])
                given = (
                    policy(observation) if per_episode else policy(observation[None], noise[step][None])[0]
                )
                np.testing.assert_allclose(action, np.clip(given, -1, 1), atol=1e-6)
                observation, *_ = env.step(action)


def test_workers_and_resuming_change_no_byte(tmp_path: Path) -> None:
    own = manifest("remembering", "seeking")
    one = collect(own, tmp_path / "one" / "own.zarr")
    many = collect(own, tmp_path / "many" / "own.zarr", workers=2)
    parts = collect(own, tmp_path / "parts" / "own.zarr", tasks=[8])
    parts = collect(own, tmp_path / "parts" / "own.zarr")
    assert one.record.content_sha256 == many.record.content_sha256 == parts.record.content_sha256
    assert tree(one.path / "tasks") == tree(many.path / "tasks") == tree(parts.path / "tasks")


def planned(task: Any, generator: np.random.Generator) -> Any:
    """As many actions as the longest episode has steps."""
    plan = iter(generator.uniform(-1, 1, (20, 3)))
    return lambda observation: next(plan)


def asked_too_often(task: Any) -> Any:
    """Gives no number where the observation is that of the step before, as after an episode's end."""
    last = np.zeros((0, 0))

    def act(observation: Any, noise: Any) -> Any:
        nonlocal last
        stands = (
            (observation == last).all(axis=1) if last.shape == observation.shape else np.zeros(len(noise))
        )
        last = observation.copy()
        return np.where(stands[:, None] > 0, np.nan, 0.5 * noise)

    return act


@pytest.mark.parametrize("policy", ["planned", "asked_too_often"])
def test_nothing_is_asked_of_a_function_for_an_episode_that_is_over(policy: str, tmp_path: Path) -> None:
    """Hoppers fall at different steps: lanes wait for one another, and the last ones for no episode."""
    family = DeclaredFamily(
        FamilyDeclaration.model_validate(
            {
                "name": "falling",
                "env": "Hopper-v5",
                "apply": "mujoco-context",
                "horizon": 20,
                "tasks": [{"parameters": {"gravity": 2.0}}],
            }
        ),
        trusted=True,
    )
    own = Manifest(
        name="own",
        family=family.name,
        declared_family=family.declaration,
        behaviours=[BehaviourEntry(policy=f"{HERE}:{policy}", episodes=family.lanes + 3)],
    )
    lengths = collect(own, tmp_path / "own.zarr")[0].load().episode_length
    assert len(set(lengths.tolist())) > 1


def numbered_too_often(task: Any) -> Any:
    """The same of discrete actions: numbers of actions, and none after an episode's end."""
    act = asked_too_often(task)

    def number(observation: Any, noise: Any) -> Any:
        proposed = act(observation, noise)[:, 0]
        return np.where(np.isnan(proposed), np.nan, proposed > 0)

    return number


def test_nothing_is_asked_of_discrete_actions_either(tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text(
        f"{{name: cart, family: {{name: carts, env: CartPole-v1, horizon: 60, apply: '{HERE}:nothing_to_do', "
        "tasks: [{parameters: {length: 1}}]}, "
        f"behaviours: [{{policy: '{HERE}:numbered_too_often', episodes: 35}}]}}"
    )
    lengths = collect(tmp_path / "cart.yaml", tmp_path / "cart.zarr")[0].load().episode_length
    assert len(set(lengths.tolist())) > 1


def numbered(number: Any) -> Any:
    return lambda task, generator: lambda observation: number


class Tensor:
    """As those of torch that are a part of a graph."""

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("use detach()\nfirst")


graph = numbered(Tensor())
nine, one_and_a_half, nothing_at_all = numbered(9), numbered(1.5), numbered(None)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("nine", "gives 9 as an action, expected a whole number from 0 to 1, or 2 numbers"),
        ("one_and_a_half", "gives 1.5 as an action"),
        ("nothing_at_all", "gives nan as an action"),
        ("graph", "gives no numbers as an action: RuntimeError: use detach.. first"),
    ],
)
def test_what_is_no_discrete_action_is_named(policy: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text(
        f"{{name: cart, family: {{name: carts, env: CartPole-v1, horizon: 9, apply: '{HERE}:nothing_to_do', "
        "tasks: [{parameters: {length: 1}}]}, "
        f"behaviours: [{{policy: '{HERE}:{policy}', episodes: 2}}]}}"
    )
    with pytest.raises(ClwmError, match=f"policy {HERE}:{policy}: task 0: {words}"):
        collect(tmp_path / "cart.yaml", tmp_path / "cart.zarr")


def nothing_to_do(env: Any, length: float) -> None:
    pass


def test_noise_is_added_to_a_function_per_episode(tmp_path: Path) -> None:
    plain = collect(manifest("remembering"), tmp_path / "plain.zarr")
    noisy = collect(manifest("remembering", noise=0.5), tmp_path / "noisy.zarr")
    first, second = (store[3].load().episode(0).action[0] for store in (plain, noisy))
    seed = plain[3].load().episode(0).seed
    assert seed is not None
    expected = np.clip(first + 0.5 * noise_generator(seed).standard_normal((20, 2))[0], -1, 1)
    np.testing.assert_allclose(second, expected, atol=1e-6)


BAD = {
    "forgetful": "does not repeat",
    "unseeded": "does not repeat",
    "other_parameters": r"takes \(observation\): write it as function\(task, generator\)",
    "crashing": "crashing: task 3: KeyError: 'x'",
    "not_finite": "not_finite: task 3: gives an action that is not finite",
    "too_wide": r"too_wide: task 3: gives actions of shape \[3\], expected \[2\]",
    "no_policy": "gives a int, not a policy",
    "nothing": "has no function nothing",
}


@pytest.mark.parametrize("policy", BAD)
def test_a_bad_function_is_refused(policy: str, tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match=BAD[policy]) as caught:
        collect(manifest(policy), tmp_path / "own.zarr")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "own.zarr").exists()


OWN = """
name: own
family: point-robot
tasks: [3, 8]
behaviours:
  - {policy: "mine:act", episodes: 3}
"""
MINE = """
def act(task, generator):
    push = generator.uniform(-1, 1, 2)
    return lambda observation: push
"""


def test_the_command_finds_functions_in_this_folder_and_pins_their_file(clwm: Clwm, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    missing = clwm("collect", "own.yaml")
    assert missing.returncode == 1
    assert "own.yaml:6: behaviours[0].policy: there is no module mine" in missing.stderr
    (tmp_path / "mine.py").write_text(MINE)
    done = clwm("collect", "own.yaml", "--tasks", "3")
    assert done.returncode == 0, done.stderr
    done = clwm("collect", "own.yaml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    store = open_store(tmp_path / "data" / "own.zarr")
    assert store.manifest.behaviours[0].sha256 is not None
    for episode in store[3].load():
        assert (episode.action == episode.action[0]).all()
    (tmp_path / "mine.py").write_text(MINE.replace("-1, 1", "0, 1"))
    changed = clwm("collect", "own.yaml")
    assert changed.returncode == 1
    assert "was collected from a different manifest" in changed.stderr
    with_noise = OWN.replace("episodes: 3", "episodes: 3, deterministic: true")
    (tmp_path / "own.yaml").write_text(with_noise)
    refused = clwm("collect", "own.yaml", "--out", "other.zarr")
    assert "behaviours[0].deterministic: only a policy that is learned takes it" in refused.stderr


def test_a_function_that_a_store_names_is_not_run_unless_it_was_used_or_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even its module is imported: that alone would run code."""
    (tmp_path / "stranger.py").write_text(MINE + 'open("ran", "w")')
    monkeypatch.chdir(tmp_path)
    mine = manifest("x").model_copy(
        update={"behaviours": [BehaviourEntry(policy="stranger:act", episodes=2)], "tasks": [3]}
    )
    store = collect(mine, tmp_path / "own.zarr")
    assert store.manifest == mine.resolved()  # whose it is does not matter
    collect(store.manifest, tmp_path / "again.zarr")  # collected with it before
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "another machine"))
    (tmp_path / "ran").unlink()
    monkeypatch.delitem(sys.modules, "stranger")
    derived = select(store.path, tmp_path / "derived.zarr")
    for opened in (open_store(store.path), pickle.loads(pickle.dumps(store)), derived):
        theirs = opened.manifest
        for recipe in (theirs, theirs.model_copy(update={"name": "copy"}), theirs.published()):
            with pytest.raises(UnavailableError, match=r'allow it: CLWM_ALLOW_CODE="stranger:act"$'):
                collect(recipe, tmp_path / "theirs.zarr")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "theirs.zarr").exists()
    monkeypatch.setenv("CLWM_ALLOW_CODE", "stranger:act")
    again = collect(store.manifest, tmp_path / "theirs.zarr", workers=2)
    assert again.record.content_sha256 == store.record.content_sha256


def test_a_file_that_may_hold_a_pickle_is_code_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a store's manifest; it is allowed by its digest, not by its name."""
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "cache"))
    entry = BehaviourEntry.model_validate({"policy": {"sb3": "model.zip"}, "episodes": 1, "sha256": "a" * 64})
    theirs = Manifest(name="x", family="point-robot", tasks=[3], behaviours=[entry]).from_data()
    with pytest.raises(UnavailableError, match=r'CLWM_ALLOW_CODE="sb3:a{64}"$'):
        theirs.resolved()
    monkeypatch.setenv("CLWM_ALLOW_CODE", "sb3:" + "a" * 64)
    with pytest.raises(ClwmError, match=r"model\.zip"):  # allowed, but not here
        theirs.resolved()


def test_a_pinned_file_must_be_that_one() -> None:
    pinned = manifest("seeking", sha256="0" * 64)
    with pytest.raises(ConflictError, match="has the sha256"):
        pinned.resolved()
    assert pinned.behaviours[0].mistake(get_family("point-robot"), [3]) is not None
    noisy = manifest("seeking", noise=0.1).behaviours[0]
    assert noisy.mistake(get_family("point-robot"), [3]) == (
        "noise",
        "a function(task) gets noise of its own: leave it out",
    )
