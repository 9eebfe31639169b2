"""Re-simulation: do the stored seeds, initial states and actions give the stored observations and rewards?

The one check that digests cannot make: a store whose values were edited, and its digests recomputed, still
differs from what its simulator gives. Bits are compared where the simulator is the one that collected
(package versions and machine type in the provenance). Elsewhere rounding differs, and a chaotic simulation
multiplies it: an episode is then compared, within a tolerance, for as long as its observations agree.

False provenance cannot weaken the check: rounding errors grow step by step, so observations that diverge at
once were edited; a reward may be off by no more than its observations explain; and a task does not count as
checked if fewer than a quarter of its steps could be compared.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import InvalidInputError, NotFoundError, UnavailableError
from clwm_data.pages.numbers import plural
from clwm_data.seeds import episode_seed
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.format import Edit
from clwm_data.store.provenance import simulator_differences
from clwm_data.store.reader import Store, open_local
from clwm_data.store.soundness import Finding
from clwm_data.store.stored_task import StoredTask

if TYPE_CHECKING:
    from clwm_data.families.vector_env import TaskVectorEnv


#: Relative to 1 + abs(value), where bits need not agree.
OBSERVATION_TOLERANCE = 1e-5
REWARD_TOLERANCE = 1e-4
#: A reward may be off by this without its observations being off, and by so many times as much as they are:
#: rewards are differences of positions, divided by a time step.
REWARD_ROUNDING = 2e-6
REWARD_GAIN = 100.0
#: Two simulators that differ only in rounding agree for at least this many steps,
AGREEING_STEPS = 5
#: and in no step does their difference grow by more than this factor, from at least what float32 resolves.
GROWTH = 1e4
FLOAT32_ROUNDING = 2.0**-24
#: Share of the steps of a task that must be compared.
LEAST_SHARE = 0.25


@dataclass(frozen=True)
class ReplayReport:
    """What re-simulation found.

    Attributes:
        findings: differences between the store and its simulator; empty when there are none.
        episodes: re-simulated.
        steps: compared; fewer than ``total`` where rounding made the simulations diverge.
        differences: why bits need not agree (versions, machine); empty when they must.
        seed: that the episodes were drawn with.
        total: steps that the episodes have.
        to_the_bit: steps that agreed to the bit.
        from_states: episodes began in the stored simulator states; else with their seeds alone.
        relabelled: the store says that its rewards are not the simulator's; they were not compared.
    """

    findings: list[Finding]
    episodes: int
    steps: int
    differences: tuple[str, ...]
    seed: int = 0
    total: int = 0
    to_the_bit: int = 0
    from_states: bool = True
    relabelled: bool = False

    def __str__(self) -> str:
        start = "" if self.from_states else " from seeds and actions"
        if self.relabelled:
            start += " (without the rewards, which were relabelled)"
        share = f" of {self.total:,} ({_per_cent(self.steps, self.total)})" if self.steps < self.total else ""
        drawn = f"{plural(self.episodes, 'episode')} (drawn with seed {self.seed})"
        done = f"re-simulated {drawn}, {plural(self.steps, 'step')}{share}{start}"
        if self.to_the_bit == self.total:
            return f"{done}: compared bit for bit"
        if not self.differences:
            return f"{done}: compared bit for bit, {self.to_the_bit:,} agree"
        return (
            f"{done}: {self.to_the_bit:,} agree to the bit, the others were compared within "
            f"{REWARD_TOLERANCE:g} (rewards) and {OBSERVATION_TOLERANCE:g} (observations), since the "
            f"simulator differs: {'; '.join(self.differences)}"
        )


def replay(
    path: Path | str,
    episodes: int | None,
    on_progress: Callable[[int], object] | None = None,
    *,
    seed: int | None = None,
) -> ReplayReport:
    """Re-simulate episodes of every task and compare them with what is stored.

    Args:
        path: the store; see :func:`clwm_data.store.validate.validate` for its other checks.
        episodes: per task, drawn at random; ``None`` for all.
        on_progress: called after each task with its index.
        seed: the same seed draws the same episodes; by default the draw cannot be predicted.

    Raises:
        NotFoundError: no such store, or its family is not known here.
        InvalidInputError: fewer than one episode.
        UnavailableError: its simulator is not here, or it holds nothing that could be simulated.
    """
    if episodes is not None and episodes < 1:
        raise InvalidInputError(f"the number of episodes to re-simulate must be at least 1, not {episodes}")
    store = open_local(Path(path))
    if store.known_family is None:
        raise NotFoundError(f"{path}: its family {store.family} is not known here: it cannot be re-simulated")
    if not store.known_family.deterministic:
        raise UnavailableError(
            f"{path}: the environments of {store.family} are recorded as not deterministic: episodes do not "
            "follow from their seeds and actions, and cannot be re-simulated"
        )
    differences = simulator_differences(store.provenance)
    drawn = secrets.randbelow(2**32) if seed is None else seed
    report = ReplayReport(
        [],
        0,
        0,
        differences,
        drawn,
        from_states=store.known_family.has_states,
        relabelled=_is_relabelled(store.record.edited),
    )
    for index in store.tasks:
        part = _replay_task(
            store, store.tasks[index], episodes, drawn, exact=not differences, rewards=not report.relabelled
        )
        report = replace(
            report,
            findings=report.findings + part.findings,
            episodes=report.episodes + part.episodes,
            steps=report.steps + part.steps,
            total=report.total + part.total,
            to_the_bit=report.to_the_bit + part.to_the_bit,
        )
        if on_progress is not None:
            on_progress(index)
    return report


def _replay_task(
    store: Store, task: StoredTask, episodes: int | None, seed: int, *, exact: bool, rewards: bool
) -> ReplayReport:
    """What re-simulation found in one task."""
    where = f"{store.path}: task {task.index}"
    arrays = task.load()
    if arrays.episode_seed is None or arrays.episode_initial_state is None:
        raise UnavailableError(f"{where}: holds no seeds and simulator states: it cannot be re-simulated")
    count = arrays.episodes if episodes is None else min(episodes, arrays.episodes)
    generator = np.random.default_rng([seed, task.index])
    chosen = np.sort(generator.choice(arrays.episodes, count, replace=False))
    lanes = min(count, store.task_family.lanes)
    env = store.task_family.make_vec_env([task.index] * lanes)
    findings: list[Finding] = []
    steps = to_the_bit = 0
    try:
        for first in range(0, count, lanes):
            numbers = chosen[first : first + lanes].tolist()
            for number, simulated in zip(numbers, _simulate(env, arrays, numbers), strict=True):
                stored = arrays.episode(number)
                if not rewards:
                    simulated = replace(simulated, reward=stored.reward[: len(simulated.reward)])
                finding, compared = _compare(stored, simulated, exact)
                steps += compared
                to_the_bit += _equal_steps(stored, simulated)
                if finding is not None:
                    findings.append(Finding(f"{where}: episode {number}", finding))
    finally:
        env.close()
    findings += _label_findings(store, task.index, arrays)
    total = int(arrays.episode_length[chosen].sum())
    if not findings and steps < LEAST_SHARE * total:
        findings.append(
            Finding(
                where,
                f"only {_per_cent(steps, total)} of its steps could be compared, at least "
                f"{100 * LEAST_SHARE:.0f} % are needed: validate it where the simulator is the same",
            )
        )
    return ReplayReport(findings, count, steps, (), seed, total, to_the_bit)


def _is_relabelled(edited: Edit | None) -> bool:
    """Whether a store, or any that it was made from, has other rewards than its simulator's."""
    return edited is not None and (
        edited.operation == "relabel" or any(_is_relabelled(source.edited) for source in edited.sources)
    )


def _label_findings(store: Store, task: int, arrays: TaskArrays) -> list[Finding]:
    """Episodes whose seeds are not those that the manifest gives to their behaviours.

    Edited stores are not checked: they hold episodes of other manifests, or not all of them.
    """
    if store.record.edited is not None or arrays.episode_seed is None:
        return []
    manifest, offset = store.manifest, 0
    findings: list[Finding] = []
    for behaviour, entry in enumerate(manifest.behaviours):
        numbers = np.flatnonzero(arrays.episode_behaviour == behaviour).tolist()
        for place, number in enumerate(numbers):
            seed = episode_seed(manifest.seed, manifest.family, task, offset + place)
            if seed != arrays.episode_seed[number]:
                findings.append(
                    Finding(
                        f"{store.path}: task {task}: episode {number}",
                        f"its seed is not the one that the manifest gives to episode {place} of behaviour "
                        f"{behaviour} ({entry.label})",
                    )
                )
                break
        offset += entry.most_episodes
    return findings


def _per_cent(part: int, whole: int) -> str:
    return f"{100.0 * part / max(whole, 1):.0f} %"


def _simulate(env: TaskVectorEnv, arrays: TaskArrays, numbers: Sequence[int]) -> list[Episode]:
    """Run the stored actions of some episodes, one per lane, until the simulator or the data ends them.

    Returns:
        the episodes as simulated; their initial states are those that their seeds give.
    """
    stored = [arrays.episode(number) for number in numbers]
    spare = env.num_envs - len(stored)
    observation, _ = env.reset(seed=[episode.seed for episode in stored] + [0] * spare)
    states = [env.get_state(lane) for lane in range(len(stored))]
    for lane, episode in enumerate(stored):
        if episode.initial_state is not None and episode.initial_state.shape == states[lane].shape:
            observation = env.set_state(lane, episode.initial_state)
    env.active = np.arange(env.num_envs) < len(stored)
    action = np.zeros(
        (arrays.episode_length[numbers].max(), env.num_envs, arrays.action.shape[1]), np.float32
    )
    for lane, episode in enumerate(stored):
        action[: len(episode.action), lane] = episode.action
    observations = [observation]
    # reward, terminated, truncated, success, dense reward, active: [L] each
    steps: list[tuple[NDArray[Any], ...]] = []
    for actions in action:
        active = env.active
        observation, reward, terminated, truncated, info = env.step(actions)
        observations.append(observation)
        success, dense = info.get("success", active), info.get("dense_reward", reward)
        steps.append((reward, terminated, truncated, success, dense, active))
    reward, terminated, truncated, success, dense, active = map(np.stack, zip(*steps, strict=True))
    results = []
    for lane, episode in enumerate(stored):
        length = min(len(episode.reward), int(active[:, lane].sum()))
        results.append(
            replace(
                episode,
                observation=np.stack([observation[lane] for observation in observations[: length + 1]]),
                reward=reward[:length, lane].astype(np.float32),
                terminated=terminated[:length, lane],
                truncated=truncated[:length, lane],
                success=None if episode.success is None else success[:length, lane],
                initial_state=states[lane],
                dense_reward=None
                if episode.dense_reward is None
                else dense[:length, lane].astype(np.float32),
            )
        )
    return results


def _compare(stored: Episode, simulated: Episode, exact: bool) -> tuple[str | None, int]:
    """The first difference in words, or ``None``; and the number of steps that were compared."""
    tolerance = 0.0 if exact else OBSERVATION_TOLERANCE
    recorded, given = stored.initial_state, simulated.initial_state
    if (
        recorded is None
        or given is None
        or recorded.shape != given.shape
        or (_gap(recorded, given) > tolerance).any()
    ):
        return f"its initial state is not the one that seed {stored.seed} gives", 0
    length = len(simulated.reward)
    gaps = _gap(stored.observation[: length + 1], simulated.observation)
    gap = gaps.max(axis=1)  # [length + 1]
    diverged = length + 1 if (gap <= tolerance).all() else int(np.argmax(gap > tolerance))
    compared = max(0, diverged - 1)  # transitions that lead to observations that agree
    allowed = np.minimum(REWARD_ROUNDING + REWARD_GAIN * np.maximum(gap[:-1], gap[1:]), REWARD_TOLERANCE)
    same: dict[str, NDArray[np.bool_]] = {}
    for name in ("reward", "dense_reward"):
        if getattr(stored, name) is not None:
            gap_of_rewards = _gap(getattr(stored, name)[:length], getattr(simulated, name))
            same[name] = gap_of_rewards <= (0.0 if exact else allowed)
    for name in ("terminated", "truncated", "success"):
        if getattr(stored, name) is not None:
            same[name] = getattr(stored, name)[:length] == getattr(simulated, name)
    wrong = [
        (int(np.argmin(rows[:compared])), name) for name, rows in same.items() if not rows[:compared].all()
    ]
    if wrong:
        row, name = min(wrong)
        return _differs(name, row, getattr(stored, name)[row], getattr(simulated, name)[row]), row
    if diverged <= length:
        before = max(gap[diverged - 1] if diverged else 0.0, FLOAT32_ROUNDING)
        suddenly = gap[diverged] > GROWTH * before
        if exact or diverged <= AGREEING_STEPS or suddenly:
            column = int(np.argmax(gaps[diverged]))
            values = (array[diverged, column] for array in (stored.observation, simulated.observation))
            why = "; too suddenly for rounding" if suddenly and not exact else ""
            return _differs(f"observation column {column}", diverged, *values) + why, compared
    if diverged > length and length < len(stored.reward):
        return f"goes on after step {length - 1}, where the simulator ends it", compared
    return None, compared


def _gap(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Elementwise distance, relative to 1 + abs(right)."""
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return np.asarray(np.abs(a - b) / (1.0 + np.abs(b)))


def _equal_steps(stored: Episode, simulated: Episode) -> int:
    """Number of steps whose rewards and next observation agree to the bit."""
    length = len(simulated.reward)
    observation = (stored.observation[1 : length + 1] == simulated.observation[1:]).all(axis=1)
    equal = observation & (stored.reward[:length] == simulated.reward)
    if stored.dense_reward is not None:
        equal &= stored.dense_reward[:length] == simulated.dense_reward
    return int(equal.sum())


def _differs(name: str, row: int, stored: Any, simulated: Any) -> str:
    recorded, given = (
        f"{value:.9g}" if isinstance(value, np.floating) else str(value) for value in (stored, simulated)
    )
    return f"{name}, row {row}, is {recorded}; the simulator gives {given}"
