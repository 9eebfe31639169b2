"""Teams of policies that divide the tasks among themselves, and the best such team."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.symmetry import Symmetry

#: Number of policies whose returns are measured on several episodes.
SHORTLIST = 6
#: A further policy must raise the mean return over tasks by this share of what training gained.
WORTHWHILE = 0.005


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy of a run, at one of its evaluations.

    Attributes:
        run: index of the run.
        environment_steps: environment steps of that run so far.
        minutes: wall time of that run so far.
        returns: [2, T] return of one episode on each task, with the policy's noise and without it; minus
            infinity on tasks that the run did not train on.
        image: the policy and the symmetry that it is the image under; ``None`` for a trained policy.
    """

    run: int
    environment_steps: int
    minutes: float
    returns: NDArray[np.float64]
    image: Image | None = None

    @property
    def original(self) -> Candidate:
        """The policy that was trained."""
        return self.image.original if self.image else self


@dataclass(frozen=True, eq=False)
class Image:
    """Derivation of a policy from another one by a symmetry.

    Attributes:
        original: the other policy.
        symmetry: a symmetry of the family.
        column: [T] its return on a task is that of the original on the column[task]-th task.
    """

    original: Candidate
    symmetry: Symmetry
    column: NDArray[np.int64]

    @classmethod
    def make(cls, original: Candidate, symmetry: Symmetry, column: NDArray[np.int64]) -> Candidate:
        """The image as a candidate; its returns follow from the original's. Arguments as the attributes."""
        returns = original.returns[:, column]
        image = cls(original, symmetry, column)
        return Candidate(original.run, original.environment_steps, original.minutes, returns, image)


#: Measures returns [E, 2, T] of a policy in E episodes: with its noise and without it.
Measure = Callable[[Candidate], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Team:
    """Policies that divide the tasks among themselves.

    Attributes:
        members: the policies.
        player: [T] index of the member that plays each task.
    """

    members: list[Candidate]
    player: NDArray[np.int64]

    @classmethod
    def single(cls, policy: Candidate) -> Team:
        """One policy for all tasks."""
        return cls([policy], np.zeros(policy.returns.shape[1], np.int64))

    @classmethod
    def from_players(cls, policies: Sequence[Candidate], player: NDArray[np.int64]) -> Team:
        """A team of those policies that play at least one task."""
        playing = np.unique(player)
        return cls([policies[index] for index in playing], np.searchsorted(playing, player))


def best_team(candidates: Sequence[Candidate], measure: Measure, limit: int) -> Team:
    """The policy with the best mean return, and others for tasks that they play better.

    The candidates have one episode per task, which is too few to choose by and only gives a shortlist, whose
    returns are then measured. Returns that are reported of the team must come from other episodes.

    Args:
        candidates: policies, the first of them untrained; at least one for all tasks.
        measure: returns over several episodes.
        limit: maximum number of policies in a team.

    Returns:
        the team, its members in the order in which they were chosen.
    """
    rough = np.asarray([candidate.returns.mean(axis=0) for candidate in candidates])
    shortlist = shortlisted(candidates, rough)
    measured = np.asarray([measure(candidate).mean(axis=(0, 1)) for candidate in shortlist])
    gained = float(measured.max(axis=0).mean() - rough[0].mean())
    chosen = cover(measured, limit, WORTHWHILE * max(gained, 0.0))
    return Team.from_players([shortlist[index] for index in chosen], measured[chosen].argmax(axis=0))


def shortlisted(candidates: Sequence[Candidate], scores: NDArray[np.float64]) -> list[Candidate]:
    """Policies to be measured: half of them by their mean score, the others by what they add to these.

    In the first half, the best of a policy and its images represents all of them.

    Args:
        candidates: policies, at least one of them for all tasks.
        scores: [number, T] rough score of each policy on each task.
    """
    length = SHORTLIST * len({candidate.run for candidate in candidates})
    covering = cover(scores, length, 0.0)
    first: dict[Candidate, int] = {}
    for index in np.argsort(-scores.mean(axis=1), kind="stable").tolist():
        first.setdefault(candidates[index].original, index)
    by_mean = list(first.values())
    indices = dict.fromkeys([*covering[: length // 2], *by_mean[: length // 2], *covering])
    return [candidates[index] for index in list(indices)[:length]]


def cover(scores: NDArray[np.float64], limit: int, worthwhile: float) -> list[int]:
    """Greedy choice: the row with the best mean, then rows that most raise the mean of the maxima over rows.

    Args:
        scores: [number, T].
        limit: maximum number of rows.
        worthwhile: a further row must raise the mean by more than this.
    """
    chosen = [int(scores.mean(axis=1).argmax())]
    while len(chosen) < min(limit, len(scores)):
        reached = scores[chosen].max(axis=0)
        gains = np.maximum(scores - reached, 0.0).mean(axis=1)
        if gains.max() <= worthwhile:
            break
        chosen.append(int(gains.argmax()))
    return chosen
