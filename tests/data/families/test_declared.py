"""Families that YAML declares over Gymnasium environments."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.families.declared import DeclaredFamily, FamilyDeclaration, declared_family
from clwm_data.families.gymnasium_mujoco.hopper_walker import scaled_model
from clwm_data.families.simulation.mujoco_context import apply_context
from clwm_data.manifest import Manifest
from clwm_data.opening import open_store
from clwm_data.store.replay import replay
from clwm_data.store.validate import validate
from tests.conftest import tree
from tests.data.families.own_environments import Slider

HERE = "tests.data.families.own_environments"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "cache"))


def declared(**changes: Any) -> FamilyDeclaration:
    frictions = [0.1, 0.2, 0.3, 0.4]
    splits = ("train", "train", "id", "ood")
    document = {
        "name": "sliders",
        "env": f"{HERE}:Slider",
        "horizon": 20,
        "tasks": [
            {"parameters": {"friction": friction}, "split": split}
            for friction, split in zip(frictions, splits, strict=True)
        ],
        **changes,
    }
    return FamilyDeclaration.model_validate(
        {key: value for key, value in document.items() if value is not None}
    )


def family(**changes: Any) -> DeclaredFamily:
    return declared_family(declared(**changes), trusted=True)


def manifest(declaration: FamilyDeclaration, **changes: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "mine",
            "family": declaration.name,
            "declared_family": declaration,
            "behaviours": [{"policy": "random", "episodes": 2}],
            **changes,
        }
    )


def test_observations_are_flattened_and_actions_scaled_to_the_environments_bounds() -> None:
    known = family()
    assert (known.observation_size, known.action_size) == (2 + 3 + 1, 2)
    assert (known.discrete, known.deterministic, known.dynamics_vary) == (False, True, True)
    assert [task.split for task in known.tasks] == ["train", "train", "id", "ood"]
    env = known.make_env(1)
    observation, _ = env.reset(seed=7)
    # An oracle: the environment itself, with actions in its own units.
    own = Slider(0.2)
    theirs, _ = own.reset(seed=7)
    rng = np.random.default_rng(0)
    actions = [*rng.uniform(-1, 1, (10, 2)), np.ones(2), -np.ones(2)]
    for action in actions:
        flat = gymnasium.spaces.flatten(own.observation_space, theirs)
        np.testing.assert_array_equal(observation, np.asarray(flat, np.float32))
        single = action.astype(np.float32).astype(np.float64)
        units = np.array([2.0 + 4.0 * single[0], 0.25 + 0.25 * single[1]], np.float32)
        observation, reward, *_ = env.step(action.astype(np.float32))
        theirs, expected, *_ = own.step(units)
        assert reward == pytest.approx(expected, rel=1e-6)


def test_parameters_reach_the_environment_as_arguments_or_through_a_function() -> None:
    rows = []
    for changes in (
        {},
        {"env": f"{HERE}:slider"},
        {"apply": f"{HERE}:replace", "arguments": {"friction": 99.0}},
    ):
        env = family(**changes).make_env(2)
        env.reset(seed=3)
        rows.append([env.step(np.full(2, 0.5, np.float32))[1] for _ in range(15)])
    assert rows[0] == rows[1] == rows[2]
    other = family().make_env(0)
    other.reset(seed=3)
    assert [other.step(np.full(2, 0.5, np.float32))[1] for _ in range(15)] != rows[0]


def test_discrete_actions_are_one_hot_and_the_largest_entry_counts() -> None:
    tasks = {"grid": {"length": {"start": 0.5, "stop": 1.5, "count": 3}}, "ood": "2"}
    known = family(name="carts", env="CartPole-v1", apply=f"{HERE}:change", horizon=60, tasks=tasks)
    assert (known.discrete, known.action_size, known.observation_size) == (True, 2, 4)
    executed = known.executed(np.array([[0.1, -0.3], [-1.0, -0.9]], np.float32))
    np.testing.assert_array_equal(executed, [[1, 0], [0, 1]])
    own = gymnasium.make("CartPole-v1").unwrapped
    own.length, own.polemass_length = 1.0, own.masspole * 1.0  # type: ignore[attr-defined]
    env = known.make_env(1)
    observation, _ = env.reset(seed=5)
    theirs, _ = own.reset(seed=5)
    for step in range(12):
        np.testing.assert_array_equal(observation, theirs)
        left = step % 3 == 0
        observation, *_ = env.step(np.array([0.2, -0.2] if left else [-0.7, -0.1], np.float32))
        theirs, *_ = own.step(0 if left else 1)


def test_a_state_is_a_seed_and_the_actions_since(tmp_path: Path) -> None:
    envs = family().make_vec_env([0, 3, 0])
    envs.reset(seed=[2**40 + 1, 5, 9])
    actions = np.random.default_rng(1).uniform(-1, 1, (14, 3, 2)).astype(np.float32)
    for action in actions[:6]:
        envs.step(action)
    others = [pickle.loads(pickle.dumps(envs)), copy.deepcopy(envs)]
    fresh = family().make_env(3)
    fresh.set_state(envs.get_state(1))
    for action in actions[6:]:
        observation, reward, *_ = envs.step(action)
        for other in others:
            theirs, rewards, *_ = other.step(action)
            np.testing.assert_array_equal(observation, theirs)
            np.testing.assert_array_equal(reward, rewards)
        assert np.array_equal(fresh.step(action[1])[0], observation[1])


def test_the_horizon_is_the_familys_and_an_environment_may_end_sooner() -> None:
    # Pendulum-v1 is registered with a limit of 200 steps.
    long = family(name="p", env="Pendulum-v1", horizon=230, tasks=[{"parameters": {"g": 9.0}}])
    for known, steps in (
        (long, 230),
        (family(), 20),
        (family(arguments={"own_limit": 7}), 7),
    ):
        env, envs = known.make_env(0), known.make_vec_env([0, 0])
        env.reset(seed=0)
        envs.reset(seed=0)
        action = np.zeros(known.action_size, np.float32)
        for step in range(1, steps + 1):
            _, _, terminated, truncated, _ = env.step(action)
            assert (terminated, truncated) == (False, step == steps)
            *_, ended, limits, _ = envs.step(np.tile(action, (2, 1)))
            assert (ended.any(), limits.all()) == (False, step == steps)


def test_worker_processes_tell_that_an_environment_ended_sooner() -> None:
    envs = family(arguments={"own_limit": 3}, success="there").make_vec_env([0, 1, 2], threads=2)
    envs.reset(seed=0)
    ends = [envs.step(np.zeros((3, 2), np.float32))[3].tolist() for _ in range(3)]
    envs.close()
    assert ends == [[False] * 3, [False] * 3, [True] * 3]


def test_success_is_read_from_info() -> None:
    env = family(success="there").make_env(0)
    env.reset(seed=0)
    assert env.step(np.zeros(2, np.float32))[4] == {"success": False}
    with pytest.raises(InvalidInputError, match="success: info has no 'ther'; it has: there"):
        family(success="ther").make_env(0)


def test_worker_processes_give_the_same_lanes() -> None:
    seen = []
    for threads in (1, 2):
        envs = family().make_vec_env([0, 1, 3], threads=threads)
        observation, _ = envs.reset(seed=4)
        rows = [observation]
        for action in np.random.default_rng(1).uniform(-1, 1, (6, 3, 2)).astype(np.float32):
            rows.append(envs.step(action)[0])
        envs.close()
        seen.append(np.stack(rows))
    np.testing.assert_array_equal(*seen)


def test_a_store_is_collected_resumed_checked_and_simulated_again(tmp_path: Path) -> None:
    mine = manifest(declared())
    store = collect(mine, tmp_path / "a.zarr", workers=2)
    assert store.task_family.observation_size == 6
    collect(mine, tmp_path / "b.zarr", tasks=[2, 0])
    collect(mine, tmp_path / "b.zarr")
    data = [
        {name: content for name, content in tree(tmp_path / path).items() if name != "zarr.json"}
        for path in ("a.zarr", "b.zarr")
    ]
    assert data[0] == data[1]
    assert validate(tmp_path / "a.zarr") == []
    report = replay(tmp_path / "a.zarr", 2)
    assert (report.findings, report.episodes) == ([], 8)
    assert "160 steps from seeds and actions: compared bit for bit" in str(report)
    with pytest.raises(ClwmError, match="collected from a different manifest"):
        collect(manifest(declared(horizon=19)), tmp_path / "a.zarr")


def test_a_store_can_be_read_and_checked_without_its_environment(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    collect(manifest(declared()), path)
    text = (path / "zarr.json").read_text()
    away = declared(env="a_package_that_is_gone:Slider").model_copy(
        update={"probed": open_store(path).task_family.probed}  # type: ignore[attr-defined]
    )
    gone = declared_family(away, trusted=True)
    assert (gone.observation_size, gone.action_size, gone.horizon) == (6, 2, 20)
    assert f'"env": "{HERE}:Slider"' in text
    with pytest.raises(
        NotFoundError, match="there is no module a_package_that_is_gone, neither installed nor"
    ):
        gone.make_env(0)


def test_environments_that_cannot_be_repeated_are_recorded_as_such(tmp_path: Path) -> None:
    restless = declared(env=f"{HERE}:Restless")
    store = collect(manifest(restless), tmp_path / "r.zarr")
    assert store.manifest.declared_family is not None
    assert store.manifest.declared_family.probed is not None
    assert store.manifest.declared_family.probed.deterministic is False
    assert validate(tmp_path / "r.zarr") == []
    with pytest.raises(UnavailableError, match="recorded as not deterministic"):
        replay(tmp_path / "r.zarr", 1)


def test_code_that_came_with_data_is_not_run_unless_it_was_used_or_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    collect(manifest(declared()), path)
    open_store(path).task_family.make_env(0)  # collected with it
    monkeypatch.setenv("CLWM_CACHE", str(tmp_path / "another machine"))
    stranger = open_store(path).task_family
    assert stranger.observation_size == 6
    with pytest.raises(UnavailableError, match=r'allow it: CLWM_ALLOW_CODE="tests\.data.*:Slider"$'):
        stranger.make_env(0)
    with pytest.raises(UnavailableError, match="CLWM_ALLOW_CODE"):
        stranger.make_vec_env([0, 1], threads=2)
    monkeypatch.setenv("CLWM_ALLOW_CODE", f"other:thing {HERE}:Slider")
    stranger.make_env(0)
    pendulum = declared(name="p", env="Pendulum-v1", tasks=[{"parameters": {"g": 9.0}}])
    declared_family(pendulum, trusted=False).make_env(0)  # Gymnasium's own: no permission needed
    called = declared(env="os:system", arguments={"command": "echo"}, tasks=[{"parameters": {"x": 1.0}}])
    with pytest.raises(UnavailableError, match="os:system"):
        declared_family(called, trusted=False).make_env(0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"env": "Pendulum-v77"}, NotFoundError, "Pendulum"),
        ({"env": "no_such_module:f"}, NotFoundError, "there is no module no_such_module"),
        ({"env": f"{HERE}:nothing"}, NotFoundError, "has no function nothing"),
        ({"env": f"{HERE}:no_environment"}, InvalidInputError, "gives a str, not a gymnasium.Env"),
        ({"env": f"{HERE}:raising"}, UnavailableError, r"with \(friction=0.1\): RuntimeError: two lines"),
        ({"env": "Pendulum-v1"}, UnavailableError, "unexpected keyword argument 'friction'"),
        ({"arguments": {"friction": 1.0}}, InvalidInputError, "friction is both an argument and a parameter"),
        ({"env": f"{HERE}:Picture"}, InvalidInputError, "only those that flatten to an array"),
        ({"env": f"{HERE}:Camera"}, InvalidInputError, "observations hold pictures"),
        ({"env": f"{HERE}:Boundless"}, InvalidInputError, "finite bounds"),
        ({"env": f"{HERE}:Buttons"}, InvalidInputError, "only Box and Discrete actions"),
        ({"env": f"{HERE}:Growing"}, InvalidInputError, "tasks 0 and 3 differ in size"),
        ({"env": f"{HERE}:Failing"}, UnavailableError, "step failed: ZeroDivisionError: a joint came off"),
        ({"apply": "mujoco-context"}, InvalidInputError, "has no MuJoCo model"),
        (
            {"apply": f"{HERE}:raising"},
            UnavailableError,
            r"own_environments:raising cannot .*RuntimeError: two",
        ),
        ({"apply": f"{HERE}:number"}, InvalidInputError, "own_environments:number gives a int, not a gymn"),
    ],
)
def test_what_cannot_be_used_is_one_line(changes: Any, error: type[ClwmError], message: str) -> None:
    if changes.get("apply"):
        changes = {**changes, "arguments": {"friction": 0.5}}
    with pytest.raises(error, match=message) as caught:
        family(**changes).probed  # noqa: B018
    assert "\n" not in str(caught.value)
    assert "sliders" in str(caught.value) or changes.get("apply")


def test_contexts_change_the_physics_as_the_families_of_their_own_do() -> None:
    """Oracles: the models of hopper-mass and hopper-friction, and MuJoCo's own forces."""
    import mujoco

    from clwm_data.families.gymnasium_mujoco.base import load_model

    def model() -> Any:
        return load_model("hopper.xml", family="a test", render_mode=None)

    for name in ("mass", "friction"):
        ours, theirs = model(), scaled_model(model(), name, 1.7)
        apply_context(ours, {name: 1.7})
        for field in ("body_mass", "body_inertia", "body_subtreemass", "dof_invweight0", "geom_friction"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
    # Wind: the same motion as a force of mass times acceleration on every body.
    ours, plain = model(), model()
    apply_context(ours, {"wind": -3.0, "gravity": 0.5, "damping": 2.0, "actuator_strength": 0.25})
    plain.opt.gravity[2] *= 0.5
    plain.dof_damping *= 2.0
    blown, pushed = mujoco.MjData(ours), mujoco.MjData(plain)
    pushed.xfrc_applied[1:, 0] = -3.0 * plain.body_mass[1:]
    blown.ctrl[:], pushed.ctrl[:] = 0.4, 0.1
    for _ in range(100):
        mujoco.mj_step(ours, blown)
        mujoco.mj_step(plain, pushed)
    np.testing.assert_allclose(blown.qpos, pushed.qpos, rtol=1e-9, atol=1e-9)
    assert blown.qpos[0] < -0.03
    for context in (
        {"mas": 1.0},
        {"mass": -1.0},
        {"mass": 0.0},
        {"wind": (1.0, 2.0, 3.0)},
        {"gravity": (1.0,)},
    ):
        with pytest.raises(InvalidInputError, match="mujoco-context"):
            apply_context(model(), context)


def test_contexts_are_sampled_over_gymnasiums_mujoco_environments(tmp_path: Path) -> None:
    ranges = {
        "mass": {"range": [0.5, 2.0], "log": True, "ood": [[0.3, 0.5]]},
        "friction": [0.5, 2],
        "wind": [-1, 1],
    }
    tasks = {"sample": {"train": 3, "id": 1, "ood": 1}, "seed": 3, "parameters": ranges}
    known = declared(name="contexts", env="Hopper-v5", apply="mujoco-context", horizon=15, tasks=tasks)
    store = collect(manifest(known), tmp_path / "h.zarr")
    assert replay(tmp_path / "h.zarr", 2).findings == []
    env = store.task_family.make_env(4)
    inner = env._simulator._simulator._lanes.models[0]  # type: ignore[attr-defined]
    plain = gymnasium.make("Hopper-v5").unwrapped.model  # type: ignore[attr-defined]
    mass = store.task_family.task(4).number("mass")
    assert 0.3 <= mass <= 0.5
    np.testing.assert_allclose(inner.body_mass, mass * plain.body_mass)
