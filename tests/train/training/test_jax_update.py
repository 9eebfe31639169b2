"""The JAX contestant of bench/bench_update.py computes what the straightforward implementation does."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from clwm_train.methods.resolve import resolve
from tests.conftest import ROOT

jax = pytest.importorskip("jax")
sys.path.insert(0, str(ROOT / "bench"))

OBSERVATION, ACTION, TASKS = 4, 2, 5


def layers(network: torch.nn.Sequential) -> list[dict[str, Any]]:
    """An MLP of bench/reference.py as one of bench/jax_update.py."""
    found: list[dict[str, Any]] = []
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            found.append({"weight": layer.weight.detach().numpy().T, "bias": layer.bias.detach().numpy()})
        elif isinstance(layer, torch.nn.LayerNorm):
            found[-1] |= {"gain": layer.weight.detach().numpy(), "shift": layer.bias.detach().numpy()}
    return jax.tree.map(lambda array: jax.numpy.array(array, copy=True), found)


def copied(reference: Any, codes: int) -> dict[str, Any]:
    dynamics = layers(reference.dynamics)
    for name in ("weight", "bias"):  # the published order is dimension first
        head = dynamics[-1][name]
        split = head.reshape(*head.shape[:-1], -1, codes)
        dynamics[-1][name] = split.swapaxes(-1, -2).reshape(head.shape)
    critics = [layers(critic) for critic in reference.critics]
    return {
        "representation": {
            "context": layers(reference.context_encoder),
            "encoder": layers(reference.encoder),
            "dynamics": dynamics,
            "reward": layers(reference.reward),
        },
        "iql": {
            "policy": layers(reference.policy),
            "value": layers(reference.value),
            "critics": jax.tree.map(lambda *parts: jax.numpy.stack(parts), *critics),
        },
    }


def test_losses_and_weights_are_those_of_the_straightforward_update() -> None:
    from jax_update import JaxSPC, synthetic_batch
    from reference import Batch, Reference

    # One step: nothing is drawn.
    config = resolve("spc", "tiny", ["context.next_observation=false", "batch.horizon=1"])
    reference = Reference(config, OBSERVATION, ACTION, TASKS)
    ours = JaxSPC(config, OBSERVATION, ACTION, TASKS)
    weights = copied(reference, ours.codes)
    ours.state |= jax.tree.map(jax.numpy.copy, weights)
    ours.state["target_encoder"] = jax.tree.map(jax.numpy.copy, weights["representation"]["encoder"])
    ours.state["target_critics"] = jax.tree.map(jax.numpy.copy, weights["iql"]["critics"])
    batch = synthetic_batch(config, OBSERVATION, ACTION, TASKS)
    fields = {name: torch.from_numpy(np.array(array)) for name, array in batch.items()}
    observation = fields.pop("observation")
    theirs = Batch(**fields, observation=observation[:, :, :-1], following=observation[:, :, 1:])
    for represent in (True, False, True, False):
        with jax.default_matmul_precision("highest"):
            found = ours.update(batch, represent=represent)
        expected = reference.update(theirs, represent=represent)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert float(found[name]) == pytest.approx(value, rel=2e-3, abs=1e-5), (name, represent)
