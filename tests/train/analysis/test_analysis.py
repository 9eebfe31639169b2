from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.families import SPLITS, get_family
from clwm_data.families.builtin import BUILTIN
from clwm_data.opening import open_store
from clwm_train.analysis.codes import Codes, factors_of, sample_codes
from clwm_train.analysis.factors import entangled_codes, noise_codes
from clwm_train.analysis.open_loop import open_loop_error
from clwm_train.analysis.probe import linear_probe
from clwm_train.analysis.results import read_analyses, save_analysis
from clwm_train.analysis.run import analyse
from clwm_train.config import DataConfig, NetworkConfig, WorldModelConfig
from clwm_train.data.task_data import TaskData, load_task_data
from clwm_train.model.nn import Initialiser
from clwm_train.model.world_model import WorldModel
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run, describe_run, write_run
from clwm_train.settings import AnalysisSettings, Execution
from clwm_train.training.train import train_run
from tests.conftest import tiny_manifest
from tests.train.helpers import random_task, small_config


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 3))
def test_probe_reads_what_is_affine(seed: int, size: int, parameters: int) -> None:
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(size, parameters)), rng.normal(size=parameters)
    x, x_test = rng.normal(size=(20, size)), rng.normal(size=(10, size))
    np.testing.assert_allclose(
        linear_probe(x, x @ weights + bias, x_test, x_test @ weights + bias), 1.0, atol=1e-9
    )


def test_probe_against_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    x, y, x_test, y_test = (rng.normal(size=shape) for shape in ((30, 3), (30, 2), (9, 3), (9, 2)))
    model = linear.LinearRegression().fit(x, y)
    expected = metrics.r2_score(y_test, model.predict(x_test), multioutput="raw_values")
    np.testing.assert_allclose(linear_probe(x, y, x_test, y_test), expected)


def test_probe_of_what_does_not_vary() -> None:
    assert np.isnan(linear_probe([[0.0], [1.0]], [[0.0], [1.0]], [[0.0], [1.0]], [[3.0], [3.0]])).all()
    # The mean of seven times 0.1 is rounded to another number than 0.1.
    constant, line = np.full((7, 1), 0.1), np.linspace(0.0, 1.0, 7)[:, None]
    assert constant.mean() != 0.1
    scores = linear_probe(line, np.hstack([line, line]), line, np.hstack([constant, line]))
    assert np.isnan(scores[0])
    assert scores[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (([[0.0]], [[0.0]], [[0.0, 1.0]], [[0.0]]), "do not fit"),
        (([[0.0]], [[0.0, 1.0]], [[0.0]], [[0.0]]), "do not fit"),
        (([[0.0]], [[0.0]], np.zeros((0, 1)), np.zeros((0, 1))), "do not fit"),
        (([0.0], [0.0], [0.0], [0.0]), "do not fit"),
        (([[0.0]], [[np.nan]], [[0.0]], [[0.0]]), "NaN or infinite"),
        (([[0.0]], [[0.0]], [[np.inf]], [[0.0]]), "NaN or infinite"),
    ],
)
def test_mistakes_of_a_probe(parts: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ClwmError, match=message):
        linear_probe(*parts)


def test_factors_are_found_in_the_length_speed_families_alone() -> None:
    for name in BUILTIN:
        if name.startswith("mw-"):  # their goals take seconds to draw
            continue
        family = get_family(name)
        found = factors_of(family, range(len(family.tasks)))
        assert (found is not None) == name.endswith("-ls"), name
        if found is not None:
            assert found[0] == ("speed", "length")
            assert found[1][7].tolist() == list(family.task(7).parameters.values())
            assert factors_of(family, family.split("train")) is None


class Displacement(nn.Module):
    """Dynamics of codes that are positions: the change is ``gain`` times the action."""

    def __init__(self, gain: float, start: int, size: int) -> None:
        super().__init__()
        self.gain, self.rows = gain, slice(start, start + size)

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x[..., self.rows]


def positions(lengths: dict[int, int]) -> TaskData:
    """One episode per task, in which s' = s + 0.1 a and r = a[0]."""
    tasks = {}
    for index, length in lengths.items():
        task = random_task(index, [length], split="id" if index % 2 else "train")
        arrays = task.arrays
        arrays.observation[1:] = arrays.observation[0] + 0.1 * np.cumsum(arrays.action, 0)
        arrays.reward[:] = arrays.action[:, 0]
        tasks[index] = task
    return load_task_data(tasks, DataConfig())


def mover(data: TaskData, gain: float) -> Any:
    """An agent whose world model moves codes by ``gain`` times the action, and whose reward is always 0."""
    config = WorldModelConfig(latent="continuous", consistency="mse", latent_dim=2)
    model = WorldModel(Initialiser((0,), "fan-in"), 2, 2, 1, config, NetworkConfig())
    model.encoder = nn.Identity()  # type: ignore[assignment]
    model.dynamics = Displacement(gain, 2, 2)  # type: ignore[assignment]
    model.reward_head = Displacement(0.0, 2, 1)  # type: ignore[assignment]

    def encode(context: Tensor) -> Tensor:
        return context.new_zeros(*context.shape[:-2], 1)

    return SimpleNamespace(
        seeds=(0,),
        world_model=model,
        context_encoder=encode,
        next_observation=False,
        normaliser=data.normaliser,
        known_z=lambda tasks: None,
    )


def test_open_loop_error_of_exact_dynamics_is_zero() -> None:
    data = positions({0: 9, 1: 9, 3: 12})
    error = open_loop_error(mover(data, 0.1), data, "id", horizon=6, windows=5)
    assert error.code.shape == error.reward.shape == (1, 6)
    np.testing.assert_allclose(error.code, 0.0, atol=1e-9)


def test_open_loop_error_by_hand() -> None:
    """One episode as long as the horizon is the only window; a model that stands still errs by the way."""
    data = positions({0: 3, 1: 8})
    error = open_loop_error(mover(data, 0.0), data, "id", horizon=8, windows=3)
    way = data.observation[4:].numpy()
    expected = np.square(way[1:] - way[0]).sum(1) / np.square(way[1:] - way[1:].mean(0)).sum(1).mean()
    np.testing.assert_allclose(error.code[0], expected, rtol=1e-5)
    reward = data.reward[3:].numpy()
    np.testing.assert_allclose(error.reward[0], np.square(reward) / reward.var(), rtol=1e-5)


def test_open_loop_windows_stay_inside_episodes() -> None:
    """Dynamics that are exact inside an episode would err at a jump to the next one."""
    task = random_task(1, [4, 3, 7], split="id")
    for episode in task.arrays:
        episode.observation[1:] = episode.observation[0] + 0.1 * np.cumsum(episode.action, 0)
    data = load_task_data({0: random_task(0, [3]), 1: task}, DataConfig())
    error = open_loop_error(mover(data, 0.1), data, "id", horizon=4, windows=200)
    np.testing.assert_allclose(error.code, 0.0, atol=1e-9)


def test_open_loop_mistakes() -> None:
    data = positions({0: 3, 1: 8})
    with pytest.raises(ClwmError, match="has an episode of 9 steps, the longest has 8"):
        open_loop_error(mover(data, 0.0), data, "id", horizon=9)
    with pytest.raises(ClwmError, match="no task of the split ood"):
        open_loop_error(mover(data, 0.0), data, "ood", horizon=2)
    agent = mover(data, 0.0)
    agent.world_model = None
    with pytest.raises(ClwmError, match="no world model"):
        open_loop_error(agent, data, "id", horizon=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny run of two seeds on two tasks of every split."""
    folder = tmp_path_factory.mktemp("analysis")
    collect(tiny_manifest(tasks=(0, 1, 6, 7, 12, 13)), folder / "six.zarr")
    store = open_store(folder / "six.zarr")
    run = write_run(
        describe_run(
            folder / "run",
            store,
            small_config(),
            method="spc",
            preset="tiny",
            seeds=(3, 4),
        )
    )
    train_run(run, store, execution=Execution(threads=1))
    return run


def test_codes_are_what_the_agent_infers(trained: Run) -> None:
    store = open_store(Path(trained.record.store))
    data = load_task_data(store.tasks, trained.config.data)
    agent = load_agent(trained)
    codes = sample_codes(agent, data, contexts=3, size=2000, seed=0)
    assert codes.z.shape == (2, 6, 3, 3)
    # Large contexts come close to the mean over the whole dataset.
    for position in range(6):
        first, last = data.first_transition[position : position + 2].tolist()
        everything = data.context(torch.arange(first, last), next_observation=False)
        z = agent.context_encoder(everything.expand(2, -1, -1)).detach().numpy()
        np.testing.assert_allclose(codes.z[:, position].mean(1), z, atol=0.02)
    values = np.arange(len(get_family("point-robot").tasks), dtype=np.float64)[:, None]
    assert codes.truth("id", values).ravel().tolist() == [6, 6, 6, 7, 7, 7]
    np.testing.assert_array_equal(codes.of_split(1, "ood"), codes.z[1, :2].reshape(6, 3))


def test_analysis_is_deterministic_kept_and_merged(trained: Run) -> None:
    store = open_store(Path(trained.record.store))
    settings = AnalysisSettings(contexts=4, context_size=8, horizon=5)
    probe = analyse(trained, store, settings, parts="probe")
    step = str(probe.step)
    assert probe == analyse(trained.path, str(store.path), settings, parts=["probe"], checkpoint=step)
    assert probe.seeds[0] != probe.seeds[1]
    assert probe.seeds[0].probe is not None
    assert set(probe.seeds[0].probe["id"]) == {"angle", "goal[0]", "goal[1]"}
    save_analysis(trained, probe)
    rest = analyse(trained, store, settings, parts=["disentanglement", "open-loop"])
    assert rest.seeds[0].probe is None
    assert rest.seeds[0].disentanglement is None
    save_analysis(trained, rest)
    (both,) = read_analyses(trained)
    assert both.seeds[1].probe == probe.seeds[1].probe
    assert both.seeds[1].open_loop == rest.seeds[1].open_loop
    assert both.seeds[1].open_loop is not None
    assert set(both.seeds[1].open_loop) == set(SPLITS)
    with pytest.raises(ClwmError, match="an analysis has no part 'probes': did you mean probe"):
        analyse(trained, store, settings, parts=["probes"])  # type: ignore[list-item]
    other = analyse(trained, store, settings.model_copy(update={"contexts": 5}), parts=["probe"])
    file = save_analysis(trained, other)
    assert sorted(map(repr, read_analyses(trained))) == sorted(map(repr, (both, other)))
    file.write_text('{"checkpoint": 3}')
    with pytest.raises(DamagedDataError, match=rf"{file.name}: attribute"):
        read_analyses(trained)
    shutil.rmtree(file.parent)


def test_command(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    from clwm_cli.main import main

    arguments = ["analyse", str(trained.path), "--horizon", "4", "--contexts", "3"]
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert len(document["seeds"]) == 2
    assert len(document["seeds"][0]["open_loop"]["ood"]["code"]) == 4
    with pytest.raises(SystemExit):
        main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "contexts 3; context size 64; horizon 4; seed 0"
    assert lines[2].split() == ["metric", "of", "seed", "3", "seed", "4"]
    with pytest.raises(SystemExit):
        main([*arguments, "--horizon", "100"])
    captured = capsys.readouterr()
    assert "no episode of 100 steps in tasks 0-1,6-7,12-13: left out" in captured.err
    assert "probe" in captured.out  # what worked is shown and kept


Floats = NDArray[np.float64]


def test_disentanglement_of_a_length_speed_run() -> None:
    """The parts that the analysis puts together, on codes that are the factors of cheetah-ls themselves."""
    pytest.importorskip("sklearn")
    from clwm_train.analysis.factors import disentanglement_of

    family = get_family("cheetah-ls")
    tasks = tuple(range(38))
    values: Floats = np.asarray([list(task.parameters.values()) for task in family.tasks])
    unit = (values - values.mean(0)) / values.std(0)
    z = unit[None, :, None] + 0.01 * np.random.default_rng(0).normal(size=(1, 38, 6, 2))
    found = disentanglement_of(family, Codes(z, tasks, tuple(task.split for task in family.tasks)), 0, 0)
    assert found is not None
    assert found.factors == ["speed", "length"]
    assert found.disentanglement > 0.95
    assert found.informativeness > 0.95
    assert found.modularity > 0.85
    assert found.entangled is not None
    assert found.entangled.disentanglement < 0.1 < 0.9 < found.entangled.explicitness


@pytest.mark.parametrize("entries", [2, 5])
def test_noise_and_entangled_codes_are_what_they_are_called(entries: int) -> None:
    family = get_family("cheetah-ls")
    tasks = tuple(range(38))
    codes = Codes(np.zeros((1, 38, 6, entries)), tasks, tuple(task.split for task in family.tasks))
    values: Floats = np.asarray([list(task.parameters.values()) for task in family.tasks])
    unit = (values - values.mean(0)) / values.std(0)
    noise, mixed = noise_codes(codes, 0).z[0].mean(1), entangled_codes(codes, values, 0).z[0].mean(1)
    assert np.abs(np.corrcoef(np.c_[noise, unit].T)[:entries, entries:]).max() < 0.5
    # Every entry holds as much of either factor, and together they hold all of both.
    share = np.corrcoef(np.c_[mixed, unit].T)[:entries, entries:]
    np.testing.assert_allclose(np.abs(share[:, 0]), np.abs(share[:, 1]), atol=0.05)
    assert np.abs(share).min() > 0.4
    found, *_ = np.linalg.lstsq(mixed, unit, rcond=None)
    assert np.square(mixed @ found - unit).mean() < 0.01
