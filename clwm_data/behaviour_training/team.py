"""Policies that share the tasks, and the best of such teams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.symmetry import Symmetry

#: Policies of a run that are looked at closely.
SHORTLIST = 6
#: A further policy must raise the mean return over tasks by this share of what training gained.
WORTHWHILE = 0.005


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy of a run, at one of its evaluations.

    Attributes:
        run: index of the run.
        environment_steps: of that run's training so far.
        minutes: of that run's wall time so far.
        returns: [2, T] of one episode on each task, with the policy's noise and without it; minus infinity on
            tasks that the run did not train on.
        image: what it is the image of, if it is one.
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
    """How a policy came about from another one under a symmetry.

    Attributes:
        original: the other policy.
        symmetry: of the family.
        column: [T] it does on a task as the original does on the column[task]-th.
    """

    original: Candidate
    symmetry: Symmetry
    column: NDArray[np.int64]

    @classmethod
    def make(cls, original: Candidate, symmetry: Symmetry, column: NDArray[np.int64]) -> Candidate:
        """The image as a candidate; its returns need no episodes. The arguments are the attributes."""
        returns = original.returns[:, column]
        image = cls(original, symmetry, column)
        return Candidate(original.run, original.environment_steps, original.minutes, returns, image)


#: Careful returns [E, 2, T] of a policy in E episodes: with its noise and without it.
Measure = Callable[[Candidate], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Team:
    """Policies that share the tasks.

    Attributes:
        members: the policies.
        player: [T] which of them plays each task.
    """

    members: list[Candidate]
    player: NDArray[np.int64]

    @classmethod
    def alone(cls, policy: Candidate) -> Team:
        """One policy for all tasks."""
        return cls([policy], np.zeros(policy.returns.shape[1], np.int64))

    @classmethod
    def of(cls, policies: Sequence[Candidate], player: NDArray[np.int64]) -> Team:
        """Those of the policies that play any task."""
        playing = np.unique(player)
        return cls([policies[index] for index in playing], np.searchsorted(playing, player))


def best_team(candidates: Sequence[Candidate], measure: Measure, limit: int) -> Team:
    """The policy with the best mean return, and others for tasks that they play better.

    The candidates have one episode per task, too few to choose by: it makes a shortlist, whose returns are
    then measured. What is reported of the team must come from other episodes than these.

    Args:
        candidates: policies, the first of them untrained; at least one for all tasks.
        measure: returns over several episodes.
        limit: the most policies in a team.

    Returns:
        the team, in the order in which they were found worth having.
    """
    rough = np.asarray([candidate.returns.mean(axis=0) for candidate in candidates])
    shortlist = shortlisted(candidates, rough)
    careful = np.asarray([measure(candidate).mean(axis=(0, 1)) for candidate in shortlist])
    gained = float(careful.max(axis=0).mean() - rough[0].mean())
    chosen = cover(careful, limit, WORTHWHILE * max(gained, 0.0))
    return Team.of([shortlist[index] for index in chosen], careful[chosen].argmax(axis=0))


def shortlisted(candidates: Sequence[Candidate], scores: NDArray[np.float64]) -> list[Candidate]:
    """Policies worth careful returns: half of them by their mean score, the others for what they add.

    Of a policy and its images the one that scores best stands for all in the first half.

    Args:
        candidates: policies, at least one of them for all tasks.
        scores: [number, T] of each on each task, rough.
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
    """Greedily: the row with the best mean, then whichever raises the mean of the maxima over rows most.

    Args:
        scores: [number, T].
        limit: the most rows.
        worthwhile: what a further row has to add to the mean, and more.
    """
    chosen = [int(scores.mean(axis=1).argmax())]
    while len(chosen) < min(limit, len(scores)):
        reached = scores[chosen].max(axis=0)
        gains = np.maximum(scores - reached, 0.0).mean(axis=1)
        if gains.max() <= worthwhile:
            break
        chosen.append(int(gains.argmax()))
    return chosen
