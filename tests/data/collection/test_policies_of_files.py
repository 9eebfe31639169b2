"""Policies that files hold, named in a manifest: Stable-Baselines3's models and runs of clwm."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError, ConflictError
from clwm_data.manifest import load_manifest
from clwm_data.opening import open_store
from tests.conftest import tree

FAMILY = {
    "pendulum": """\
  name: pendulum-gravity
  env: Pendulum-v1
  horizon: 20
  tasks: [{parameters: {g: 9.0}}, {parameters: {g: 10.0}}, {parameters: {g: 11.0}, split: id}]
""",
    "carts": """\
  name: carts
  env: CartPole-v1
  apply: tests.data.families.own_environments:change
  horizon: 20
  tasks: [{parameters: {length: 0.5}}, {parameters: {length: 1.0}}]
""",
}


def manifest(folder: Path, family: str, policy: str, more: str = "") -> Any:
    path = folder / "own.yaml"
    path.write_text(
        f"name: own\nfamily:\n{FAMILY[family]}behaviours:\n  - {{policy: {policy}, episodes: 3{more}}}\n"
    )
    return load_manifest(str(path))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of several algorithms, as they begin."""
    sb3 = pytest.importorskip("stable_baselines3")
    folder = tmp_path_factory.mktemp("models")

    def save(name: str, algorithm: Any, env: str, **options: Any) -> None:
        model = algorithm("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu", **options)
        model.save(folder / f"{name}.zip")

    save("ppo", sb3.PPO, "Pendulum-v1")
    save("pole", sb3.PPO, "CartPole-v1")
    save("sde", sb3.PPO, "Pendulum-v1", use_sde=True)
    save("sac", sb3.SAC, "Pendulum-v1", buffer_size=10)
    save("td3", sb3.TD3, "Pendulum-v1", buffer_size=10)
    save("dqn", sb3.DQN, "CartPole-v1", buffer_size=10)
    return folder


@pytest.mark.parametrize(
    ("file", "family"),
    [("ppo", "pendulum"), ("sde", "pendulum"), ("sac", "pendulum"), ("td3", "pendulum"), ("dqn", "carts")],
)
def test_a_model_acts_as_its_library_has_it_act(models: Path, tmp_path: Path, file: str, family: str) -> None:
    import stable_baselines3 as sb3

    path = models / f"{file}.zip"
    described = manifest(tmp_path, family, f'{{sb3: "{path}"}}', ", deterministic: true")
    store = collect(described, tmp_path / "a.zarr", workers=1)
    algorithm = {"ppo": sb3.PPO, "sde": sb3.PPO, "sac": sb3.SAC, "td3": sb3.TD3, "dqn": sb3.DQN}[file]
    model = algorithm.load(path, device="cpu")
    for task in store:
        for episode in task.load():
            expected, _ = model.predict(episode.observation[:-1], deterministic=True)
            if family == "carts":
                assert episode.stored_action.tolist() == expected.tolist()
            else:
                np.testing.assert_allclose(2.0 * episode.action, expected, atol=1e-5)
    (entry,) = store.manifest.behaviours
    assert (entry.file, entry.sha256) == (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    assert entry.label == f"sb3 {file}.zip, deterministic"


@pytest.mark.parametrize(
    ("file", "family", "calls"),
    [("ppo", "pendulum", [{"workers": 2}]), ("pole", "carts", [{"tasks": [1]}, {}])],
)
def test_drawn_actions_are_the_same_bytes_for_any_number_of_workers_and_in_any_order(
    models: Path, tmp_path: Path, file: str, family: str, calls: list[dict[str, Any]]
) -> None:
    described = manifest(tmp_path, family, f'{{sb3: "{models / file}.zip"}}')
    collect(described, tmp_path / "one/a.zarr", workers=1)
    for options in calls:
        collect(described, tmp_path / "two/a.zarr", **{"workers": 1, **options})
    one, two = (tree(tmp_path / name / "a.zarr" / "tasks") for name in ("one", "two"))
    assert one == two
    drawn = open_store(tmp_path / "one/a.zarr")
    collect(
        manifest(tmp_path, family, f'{{sb3: "{models / file}.zip"}}', ", deterministic: true"),
        tmp_path / "mode.zarr",
        workers=1,
    )
    assert drawn.record.content_sha256 != open_store(tmp_path / "mode.zarr").record.content_sha256


def test_a_changed_file_cannot_continue_a_collection(models: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(models / "ppo.zip", tmp_path / "policy.zip"))
    collect(manifest(tmp_path, "pendulum", f'{{sb3: "{path}"}}'), tmp_path / "a.zarr", tasks=[0], workers=1)
    shutil.copy(models / "sde.zip", path)
    with pytest.raises(ConflictError, match="different manifest"):
        collect(manifest(tmp_path, "pendulum", f'{{sb3: "{path}"}}'), tmp_path / "a.zarr", workers=1)


@pytest.mark.parametrize(
    ("family", "policy", "more", "message"),
    [
        ("pendulum", "{sb3: nowhere.zip}", "", "nowhere.zip: there is no such file"),
        ("pendulum", '{sb3: "TEXT"}', "", "holds no policy of Stable-Baselines3"),
        ("carts", '{sb3: "PPO"}', "", "takes observations of 3 entries, carts has 4"),
        ("pendulum", '{sb3: "PPO"}', ", noise: 0.1", "draws its actions: add deterministic: true"),
        ("pendulum", '{sb3: "PPO", adapted: few-shot}', "", "expected {sb3: FILE} or {run: RUN"),
        ("pendulum", '{sb3: "PPO"}', f", sha256: {'ab' * 32}", "expected abab"),
        ("pendulum", "{run: nowhere}", "", "nowhere: is not the folder of a trained run"),
        ("pendulum", "{pkl: a}", "", "expected {sb3: FILE} or {run: RUN"),
        ("pendulum", "sb3", "", "write policy: {sb3: FILE}"),
    ],
)
def test_mistakes_are_named(
    models: Path, tmp_path: Path, family: str, policy: str, more: str, message: str
) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    policy = policy.replace("TEXT", str(tmp_path / "text.zip")).replace("PPO", str(models / "ppo.zip"))
    with pytest.raises(ClwmError, match="(?s)" + message.replace("{", r"\{")) as caught:
        collect(manifest(tmp_path, family, policy, more), tmp_path / "a.zarr", workers=1)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "a.zarr").exists() or not (tmp_path / "a.zarr/tasks").exists()


@pytest.mark.parametrize("adapted", ["zero-shot", "few-shot"])
def test_a_trained_agent_collects(tmp_path: Path, adapted: str) -> None:
    pytest.importorskip("torch")
    import clwm_train
    from tests.train.helpers import SMALL

    data = collect(manifest(tmp_path, "pendulum", "random"), tmp_path / "data.zarr", workers=1)
    run = clwm_train.train(data, overrides=SMALL, out=tmp_path / "run")
    policy = f'{{run: "{run.path}", adapted: {adapted}}}'
    described = manifest(tmp_path, "pendulum", policy, ", deterministic: true")
    store = collect(described, tmp_path / "one/a.zarr", workers=1)
    calls = [{"workers": 2}] if adapted == "few-shot" else [{"tasks": [1]}, {}]  # a worker imports torch
    for options in calls:
        collect(described, tmp_path / "two/a.zarr", **{"workers": 1, **options})
    assert tree(tmp_path / "one/a.zarr/tasks") == tree(tmp_path / "two/a.zarr/tasks")
    agent = clwm_train.load_agent(run)
    for task in store:
        for episode in task.load():
            # The whole data are the context: they are fewer than what is drawn of them.
            acting = agent.adapt(None if adapted == "zero-shot" else data[task.index])
            for step in range(len(episode.reward)):
                expected = acting.act(episode.observation[step])
                np.testing.assert_allclose(episode.action[step], expected, atol=1e-5)
                if adapted == "zero-shot":
                    acting.observe(
                        episode.observation[step],
                        episode.action[step],
                        episode.reward[step],
                        episode.observation[step + 1],
                    )
    assert store.manifest.behaviours[0].label == f"run run, {adapted}, deterministic"
