"""A training run: learn, evaluate and keep the policy at intervals, choose checkpoints at the end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from stable_baselines3.common.utils import ConstantSchedule

from clwm_data.behaviour_training.crossq import LEARNING_STARTS, make_crossq, policy_tensors
from clwm_data.behaviour_training.export import Measured, write_zoo
from clwm_data.behaviour_training.folder import RunFolder
from clwm_data.behaviour_training.pool import Pool
from clwm_data.behaviour_training.settings import CurvePoint, RunDescription, TrainingSettings
from clwm_data.behaviour_training.snapshot import load_snapshot, save_snapshot
from clwm_data.behaviour_training.vec_env import TaskConditionedVecEnv, can_relabel
from clwm_data.compiler import decide
from clwm_data.errors import ConflictError, DamagedDataError, InvalidInputError
from clwm_data.families import get_family
from clwm_data.ranges import format_indices
from clwm_data.store.lock import locked
from clwm_data.store.provenance import package_versions
from clwm_data.zoo.card import conditioning_record
from clwm_data.zoo.evaluation import PolicyEvaluator
from clwm_data.zoo.policy import LearnedPolicy

#: Environment steps between two updates of the progress bar.
CHUNK = 400

#: Number of updates from which runs are compiled: what compiling takes the first time is then gained twice.
WORTHWHILE = 20_000

#: Episodes between two log lines of the library.
NEVER = 2**62

#: Called with (environment steps so far, the last evaluation).
CurveCallback = Callable[[int, CurvePoint], None]


def train(
    settings: TrainingSettings,
    folder: RunFolder,
    *,
    steps: int,
    checkpoints: int,
    resume: bool = False,
    compiled: bool | None = None,
    on_progress: CurveCallback | None = None,
    measured: Measured | None = None,
) -> Path:
    """Train a task-conditioned policy and write its best checkpoints as a zoo folder.

    An interrupted run continues from its last evaluation with ``resume``; it is not bit-identical to an
    uninterrupted one, since unfinished episodes are started again. A finished run can be made longer.
    (Eight parameters: all but the first four are optional.)

    Args:
        settings: what to learn.
        folder: where; must be new unless ``resume``.
        steps: total number of environment steps.
        checkpoints: how many policies to choose, at least 2.
        resume: continue the run in ``folder``.
        compiled: whether the updates are compiled first; ``None``: :func:`decide_compiled` decides.
        on_progress: called often.
        measured: called with the number of policies measured so far, while checkpoints are chosen.

    Returns:
        the zoo folder.

    Raises:
        ClwmError: the folder holds another run, there is none to resume, the family cannot relabel, or
            nothing can be compiled here.
    """
    _check(settings, folder, resume)
    if compiled is None:
        compiled = decide_compiled(settings, folder, steps, resume=resume)
    with locked(folder.path):
        folder.sweep()
        if not resume:
            folder.begin(_description(settings, compiled))
        with multiplying_fast():
            run = _Run(settings, folder, resume, compiled)
            try:
                run.learn(steps, on_progress)
            finally:
                run.close()
        write_zoo(Pool([folder]), folder.zoo, checkpoints, measured)
    return folder.zoo


def decide_compiled(
    settings: TrainingSettings,
    folder: RunFolder,
    steps: int,
    *,
    resume: bool = False,
    requested: bool | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> bool:
    """Whether the updates of a run are compiled: as requested, else as the run was begun, else if that pays
    off and is possible (:func:`clwm_data.compiler.decide`).

    Args:
        settings: of the run.
        folder: of the run.
        steps: total number of environment steps.
        resume: the run is continued.
        requested: yes or no.
        warn: called with messages about the decision.

    Raises:
        ClwmError: nothing can be compiled here, or there is no run to resume.
    """
    begun = folder.read_description().compiled if resume else None
    return decide(requested, updates(settings, steps), torch.device("cpu"), warn, begun, WORTHWHILE)


@contextmanager
def multiplying_fast() -> Iterator[None]:
    """Matrix products in bfloat16 if the CPU has units for it; learning tolerates the rounding."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _check(settings: TrainingSettings, folder: RunFolder, resume: bool) -> None:
    if settings.relabelled and not can_relabel(get_family(settings.family), settings.tasks):
        raise InvalidInputError(
            f"{settings.family}: no two of the tasks differ in the reward alone, or it cannot tell the "
            f"rewards of other tasks: leave relabelling out (--relabelled 0)"
        )
    if not resume:
        if folder.path.exists() and any(folder.path.iterdir()):
            raise ConflictError(
                f"{folder.path}: is not empty: --resume the run there, or choose another --out"
            )
        return
    begun = folder.read_description().settings
    for name, value in settings.model_dump().items():
        has = getattr(begun, name)
        if name == "tasks":
            has, value = format_indices(has), format_indices(value)
        if has != value:
            raise ConflictError(
                f"{folder.path}: was begun with {name} {has}, not {value}: resume it with --{name} {has}"
            )


def updates(settings: TrainingSettings, steps: int) -> int:
    """Gradient steps of a run of so many environment steps."""
    return max(0, steps - LEARNING_STARTS) // settings.environments * settings.updates


def _description(settings: TrainingSettings, compiled: bool) -> RunDescription:
    family = get_family(settings.family)
    learner = {name: version(name) for name in ("torch", "stable-baselines3", "sb3-contrib")}
    return RunDescription(
        settings=settings,
        observation_size=family.observation_size,
        action_size=family.action_size,
        conditioning=conditioning_record(family),
        packages={**package_versions(), **learner},
        compiled=compiled,
    )


class _Run:
    def __init__(self, settings: TrainingSettings, folder: RunFolder, resume: bool, compiled: bool) -> None:
        family = get_family(settings.family)
        resume = resume and folder.snapshot.is_file()  # a run can be stopped before it has one
        self._folder = folder
        self._seed = settings.seed
        self._learning_rate = settings.learning_rate
        self._minutes = 0.0
        done = _evaluated(folder) if resume else 0
        # Other episodes than before the interruption, but the same whenever the run is resumed from here.
        self._env = TaskConditionedVecEnv(
            family, settings.tasks, settings.environments, seed=[settings.seed, done]
        )
        self._learner = make_crossq(
            self._env,
            seed=settings.seed + done,
            buffer_size=settings.buffer,
            learning_rate=settings.learning_rate,
            updates=settings.updates,
            relabelled=settings.relabelled,
            compiled=compiled,
        )
        self._evaluate = PolicyEvaluator(family, settings.tasks)
        if resume:
            self._minutes = load_snapshot(folder.snapshot, self._learner)
            folder.drop_after(self._learner.num_timesteps)
        else:
            folder.curve.unlink(missing_ok=True)  # left by a run that was stopped before its first snapshot
        self._start = time.monotonic()

    def learn(self, steps: int, on_progress: CurveCallback | None) -> None:
        """Learn until ``steps`` environment steps are reached."""
        done = self._learner.num_timesteps
        point = self._evaluation() if done == 0 else self._folder.read_curve()[-1]
        due = next_evaluation(done)
        if on_progress is not None:
            on_progress(done, point)
        while done < steps:
            until = min(due, steps)
            rate = learning_rate(self._learning_rate, done / steps)
            self._learner.lr_schedule = ConstantSchedule(rate)
            self._learner.learn(min(CHUNK, until - done), log_interval=NEVER, reset_num_timesteps=False)
            done = self._learner.num_timesteps
            if done >= until:
                point = self._evaluation()
                due = next_evaluation(done)
            if on_progress is not None:
                on_progress(done, point)

    def _evaluation(self) -> CurvePoint:
        """Evaluate the current policy, and save it and the learner's state."""
        done = self._learner.num_timesteps
        tensors = policy_tensors(self._learner.actor)
        returns = self._evaluate(LearnedPolicy(tensors), episodes=1, seed=self._seed)[0]
        point = CurvePoint(
            environment_steps=done,
            minutes=round(self._minutes + (time.monotonic() - self._start) / 60.0, 3),
            returns_stochastic=returns[0].tolist(),
            returns_deterministic=returns[1].tolist(),
        )
        self._folder.add(point, tensors)
        save_snapshot(self._folder.snapshot, self._learner, point.minutes)
        return point

    def close(self) -> None:
        """Release the simulators."""
        self._env.close()
        self._evaluate.close()


def next_evaluation(done: int) -> int:
    """Environment steps of the next evaluation: frequent at first, then every 5 %."""
    return done + max(1_000, done // 20)


def learning_rate(initial: float, progress: float) -> float:
    """Constant for half of the run, then decreasing to a twentieth, so that the policy settles.

    Args:
        initial: learning rate of the first half.
        progress: share of the run that is done, in [0, 1].
    """
    return initial * min(1.0, 1.0 - 0.95 * (2.0 * progress - 1.0))


def _evaluated(folder: RunFolder) -> int:
    curve = folder.read_curve()
    if not curve:
        raise DamagedDataError(
            f"{folder.curve}: holds no evaluation: restore it, or remove {folder.snapshot.name}, and "
            f"--resume starts again from the first step"
        )
    return curve[-1].environment_steps
