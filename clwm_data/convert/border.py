"""Checks of foreign episodes: each error names the dataset, the episode and the step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clwm_data.convert.seeming import one_hot_rows
from clwm_data.convert.source import ForeignTask, RawEpisode
from clwm_data.errors import InvalidInputError
from clwm_data.families import TaskFamily
from clwm_data.pages.numbers import plural
from clwm_data.store.arrays import Episode, TaskArrays, one_hot
from clwm_data.store.format import MOST_ACTIONS
from clwm_data.store.stored_task import StoredTask
from clwm_data.yaml_values import shown

#: Actions may exceed their bounds by this share of the range: bounds are float64, actions float32.
ROUNDING = 1e-5
LARGEST = float(np.finfo(np.float32).max)
#: How the bounds of actions and the number of discrete ones are given, on the command line and in Python.
SAY_BOUNDS = "--action-bounds LOW,HIGH; in Python action_bounds=(low, high)"
SAY_COUNT = "--discrete-actions N; in Python action_bounds=N"


class Border:
    """Checks every episode of a source, and that its tasks fit together.

    Args:
        family: the family of the tasks; ``None`` if unknown here: the first episode gives the sizes.
        horizon: most steps of an episode of a family that is not known here; ``None``: any number.
    """

    def __init__(self, family: TaskFamily | None, horizon: int | None = None) -> None:
        self._horizon = horizon if family is None else family.horizon
        self._horizon_of = "--horizon" if family is None else f"family {family.name}"
        self._widths: dict[str, int] = {}
        self._expected_by = "the first episode"
        if family is not None:
            self._widths = {"observation": family.observation_size, "action": family.action_size}
            self._expected_by = f"family {family.name}"
        #: Whether all episodes have it; ``None``: the first one tells.
        self._has: dict[str, bool | None] = {
            "success": None if family is None or family.has_success else False,
            "dense_reward": None if family is None or family.has_dense_reward else False,
        }
        self._discrete: bool | None = None if family is None else family.discrete

    def admit(self, task: ForeignTask) -> TaskArrays:
        """All episodes of a task: float32, actions in [-1, 1].

        Raises:
            InvalidInputError: an episode is invalid; dataset, episode and step are named.
        """
        episodes = [
            self.episode(f"{task.name}: episode {number}", raw, task.action_bounds)
            for number, raw in enumerate(task.episodes())
        ]
        if not episodes:
            raise InvalidInputError(f"{task.name}: holds no episodes")
        return TaskArrays.from_episodes(episodes)

    def expect(self, task: StoredTask, by: str) -> None:
        """Have the sizes given by data that is there already.

        Args:
            task: any of its tasks.
            by: how to name the data in messages.
        """
        self._widths = {"observation": task.observation_size, "action": task.action_size}
        self._has = {name: name in task.arrays for name in self._has}
        self._discrete = task.record.discrete_actions is not None
        self._expected_by = by

    def episode(
        self, where: str, raw: RawEpisode, bounds: tuple[ArrayLike, ArrayLike] | int | None
    ) -> Episode:
        """An episode, checked: float32, actions scaled from their bounds to [-1, 1].

        Args:
            where: how to name it in messages.
            raw: what its source has.
            bounds: as of :class:`~clwm_data.convert.source.ForeignTask`.

        Raises:
            InvalidInputError: something is wrong with it; then it gives no sizes to those that follow.
        """
        before = dict(self._widths), dict(self._has), self._discrete
        try:
            return self._checked(where, raw, bounds)
        except InvalidInputError:
            self._widths, self._has, self._discrete = before
            raise

    def _checked(
        self, where: str, raw: RawEpisode, bounds: tuple[ArrayLike, ArrayLike] | int | None
    ) -> Episode:
        if bounds is None and self._discrete and _is_of_discrete(raw.action, self._widths["action"]):
            bounds = self._widths["action"]  # it is known of how many actions
        bounds = _checked_bounds(where, bounds)
        observation = self._rows(where, "observation", raw.observation)
        discrete = self._is_discrete(where, bounds)
        action = self._rows(where, "action", _vectors(where, raw.action, bounds))
        steps = len(action)
        if steps == 0:
            raise InvalidInputError(f"{where}: has no steps")
        if self._horizon is not None and steps > self._horizon:
            raise InvalidInputError(
                f"{where}: has {plural(steps, 'step')}, {self._horizon_of} ends after {self._horizon}"
            )
        if len(observation) != steps + 1:
            raise InvalidInputError(
                f"{where}: has {plural(len(observation), 'observation')} and {plural(steps, 'action')}: "
                "there must be one observation more than actions, the one after the last step"
            )
        terminated = _flags(where, "terminated", raw.terminated, steps)
        truncated = np.zeros(steps, np.bool_)
        if raw.truncated is not None:
            truncated = _flags(where, "truncated", raw.truncated, steps) & ~terminated
        for name, flags in (("terminated", terminated), ("truncated", truncated)):
            if flags[:-1].any():
                raise InvalidInputError(
                    f"{where}: step {int(np.argmax(flags))}: is {name}, but the episode goes on to step "
                    f"{steps - 1}"
                )
        success = self._all_or_none(where, "success", raw.success)
        dense = self._all_or_none(where, "dense_reward", raw.dense_reward)
        return Episode(
            observation=observation,
            action=action if isinstance(bounds, int) else _scaled(where, action, bounds),
            reward=_reward(where, "reward", raw.reward, steps),
            terminated=terminated,
            truncated=truncated,
            success=None if success is None else _flags(where, "success", success, steps),
            dense_reward=None if dense is None else _reward(where, "dense reward", dense, steps),
            # Seeds and states of another program's reset would not give the same episode in ours.
            initial_state=None,
            seed=None,
            behaviour=0,
            discrete=discrete,
        )

    def _is_discrete(self, where: str, bounds: tuple[ArrayLike, ArrayLike] | int | None) -> bool:
        discrete = isinstance(bounds, int)
        if self._discrete is None:
            self._discrete = discrete
        if self._discrete != discrete:
            kinds = ("discrete", "vectors")
            this, others = kinds if discrete else kinds[::-1]
            raise InvalidInputError(f"{where}: its actions are {this}, those of {self._expected_by} {others}")
        return discrete

    def _rows(self, where: str, name: str, values: ArrayLike) -> NDArray[np.float32]:
        rows = _numbers(where, name, values)
        if rows.ndim == 1:  # a number per step is a vector of one entry
            rows = rows[:, None]
        if rows.ndim != 2:
            raise InvalidInputError(
                f"{where}: {name}: has shape {list(rows.shape)}, expected one vector per step: flatten it, "
                "or give features of pictures"
            )
        width = self._widths.setdefault(name, rows.shape[1])
        if rows.shape[1] != width or width == 0:
            raise InvalidInputError(
                f"{where}: {name}: has {plural(rows.shape[1], 'entry')}, {self._expected_by} has {width}"
            )
        return _finite(where, name, rows)

    def _all_or_none(self, where: str, name: str, values: ArrayLike | None) -> ArrayLike | None:
        """The same values, which all episodes have, or none."""
        given = values is not None
        if self._has[name] is None:
            self._has[name] = given
        if self._has[name] != given:
            words = name.replace("_", " ")
            this = f"a {words}" if given else f"no {words}"
            family = self._expected_by.startswith("family")
            source = f"{self._expected_by} has" if family else "episodes before it have"
            none = " none" if given else ""
            raise InvalidInputError(f"{where}: has {this}, {source}{none}: all episodes or none must have it")
        return values


def _checked_bounds(
    where: str, bounds: tuple[ArrayLike, ArrayLike] | int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | int | None:
    if bounds is None:
        return None
    if isinstance(bounds, int | np.integer | np.bool_):
        if isinstance(bounds, bool | np.bool_) or not 1 <= bounds <= MOST_ACTIONS:
            raise InvalidInputError(
                f"{where}: action: there can be 1 to {MOST_ACTIONS:,} discrete actions, not {bounds}"
            )
        return int(bounds)
    try:
        low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in bounds)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{where}: action: its bounds are {shown(bounds)}, not lowest and highest values"
        ) from error
    return low, high


def _is_of_discrete(action: ArrayLike, count: int) -> bool:
    """Whether actions have the form of ``count`` discrete ones: a number per step, or one-hot."""
    array = np.asarray(action)
    if array.ndim == 2 and array.shape[1] == count > 1:
        return bool(one_hot_rows(array).all())
    return array.ndim == 1 or array.shape[1:] == (1,)


def _vectors(where: str, action: ArrayLike, bounds: tuple[ArrayLike, ArrayLike] | int | None) -> ArrayLike:
    """Actions [n, act]; numbers [n] of ``bounds`` discrete actions become one-hot."""
    array = np.asarray(action)
    if not isinstance(bounds, int):
        if array.dtype.kind in "iub" and (array.ndim == 1 or array.shape[1:] == (1,)):
            raise InvalidInputError(
                f"{where}: action: holds one whole number per step: say how many discrete actions there are "
                f"({SAY_COUNT}), or write numbers with a decimal point"
            )
        return action
    if array.ndim == 2 and array.shape[1] == bounds and bounds > 1:
        wrong = ~one_hot_rows(array)
        if wrong.any():
            raise InvalidInputError(f"{where}: step {int(np.argmax(wrong))}: action is not one-hot")
        return array
    numbers = _column(where, "action", array, len(array) if array.ndim else 0)
    wrong = (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= bounds)
    if wrong.any():
        step = int(np.argmax(wrong))
        raise InvalidInputError(
            f"{where}: step {step}: action is {numbers[step]}, expected a whole number from 0 to {bounds - 1}"
        )
    return one_hot(numbers.astype(np.int64), bounds)


def _numbers(where: str, name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{where}: {name}: holds {array.dtype}, not real numbers")
    return array


def _column(where: str, name: str, values: ArrayLike, steps: int) -> NDArray[Any]:
    """One number per step, [n]; the column may come as [n, 1]."""
    array = _numbers(where, name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (steps,):
        raise InvalidInputError(
            f"{where}: {name}: has shape {list(array.shape)}, the actions have {plural(steps, 'step')}"
        )
    return array


def _reward(where: str, name: str, values: ArrayLike, steps: int) -> NDArray[np.float32]:
    return _finite(where, name, _column(where, name, values, steps))


def _flags(where: str, name: str, values: ArrayLike, steps: int) -> NDArray[np.bool_]:
    array = _column(where, name, values, steps)
    wrong = ~((array == 0) | (array == 1))
    if wrong.any():
        step = int(np.argmax(wrong))
        raise InvalidInputError(f"{where}: step {step}: {name} is {array[step]}, expected 0 or 1")
    return array.astype(np.bool_)


def _finite(where: str, name: str, array: NDArray[Any]) -> NDArray[np.float32]:
    wrong = ~(np.abs(array.astype(np.float64)) <= LARGEST)
    if wrong.any():
        step = int(np.argmax(wrong.reshape(len(array), -1).any(axis=1)))
        value = array[step].reshape(-1)[np.argmax(wrong[step].reshape(-1))]
        raise InvalidInputError(
            f"{where}: step {step}: {name} holds {value}, expected finite numbers within float32's range"
        )
    return array.astype(np.float32)


def _scaled(
    where: str, action: NDArray[np.float32], bounds: tuple[NDArray[np.float64], NDArray[np.float64]] | None
) -> NDArray[np.float32]:
    """Actions scaled from their bounds to [-1, 1]; an entry whose bounds are equal becomes 0."""
    ones = np.ones(action.shape[1])
    low, high = (-ones, ones) if bounds is None else bounds
    if low.size == high.size == 1:  # the same for all entries
        low, high = low * ones, high * ones
    if low.shape != ones.shape or high.shape != ones.shape:
        raise InvalidInputError(f"{where}: action: has {plural(len(ones), 'entry')}, its bounds {len(low)}")
    with np.errstate(over="ignore", invalid="ignore"):
        extents = high - low
    if (low > high).any():
        entry = int(np.argmax(low > high))
        raise InvalidInputError(
            f"{where}: action: entry {entry} has the bounds [{low[entry]:g}, {high[entry]:g}]: name the "
            f"lowest value first ({SAY_BOUNDS})"
        )
    if not np.isfinite(extents).all():
        raise InvalidInputError(
            f"{where}: action: has no finite bounds: they cannot be scaled to [-1, 1]: name those that they "
            f"keep to ({SAY_BOUNDS})"
        )
    slack = ROUNDING * np.maximum(high - low, np.abs(high))
    wrong = (action < low - slack) | (action > high + slack)
    if wrong.any():
        step = int(np.argmax(wrong.any(axis=1)))
        entry = int(np.argmax(wrong[step]))
        hint = f": say from where they are scaled ({SAY_BOUNDS})" if bounds is None else ""
        if hint and action.shape[1] == 1 and ((action >= 0) & (action == np.floor(action))).all():
            hint += f", or how many discrete actions there are ({SAY_COUNT})"
        raise InvalidInputError(
            f"{where}: step {step}: action entry {entry} is {action[step, entry]:g}, outside its bounds "
            f"[{low[entry]:g}, {high[entry]:g}]{hint}"
        )
    extent = np.where(high > low, high - low, 1.0)
    scaled = np.where(high > low, (action.astype(np.float64) - low) / extent * 2.0 - 1.0, 0.0)
    return np.asarray(np.clip(action if bounds is None else scaled, -1.0, 1.0), np.float32)
