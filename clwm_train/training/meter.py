"""Averages of metrics between log rows, and the first non-finite one, without synchronising the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clwm_data.errors import DivergedError

Names = tuple[str, ...]


class Meter:
    """Sums the metrics [S] of all updates, on their device.

    Updates that report the same names form a group, whose metrics are kept as one tensor [names, S].
    """

    def __init__(self) -> None:
        self._groups: dict[Names, _Group] = {}

    def add(self, metrics: Mapping[str, Tensor], step: int) -> None:
        """Add the metrics of update ``step`` (from 0)."""
        names = tuple(metrics)
        value = torch.stack(list(metrics.values())).float()
        if names not in self._groups:
            self._groups[names] = _Group.empty(value)
        self._groups[names].add(value, step)

    def check(self, seeds: Sequence[int]) -> None:
        """Check that all metrics are finite.

        Raises:
            DivergedError: a metric is not; the message names the first one, its seed and its update (from 1).
        """
        bad = [
            (int(step), name, seed)
            for names, group in self._groups.items()
            for name, row in zip(names, group.first_bad.tolist(), strict=True)
            for seed, step in zip(seeds, row, strict=True)
            if math.isfinite(step)
        ]
        if bad:
            step, name, seed = min(bad, key=lambda entry: entry[0])
            raise DivergedError(f"{name} of seed {seed} is not finite at update {step + 1}")

    def means(self) -> dict[str, list[float]]:
        """Mean of every metric over the updates that reported it, per seed [S]."""
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for names, group in self._groups.items():
            for name, row in zip(names, group.total, strict=True):
                parts.setdefault(name, []).append((row, group.count))
        means: dict[str, list[float]] = {}
        for name, entries in sorted(parts.items()):
            totals, counts = zip(*entries, strict=True)
            means[name] = (torch.stack(totals).sum(0) / torch.stack(counts).sum()).tolist()
        return means

    def reset(self) -> None:
        """Drop all sums."""
        self._groups = {}

    def state(self) -> dict[str, Tensor]:
        """The tensors to save in a checkpoint."""
        return {
            f"{','.join(names)}.{field}": value
            for names, group in self._groups.items()
            for field, value in vars(group).items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint."""
        fields: dict[Names, dict[str, Tensor]] = {}
        for key, value in state.items():
            names, _, field = key.rpartition(".")
            fields.setdefault(tuple(names.split(",")), {})[field] = value
        self._groups = {names: _Group(**values) for names, values in fields.items()}


class _Group:
    """Metrics reported together: sums [names, S], their count [], first non-finite step [names, S]."""

    def __init__(self, total: Tensor, count: Tensor, first_bad: Tensor) -> None:
        self.total = total
        self.count = count
        self.first_bad = first_bad

    @staticmethod
    def empty(like: Tensor) -> _Group:
        never = torch.full_like(like, torch.inf, dtype=torch.float64)
        return _Group(torch.zeros_like(like), like.new_zeros((), dtype=torch.int64), never)

    def add(self, value: Tensor, step: int) -> None:
        self.total += value
        self.count += 1
        self.first_bad = torch.where(torch.isfinite(value), self.first_bad, self.first_bad.clamp(max=step))
