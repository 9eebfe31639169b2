"""From training runs to a zoo folder: checkpoints are chosen, evaluated on many episodes, and described."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviour_training.pool import Pool
from clwm_data.behaviour_training.settings import TrainingSettings
from clwm_data.behaviour_training.stage import choose_stage
from clwm_data.behaviour_training.team import Candidate, Measure, Team, best_team
from clwm_data.families import get_family
from clwm_data.store.atomic import move, move_folder
from clwm_data.zoo.card import Card, CheckpointRecord, RunRecord, sha256, tensors_bytes, write_card
from clwm_data.zoo.evaluation import PolicyEvaluator
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.policy_set import PolicySet, pack

#: Called with the number of policies measured so far; first with 0, once the runs have been checked.
Measured = Callable[[int], None]

EPISODES = 5
#: Quality of the best checkpoint, and how many policies may share the tasks of a checkpoint by default.
BEST, TEAM = 100, 5
#: Differs from the seed of the choice: on the same episodes, the best of many would look better than it is.
EVALUATION_SEED = 1_000_003
#: A further policy must bring a stage nearer to its target returns by this share of (best - untrained).
WORTHWHILE = 0.02
#: Episodes and seed of the returns by which policies are chosen for tasks.
SELECTION_EPISODES, SELECTION_SEED = 3, 2_000_003


def write_zoo(
    pool: Pool, zoo: Path, checkpoints: int, measured: Measured | None = None, *, policies: int = TEAM
) -> Card:
    """Choose checkpoints from the policies of runs and write them with their card.

    Args:
        pool: the policies.
        zoo: folder to write; an existing one is kept until the new one is complete.
        checkpoints: how many, at least 2.
        measured: called before the first policy is measured, and after each.
        policies: maximum number of policies that share the tasks of a checkpoint.

    Returns:
        the card that was written.

    Raises:
        ClwmError: a policy's file is missing or damaged.
    """
    building, before = zoo.with_name(f".{zoo.name}.partial"), zoo.with_name(f".{zoo.name}.before")
    _restore(before, zoo)  # if a process was killed between the two renames below
    for left in (building, before):
        shutil.rmtree(left, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        card = _build(pool, building, (checkpoints, policies), measured)
        if zoo.exists():
            move(zoo, before)
        move_folder(building, zoo)
    except BaseException:
        _restore(before, zoo)
        shutil.rmtree(building, ignore_errors=True)
        raise
    shutil.rmtree(before, ignore_errors=True)
    return card


def _restore(before: Path, zoo: Path) -> None:
    if before.exists() and not zoo.exists():
        move(before, zoo)


def _build(pool: Pool, folder: Path, limits: tuple[int, int], measured: Measured | None) -> Card:
    exporter = _Exporter(pool, folder, measured or (lambda _: None))
    try:
        teams = _choose(pool.candidates, exporter.measure, *limits)
        records = [exporter.write(quality, team) for quality, team in teams.items()]
    finally:
        exporter.close()
    card = _card(pool, records)
    write_card(folder, card)
    return card


def _choose(
    candidates: Sequence[Candidate], measure: Measure, checkpoints: int, policies: int
) -> dict[int, Team]:
    """Quality in per cent -> policies: the untrained one, stages of evenly spread returns, the best.

    Returns are those with the policies' noise, since most datasets are collected with it.
    """
    untrained = candidates[0]
    if len(candidates) == 1:
        return {0: Team.single(untrained)}
    best = best_team(candidates, measure, policies)
    between = [candidate for candidate in candidates[1:] if candidate not in best.members]
    low, high = measure(untrained)[:, 0].mean(axis=0), _noisy_returns(best, measure)
    worthwhile = WORTHWHILE * float(np.abs(high - low).mean())
    teams = {0: Team.single(untrained)}
    for quality in np.linspace(0.0, BEST, checkpoints)[1:-1]:
        target = low + quality / BEST * (high - low)
        stage = choose_stage(between, target, measure, policies, worthwhile=worthwhile)
        if stage is not None:
            teams[round(quality)] = stage
    return {**teams, BEST: best}


def _noisy_returns(team: Team, measure: Measure) -> NDArray[np.float64]:
    """Mean return [T] of a team with its policies' noise."""
    returns = np.asarray([measure(member)[:, 0].mean(axis=0) for member in team.members])
    return np.asarray(np.take_along_axis(returns, team.player[None], axis=0)[0])


class _Exporter:
    """Turns policies of runs into checkpoint files with measured returns."""

    def __init__(self, pool: Pool, zoo: Path, measured: Measured) -> None:
        family = get_family(pool.descriptions[0].settings.family)
        self._pool, self._zoo = pool, zoo
        self._all_tasks = len(family.tasks)
        self._evaluator = PolicyEvaluator(family, pool.tasks)
        self._known: dict[Candidate, NDArray[np.float64]] = {}
        self._report, self._number = measured, 0
        measured(0)

    def measure(self, candidate: Candidate) -> NDArray[np.float64]:
        """Returns [E, 2, T], with and without the policy's noise, on episodes used only for choosing."""
        if candidate.image is not None:
            return self.measure(candidate.image.original)[:, :, candidate.image.column]
        if candidate not in self._known:
            policy = LearnedPolicy(self._pool.tensors(candidate))
            self._known[candidate] = self._returns(policy, SELECTION_EPISODES, SELECTION_SEED)
        return self._known[candidate]

    def write(self, quality: int, team: Team) -> CheckpointRecord:
        """Write the file of a checkpoint and measure it."""
        members, player = team.members, team.player
        family_player = np.zeros(self._all_tasks, np.int64)  # of every task of the family
        family_player[self._pool.tasks] = player
        packed = pack([self._pool.tensors(member) for member in members], family_player)
        content = tensors_bytes(packed)
        file = f"{quality:03d}.safetensors"
        (self._zoo / file).write_bytes(content)
        policies = PolicySet(packed).policies  # in half precision, as in the file
        measured = [self._returns(policy, EPISODES, EVALUATION_SEED) for policy in policies]
        returns = np.stack(measured).mean(axis=1)[player, :, np.arange(len(player))].T
        runs = [member.run for member in members]
        symmetries = [member.image.symmetry.name if member.image else "" for member in members]
        return CheckpointRecord(
            quality=quality,
            file=file,
            sha256=sha256(content),
            environment_steps=members[0].environment_steps,
            specialists=[member.environment_steps for member in members[1:]],
            runs=runs if any(runs) else [],
            symmetries=symmetries if any(symmetries) else [],
            minutes=members[0].minutes,
            returns_stochastic=returns[0].round(3).tolist(),
            returns_deterministic=returns[1].round(3).tolist(),
        )

    def close(self) -> None:
        """Release the simulators."""
        self._evaluator.close()

    def _returns(self, policy: LearnedPolicy, episodes: int, seed: int) -> NDArray[np.float64]:
        returns = self._evaluator(policy, episodes=episodes, seed=seed)
        self._number += 1
        self._report(self._number)
        return returns


def _method(settings: TrainingSettings) -> str:
    method = "CrossQ (sb3-contrib)"
    if len(settings.tasks) > 1:
        method += ", one policy for all of these tasks, a task drawn per episode"
    if settings.relabelled:
        method += f", {settings.relabelled:.0%} of the transitions relabelled with other tasks"
    return method


def _card(pool: Pool, records: list[CheckpointRecord]) -> Card:
    first, *further = pool.descriptions
    return Card(
        family=first.settings.family,
        method=_method(first.settings),
        seed=first.settings.seed,
        tasks=pool.tasks,
        further_runs=[
            RunRecord(
                seed=run.settings.seed,
                tasks=run.settings.tasks,
                method=_method(run.settings),
                packages=run.packages,
            )
            for run in further
        ],
        evaluation_episodes=EPISODES,
        observation_size=first.observation_size,
        action_size=first.action_size,
        conditioning=first.conditioning,
        packages=first.packages,
        checkpoints=records,
    )
