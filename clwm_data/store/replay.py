"""Re-simulation: do the stored seeds, initial states and actions give the stored observations and rewards?

The one check that digests cannot make: a store whose values were edited and whose digests were mended still
differs from what its simulator says. Bits are compared where the simulator is the one that collected
(package versions and machine type in the provenance). Elsewhere rounding differs, and a chaotic simulation
multiplies it: an episode is then compared, within a tolerance, for as long as its observations agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.provenance import simulator_differences
from clwm_data.store.reader import Store, open_local
from clwm_data.store.soundness import Finding
from clwm_data.store.stored_task import StoredTask

if TYPE_CHECKING:
    from clwm_data.families.vector_env import TaskVectorEnv


#: Relative to 1 + abs(value), where bits need not agree.
OBSERVATION_TOLERANCE = 1e-5
REWARD_TOLERANCE = 1e-4
#: Two simulators that differ in rounding only agree at least this long.
AGREEING_STEPS = 5


@dataclass(frozen=True)
class ReplayReport:
    """What re-simulation found.

    Attributes:
        findings: differences between the store and its simulator; empty when there are none.
        episodes: re-simulated.
        steps: compared; fewer than the episodes have where rounding made them part.
        differences: why bits were not compared (versions, machine); empty when they were.
        from_states: episodes began in the stored simulator states; else with their seeds alone.
    """

    findings: list[Finding]
    episodes: int
    steps: int
    differences: tuple[str, ...]
    from_states: bool = True

    def __str__(self) -> str:
        start = "" if self.from_states else " from seeds and actions"
        done = f"re-simulated {self.episodes} episodes, {self.steps:,} steps{start}"
        if not self.differences:
            return f"{done}: compared bit for bit"
        return (
            f"{done}: compared within {REWARD_TOLERANCE:g} (rewards) and {OBSERVATION_TOLERANCE:g} "
            f"(observations), since the simulator differs: {'; '.join(self.differences)}"
        )


def replay(path: Path | str, episodes: int, progress: Callable[[int], object] | None = None) -> ReplayReport:
    """Re-simulate episodes of every task and compare them with what is stored.

    Args:
        path: the store; see :func:`clwm_data.store.validate.validate` for its other checks.
        episodes: per task, spread evenly from the first to the last.
        progress: called after each task with its index.

    Raises:
        ClwmError: no such store, its family or simulator is not here, or it holds no simulator states.
    """
    if episodes < 1:
        raise ClwmError(f"the number of episodes to re-simulate must be at least 1, not {episodes}")
    store = open_local(Path(path))
    if store.known_family is None:
        raise ClwmError(f"{path}: its family {store.family} is not known here: it cannot be re-simulated")
    if not store.known_family.deterministic:
        raise UnavailableError(
            f"{path}: the environments of {store.family} are recorded as not deterministic: episodes do not "
            "follow from their seeds and actions, and cannot be re-simulated"
        )
    differences = simulator_differences(store.provenance)
    report = ReplayReport([], 0, 0, differences, from_states=store.known_family.has_states)
    for index, task in store.tasks.items():
        findings, count, steps = _replay_task(store, task, episodes, exact=not differences)
        report = replace(
            report,
            findings=report.findings + findings,
            episodes=report.episodes + count,
            steps=report.steps + steps,
        )
        if progress is not None:
            progress(index)
    return report


def _replay_task(
    store: Store, task: StoredTask, episodes: int, *, exact: bool
) -> tuple[list[Finding], int, int]:
    """Findings, episodes and steps compared of one task."""
    where = f"{store.path}: task {task.index}"
    arrays = task.load()
    if arrays.episode_seed is None or arrays.episode_initial_state is None:
        raise ClwmError(f"{where}: holds no seeds and simulator states: it cannot be re-simulated")
    chosen = np.unique(
        np.linspace(0, arrays.episodes - 1, min(episodes, arrays.episodes)).round().astype(int)
    )
    lanes = min(len(chosen), store.task_family.lanes)
    env = store.task_family.make_vec_env([task.index] * lanes)
    findings: list[Finding] = []
    steps = 0
    try:
        for first in range(0, len(chosen), lanes):
            numbers = chosen[first : first + lanes].tolist()
            for number, simulated in zip(numbers, _simulate(env, arrays, numbers), strict=True):
                finding, compared = _compare(arrays.episode(number), simulated, exact)
                steps += compared
                if finding is not None:
                    findings.append(Finding(f"{where}: episode {number}", finding))
    finally:
        env.close()
    return findings, len(chosen), steps


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
    steps: list[tuple[NDArray[Any], ...]] = []  # reward, terminated, truncated, success, active: [L] each
    for actions in action:
        active = env.active
        observation, reward, terminated, truncated, info = env.step(actions)
        observations.append(observation)
        steps.append((reward, terminated, truncated, info.get("success", active), active))
    reward, terminated, truncated, success, active = map(np.stack, zip(*steps, strict=True))
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
            )
        )
    return results


def _compare(stored: Episode, simulated: Episode, exact: bool) -> tuple[str | None, int]:
    """The first difference in words, or ``None``; and the number of steps that were compared."""
    tolerance = 0.0 if exact else OBSERVATION_TOLERANCE
    there, here = stored.initial_state, simulated.initial_state
    if there is None or here is None or there.shape != here.shape or not _agree(there, here, tolerance).all():
        return f"its initial state is not the one that seed {stored.seed} gives", 0
    length = len(simulated.reward)
    agree = _agree(stored.observation[: length + 1], simulated.observation, tolerance).all(axis=1)
    parted = length + 1 if agree.all() else int(np.argmin(agree))  # row of the first observation that differs
    compared = max(0, parted - 1)  # transitions that lead to observations that agree
    same = {"reward": _agree(stored.reward[:length], simulated.reward, 0.0 if exact else REWARD_TOLERANCE)}
    for name in ("terminated", "truncated", "success"):
        if getattr(stored, name) is not None:
            same[name] = getattr(stored, name)[:length] == getattr(simulated, name)
    wrong = [
        (int(np.argmin(rows[:compared])), name) for name, rows in same.items() if not rows[:compared].all()
    ]
    if wrong:
        row, name = min(wrong)
        return _differs(name, row, getattr(stored, name)[row], getattr(simulated, name)[row]), row
    if parted <= length and (exact or parted <= AGREEING_STEPS):
        column = int(np.argmin(_agree(stored.observation[parted], simulated.observation[parted], tolerance)))
        values = (array[parted, column] for array in (stored.observation, simulated.observation))
        return _differs(f"observation column {column}", parted, *values), compared
    if parted > length and length < len(stored.reward):
        return f"goes on after step {length - 1}, where the simulator ends it", compared
    return None, compared


def _agree(left: NDArray[Any], right: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return np.asarray(np.abs(a - b) <= tolerance * (1.0 + np.abs(b)))


def _differs(name: str, row: int, stored: Any, simulated: Any) -> str:
    there, here = (
        f"{value:.9g}" if isinstance(value, np.floating) else str(value) for value in (stored, simulated)
    )
    return f"{name}, row {row}, is {there}; the simulator gives {here}"
