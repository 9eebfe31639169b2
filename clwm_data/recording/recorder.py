"""The recorder: whole episodes of one task, from environments that others step or from logs."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from clwm_data.convert.border import ROUNDING, Border
from clwm_data.convert.seeming import Distinct
from clwm_data.convert.source import RawEpisode
from clwm_data.disk import disk_errors
from clwm_data.errors import ConflictError, InvalidInputError
from clwm_data.extras import require
from clwm_data.families import TaskFamily, get_family, is_family
from clwm_data.families.base import Parameters, Split, with_lists
from clwm_data.families.declared import DeclaredFamily
from clwm_data.families.declared.reading import is_family_file, load_family
from clwm_data.families.own_family import checked_parameters
from clwm_data.functions import in_short
from clwm_data.paths import dataset_name, target_path
from clwm_data.recording.session import Session, SessionFolder
from clwm_data.recording.taking_in import (
    check_family_name,
    check_licence,
    sessions_lock,
    store_at,
    take_in,
    take_in_left_by_others,
)
from clwm_data.store.provenance import current_provenance
from clwm_data.store.reader import Store
from clwm_data.strict import first_mistake

if TYPE_CHECKING:
    from clwm_data.recording.environments import Stream

#: Lowest and highest value of each entry of an action.
Bounds = tuple[ArrayLike, ArrayLike]
Environment = TypeVar("Environment")


class Recorder:
    """Records episodes of one task into a store, which is made if it does not exist.

    An episode is on the disk from the moment it ends, and in the store when the block ends or
    :meth:`flush` is called. A process that is killed loses the episodes under way only: the next recorder of
    the store takes in the others, or :func:`clwm_data.recover_recording`. Several may record at once.

    Who ends an episode from outside, by ``reset`` or by leaving the block, truncates it at its last step (as
    Minari's data collector does); an error inside the block drops the episodes under way.

    Attributes:
        success: key of an environment's ``info`` that says whether a step succeeded: the one that the family
            declares, or ``success``.

    Example::

        with Recorder("mine.zarr", task=3, parameters={"mass": 1.5}, split="train") as r:
            env = r.wrap(gymnasium.make("Pendulum-v1"))
    """

    def __init__(
        self,
        path: Path | str,
        *,
        task: int,
        parameters: Parameters | None = None,
        split: Split | None = None,
        family: str | None = None,
        policy: str = "unknown",
        session: Mapping[str, str] | None = None,
    ) -> None:
        """A recorder; nothing is written before an episode is whole.

        Args:
            path: folder of the store.
            task: index of the task.
            parameters: of the task: numbers, or tuples of numbers; by default those that the store or the
                family has, or none.
            split: of the task; by default that of the store or the family, or ``train``.
            family: name of the task family, or path of the YAML file that declares it; by default that of the
                store, or the name of its folder.
            policy: name of what acts.
            session: notes for people: ``who`` (becomes an author), ``what`` (becomes a part of the
                description), ``licence`` (SPDX identifier), and any others.

        Raises:
            InvalidInputError: an argument cannot be used.
        """
        if isinstance(task, bool) or not isinstance(task, int | np.integer) or not 0 <= task < 10**9:
            raise InvalidInputError(f"{path}: a task is a whole number from 0, not {task!r}")
        if split is not None and split not in get_args(Split):
            raise InvalidInputError(f"{path}: {split!r} is not one of {', '.join(get_args(Split))}")
        self._place = target_path(path)
        self._task, self._split, self._family = int(task), split, family
        self._parameters = None if parameters is None else checked_parameters(str(path), parameters)
        self._policy, self._notes = policy, dict(session or {})
        self._border, self._distinct = Border(None), Distinct()
        self.success = "success"
        self._folder: SessionFolder | None = None
        self._streams: list[Stream] = []

    def __enter__(self) -> Recorder:
        """Begin the session.

        Raises:
            ConflictError: the store has this task with another split or other parameters, or another family.
            InvalidInputError: an argument cannot be used.
            UnavailableError: the disk is write-protected.
        """
        with sessions_lock(self._place) as folder:
            take_in_left_by_others(self._place)
            session = self._described(store_at(self._place))
            check_family_name(self._place, session)
            name = f"session-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
            self._folder = SessionFolder.begin(folder, name, session)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the session: all whole episodes go into the store, also after an error in the block."""
        folder = self._session()
        try:
            if kind is None:
                for stream in self._streams:
                    stream.cut()
            self.flush()
        except BaseException:
            folder.release()
            raise
        finally:
            self._folder = None
        with disk_errors(self._place, "the store is complete"), sessions_lock(self._place):
            folder.remove()
        if (remark := self._distinct.remark(str(self._place))) is not None:
            warnings.warn(remark, stacklevel=2)

    @property
    def episodes(self) -> int:
        """Whole episodes of this session."""
        return len(self._session())

    def wrap(self, env: Environment) -> Environment:
        """The same Gymnasium environment, single or vector, whose episodes are recorded.

        Actions of a Box are scaled from its bounds to [-1, 1], discrete ones are stored as numbers from 0,
        observations are flattened. ``info["success"]`` (or what the family declares as ``success``) is
        recorded where every step has it. Of vector environments every lane is an episode of the task,
        whatever the mode of autoreset: no step that only resets is recorded.

        Raises:
            InvalidInputError: no environment, or one whose spaces cannot be stored.
            MissingExtraError: Gymnasium is not installed.
        """
        require("gymnasium", "sim", "recording an environment")
        from clwm_data.recording.environments import recording

        wrapped, streams = recording(env, self, str(self._place))
        self._streams += streams
        return wrapped  # type: ignore[no-any-return]

    def add_episode(
        self,
        observation: ArrayLike,
        action: ArrayLike,
        reward: ArrayLike,
        *,
        terminated: ArrayLike = False,
        truncated: ArrayLike | None = None,
        success: ArrayLike | None = None,
        next_observation: ArrayLike | None = None,
        action_bounds: Bounds | int | None = None,
    ) -> None:
        """Record a whole episode of n steps, e.g. from the log of a robot.

        (Eight parameters: each is an array of the episode, or says how to read one.)

        Args:
            observation: [n + 1, obs], the one after the last step included; [n, obs] with
                ``next_observation``.
            action: [n, act], or the numbers [n], from 0, of discrete actions.
            reward: [n].
            terminated: whether the last step ended the task, or [n] flags.
            truncated: the same for ends from outside; by default the last step, unless it terminated.
            success: [n] flags.
            next_observation: [n, obs]: each but the last must be the next row of ``observation``.
            action_bounds: lowest and highest value of each action entry, which become -1 and 1; by default
                actions are in [-1, 1] already. A number: how many discrete actions there are.

        Raises:
            InvalidInputError: the episode cannot be stored; episode and step are named.
            UnavailableError: the disk is full.
        """
        folder = self._session()
        where = f"{self._place}: task {self._task}: episode {len(folder)} of this session"
        actions, rewards = _array(where, "action", action), np.atleast_1d(_array(where, "reward", reward))
        steps = len(actions) if actions.ndim else 0
        ended = _flags(_array(where, "terminated", terminated), steps)
        if truncated is None:
            truncated = not ended[-1:].any()
        raw = RawEpisode(
            observation=_continuous(where, _array(where, "observation", observation), next_observation),
            action=actions,
            reward=rewards,
            terminated=ended,
            truncated=_flags(_array(where, "truncated", truncated), steps),
            success=None if success is None else _array(where, "success", success),
        )
        episode = self._border.episode(where, raw, action_bounds)
        if action_bounds is None and not episode.discrete:
            self._distinct.add(episode.action)
        else:
            self._distinct.said()
        with disk_errors(self._place, "episodes before this one are kept"):
            folder.add(episode)

    def flush(self) -> None:
        """Put all episodes that are whole into the store, and go on.

        Raises:
            ConflictError: another process writes to the store; the episodes are kept for later.
            UnavailableError: the disk is full; the episodes are kept for later.
        """
        folder = self._session()
        if len(folder):
            with sessions_lock(self._place):
                take_in(self._place, [folder])

    def _session(self) -> SessionFolder:
        if self._folder is None:
            raise InvalidInputError(
                f"{self._place}: the recorder is not in use: record inside of `with Recorder(...) as r:`"
            )
        return self._folder

    def _described(self, store: Store | None) -> Session:
        """The session, as far as the arguments and the store tell; what they contradict is refused."""
        check_licence(store, self._notes)
        family, known = self._known_family(store)
        if store is not None and family != store.family:
            raise ConflictError(f"{self._place}: is of family {store.family}, not {family}")
        split: Split = self._split or "train"
        parameters: Parameters = self._parameters or {}
        if known is not None:
            task = known.task(self._task)
            split, parameters = task.split, task.parameters
            self._same(f"family {family}", task.split, dict(task.parameters))
        self._border, self._distinct = Border(known), Distinct()
        if known is not None:
            self._distinct.said()
        if isinstance(known, DeclaredFamily):
            self.success = known.declaration.success or self.success
        if store is not None and len(store):
            first = store[self._task if self._task in store else next(iter(store.tasks))]
            if self._task in store:
                split, parameters = first.split, first.parameters
                self._same("the store", first.split, dict(first.parameters))
            if "episode_seed" in first.arrays and self._task in store:
                raise ConflictError(
                    f"{self._place}: task {self._task} was collected with seeds, recorded episodes have "
                    "none: record to another store"
                )
            self._border.expect(first, "the store")
        try:
            return Session(
                family=family,
                declared_family=known.resolved() if isinstance(known, DeclaredFamily) else None,
                task=self._task,
                split=split,
                parameters=with_lists(parameters),
                policy=self._policy,
                notes=self._notes,
                provenance=current_provenance(),
            )
        except ValidationError as error:
            raise InvalidInputError(f"{self._place}: {first_mistake(error)}") from error

    def _known_family(self, store: Store | None) -> tuple[str, TaskFamily | None]:
        if self._family is not None and is_family_file(self._family):
            declared = load_family(self._family)
            return declared.name, declared
        if store is not None:
            return self._family or store.family, store.known_family
        name = self._family or dataset_name(self._place, "recorded")
        if not is_family(name):
            return name, None
        if self._family is None:
            raise InvalidInputError(
                f"{self._place}: {name} is the name of a task family: give family={name!r} if its tasks are "
                "recorded, or another name"
            )
        return name, get_family(name)

    def _same(self, owner: str, split: Split, parameters: Mapping[str, Any]) -> None:
        if self._split not in (None, split):
            raise ConflictError(
                f"{self._place}: task {self._task} is in split {split} in {owner}, not {self._split}"
            )
        if self._parameters is not None and self._parameters != parameters:
            raise ConflictError(
                f"{self._place}: task {self._task} has the parameters {parameters} in {owner}, not "
                f"{self._parameters}"
            )


def _flags(array: NDArray[Any], steps: int) -> NDArray[Any]:
    """[n] flags; a single one is that of the last step."""
    return np.where(np.arange(steps) == steps - 1, array, 0) if array.ndim == 0 else array


def _array(where: str, name: str, values: ArrayLike) -> NDArray[Any]:
    if np.ma.is_masked(values):
        raise InvalidInputError(f"{where}: {name}: has masked values: fill them, or leave the episode out")
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise InvalidInputError(f"{where}: {name}: its rows differ in length") from error
    except (RuntimeError, TypeError) as error:  # tensors of a graph, or of another device
        raise InvalidInputError(f"{where}: {name}: {in_short(error)}") from error


def _continuous(where: str, rows: NDArray[Any], following: ArrayLike | None) -> NDArray[Any]:
    """[n + 1, obs] of rows and of those that follow them.

    Raises:
        InvalidInputError: a row is not what followed the one before it.
    """
    if following is None:
        return rows
    after = _array(where, "next_observation", following)
    rows, after = (part[:, None] if part.ndim == 1 else part for part in (rows, after))
    if rows.ndim != 2 or rows.shape != after.shape or not len(rows):
        raise InvalidInputError(
            f"{where}: next_observation has shape {list(after.shape)}, observation {list(rows.shape)}: "
            "both must have one row per step"
        )
    gaps = np.abs(rows[1:].astype(np.float64) - after[:-1]) > ROUNDING * (1.0 + np.abs(after[:-1]))
    if gaps.any():
        step = int(np.argmax(gaps.any(axis=1)))
        raise InvalidInputError(
            f"{where}: step {step + 1}: does not begin where step {step} led to (observation entry "
            f"{int(np.argmax(gaps[step]))}): rows are missing, or this is another episode"
        )
    return np.concatenate([rows, after[-1:]])
