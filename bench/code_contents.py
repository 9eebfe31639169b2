"""How much of an observation the codes of a finished run hold.

A network of its own learns to reconstruct scaled observations from what policy and critics see of them;
printed is the share of the variance that it explains on other observations, R^2, on the mean over an
observation's entries and for the worst one. Entries that never change are left out.

Usage: OMP_NUM_THREADS=1 python bench/code_contents.py RUN STORE [--seeds 2] [--steps 1500]
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from measure import table
from torch import Tensor, nn

from clwm_data import Store, open_store
from clwm_train import load_agent, open_run
from clwm_train.model.agent import Agent


def observations(agent: Agent, store: Store, tasks: int, count: int) -> Tensor:
    """Scaled observations [count, obs] before random transitions of some tasks that are not trained on."""
    rng = np.random.default_rng(0)
    held_out = [task for task in store.tasks.values() if task.split == "id"][:tasks]
    rows = []
    for task in held_out:
        arrays = task.load()
        chosen = rng.integers(arrays.transitions, size=count // len(held_out))
        rows.append(arrays.observation[arrays.observation_row()[chosen]])
    return agent.normaliser.observation(torch.from_numpy(rng.permutation(np.concatenate(rows))))


def reconstructed(code: Tensor, observation: Tensor, steps: int, width: int = 256) -> Tensor:
    """R^2 [obs] on the last quarter of the rows, of a network that learned from the others."""
    torch.manual_seed(0)
    sizes = (code.shape[1], width, width)
    hidden = [
        part
        for inputs, outputs in pairwise(sizes)
        for part in (nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.Mish())
    ]
    network = nn.Sequential(*hidden, nn.Linear(width, observation.shape[1]))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    known = len(code) * 3 // 4
    for _ in range(steps):
        rows = torch.randint(known, (256,))
        loss = (network(code[rows]) - observation[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        error = (network(code[known:]) - observation[known:]).square().mean(0)
    return 1.0 - error / observation[known:].var(0, unbiased=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store")
    parser.add_argument("--seeds", type=int, default=2, help="of the run, at most")
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--observations", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=1500, help="updates of the network that reconstructs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    agent = load_agent(open_run(options.run)).eval()
    seen = observations(agent, open_store(options.store), options.tasks, options.observations)
    with torch.no_grad():
        codes = agent.features(seen.expand(len(agent.seeds), -1, -1))
    moving = seen.std(0) > 1e-6
    rows = []
    for seed, code in list(zip(agent.seeds, codes, strict=True))[: options.seeds]:
        shares = reconstructed(code, seen[:, moving], options.steps)
        rows.append(
            [str(seed), str(seen.shape[1]), str(code.shape[1]), f"{shares.mean():.3f}", f"{shares.min():.3f}"]
        )
    table(f"{options.run.name}", ["seed", "observation", "codes", "mean R^2", "least R^2"], rows)


if __name__ == "__main__":
    main()
