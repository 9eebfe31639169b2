from __future__ import annotations

import torch

from clwm_train.methods.resolve import resolve
from clwm_train.model.agent import Agent
from clwm_train.training.threads import best_threads, cpu_threads


def test_small_networks_get_one_thread_and_large_ones_all() -> None:
    with cpu_threads(2):
        found = {}
        for preset in ("tiny", "paper"):
            config = resolve("spc", preset, ["context.next_observation=false"])
            found[preset] = best_threads(Agent(config, [0], 2, 2), config.batch)
    assert found == {"tiny": 1, "paper": 2}


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
