from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clwm_train.config import ContextConfig, NetworkConfig
from clwm_train.metrics.representation import (
    dormant_ratio,
    feature_rank,
    matrix_rank,
    representation_metrics,
)
from clwm_train.model.context_encoder import ContextEncoder
from clwm_train.model.nn import MLP, Initialiser


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(6, 12), st.integers(0, 99))
def test_ranks_of_a_matrix_of_known_singular_values(rank: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.normal(size=(rows, 6)))[0]
    right = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    singular = np.zeros(6)
    singular[:rank] = 10.0 ** -np.arange(rank)  # 1, 0.1, 0.01, ...
    features = torch.from_numpy((left * singular) @ right * rows**0.5)[None]
    assert matrix_rank(features).tolist() == [rank]
    assert matrix_rank(features).item() == np.linalg.matrix_rank(features[0].numpy())
    assert feature_rank(features, threshold=0.05).item() == pytest.approx(min(rank, 2) / 6)


def test_ranks_do_not_mix_seeds() -> None:
    full, flat = torch.eye(4), torch.ones(4, 4)
    assert matrix_rank(torch.stack([full, flat])).tolist() == [4, 1]
    assert feature_rank(torch.stack([full, flat])).tolist() == [1.0, 0.25]


def test_dormant_neurons_by_hand() -> None:
    # Mean |h|: 1, 1, 0 and 0.02: their mean is 0.505, so the scores are 1.98, 1.98, 0 and 0.0396.
    layer = torch.tensor([[[1.0, -1.0, 0.0, 0.02], [-1.0, 1.0, 0.0, -0.02]]])
    assert dormant_ratio([layer]).item() == 0.25
    assert dormant_ratio([layer], tau=0.04).item() == 0.5
    alive = torch.ones(1, 3, 4)
    assert dormant_ratio([layer, alive]).item() == 0.125
    assert dormant_ratio([torch.zeros(1, 3, 4), alive]).item() == 0.5


def test_a_neuron_that_was_killed_counts() -> None:
    encoder = ContextEncoder(
        Initialiser((0, 1), "fan-in"),
        [3, 2, 1],
        ContextConfig(dim=2, hidden=(8, 8)),
        NetworkConfig(style="relu"),
    )
    with torch.no_grad():
        layer = encoder.network.layers[1]
        layer.bias[0, 0, :4] = -1e3  # type: ignore[union-attr,index]
    context = torch.randn(2, 5, 7, 6, generator=torch.Generator().manual_seed(0))
    figures = representation_metrics(encoder, context)
    killed, whole = figures["dormant_ratio"].tolist()
    assert killed >= whole + 4 / 16 - 1e-6
    assert figures["matrix_rank"][0] <= 4


@pytest.mark.parametrize("style", ["relu", "layernorm-mish"])
@pytest.mark.parametrize("copies", [1, 2])
def test_hidden_activations_lead_to_the_output(style: str, copies: int) -> None:
    network = MLP(Initialiser((0, 1), "fan-in"), [3], [5, 4], 2, style=style, copies=copies)  # type: ignore[arg-type]
    x = torch.randn(2, 7, 3)
    layers = network.hidden(x)
    assert [tuple(layer.shape) for layer in layers] == [(2 * copies, 7, 5), (2 * copies, 7, 4)]
    torch.testing.assert_close(network.head(layers[-1]).view(network(x).shape), network(x))


def test_they_are_logged(collected: Path, tmp_path: Path) -> None:
    from clwm_data.opening import open_store
    from clwm_train.runs.loading import load_agent
    from clwm_train.runs.run import METRICS, describe_run, write_run
    from clwm_train.settings import Execution
    from clwm_train.training.train import train_run
    from tests.train.helpers import small_config

    store = open_store(collected)
    config = small_config()
    run = write_run(describe_run(tmp_path / "run", store, config, method="spc", preset="tiny", seeds=(0, 1)))
    train_run(run, store, execution=Execution(threads=1))
    rows = [json.loads(line) for line in (run.path / METRICS).read_text().splitlines()]
    assert len(rows) == 6
    for row in rows:
        assert 0.0 <= row["context_encoder/feature_rank"] <= 1.0
        assert 1 <= row["context_encoder/matrix_rank"] <= 8
        assert 0.0 <= row["context_encoder/dormant_ratio"] <= 1.0
    # The last row tells of the agent that was saved.
    from clwm_train.data.sampler import TaskBatchSampler
    from clwm_train.data.task_data import load_task_data

    agent = load_agent(run)
    batch = TaskBatchSampler(
        load_task_data(store.tasks, config.data), config.batch, (0, 1), next_observation=False
    ).batch(0)
    found = representation_metrics(agent.context_encoder, batch.context)
    assert rows[-1]["context_encoder/matrix_rank"] == found["matrix_rank"][1].item()
