"""Let the agents of a run with a mixture policy act otherwise than by the likeliest component's mean.

Usage: OMP_NUM_THREADS=1 python bench/mixture_actions.py RUN STORE [--episodes 1]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clwm_data import open_store
from clwm_train import EvaluationSettings, evaluate_run, open_run
from clwm_train.model.policy import MixturePolicy


def component(mean: Tensor, index: Tensor) -> Tensor:
    """Rows [..., act] of means [..., C, act] at an index [..., 1]."""
    return mean.take_along_dim(index.unsqueeze(-1), -2).squeeze(-2)


def mean_of_all(policy: MixturePolicy, state: Tensor) -> Tensor:
    """The mixture's mean."""
    log_weight, mean, _ = policy(state)
    return (log_weight.exp().unsqueeze(-1) * mean).sum(-2)


def densest(policy: MixturePolicy, state: Tensor) -> Tensor:
    """The component's mean at which the mixture has the highest density."""
    log_weight, mean, log_std = policy(state)
    means, scales = mean.unsqueeze(-3), log_std.exp().unsqueeze(-3)
    each = torch.distributions.Normal(means, scales).log_prob(mean.unsqueeze(-2)).sum(-1)
    density = torch.logsumexp(log_weight.unsqueeze(-2) + each, -1)
    return component(mean, density.argmax(-1, keepdim=True))


class Sticky:
    """Keeps a lane's component until another is likelier by a factor."""

    def __init__(self, factor: float) -> None:
        self._margin = float(np.log(factor))
        self._kept: Tensor | None = None
        self.changes: list[float] = []

    def __call__(self, policy: MixturePolicy, state: Tensor) -> Tensor:
        log_weight, mean, _ = policy(state)
        best = log_weight.argmax(-1, keepdim=True)
        if self._kept is not None:
            self.changes.append(float((best != self._kept).float().mean()))
            near = log_weight.gather(-1, self._kept) > log_weight.gather(-1, best) - self._margin
            best = torch.where(near, self._kept, best)
        self._kept = best
        return component(mean, best)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store")
    parser.add_argument("--episodes", type=int, default=1)
    options = parser.parse_args()
    run, store = open_run(options.run), open_store(options.store)
    if run.config.policy_head != "mixture":
        parser.error(f"{run.path}: its policy is no mixture")
    for split in ("id", "ood"):
        settings = EvaluationSettings(protocols=["few-shot"], splits=[split], episodes=options.episodes)
        each_step, twice = Sticky(1.0), Sticky(2.0)
        for name, mode in {
            "likeliest component": each_step,
            "kept until another is twice as likely": twice,
            "mean of all": mean_of_all,
            "highest density": densest,
        }.items():
            MixturePolicy.mode = lambda policy, state, mode=mode: mode(policy, state)  # type: ignore[method-assign,misc]
            seeds = evaluate_run(run, store, settings).results
            returns = ", ".join(f"{seed['few-shot'][split].return_mean:.1f}" for seed in seeds)
            print(f"{split}, {name}: mean return of each seed {returns}", flush=True)
        print(
            f"{split}: the likeliest component changes in {100 * np.mean(each_step.changes):.0f} % of steps"
        )


if __name__ == "__main__":
    main()
