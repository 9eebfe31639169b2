"""Filming an episode while it is simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.families.base import Task, TaskFamily
from clwm_data.functions import FOREIGN_ERRORS, in_short
from clwm_data.store.arrays import episode_return

if TYPE_CHECKING:
    from clwm_data.families.envs import TaskEnv

Picture = NDArray[np.uint8]

MAX_PICTURES = 60  # per episode, not counting its last step
HIGHEST = 2  # times its width, what is drawn of a picture: environments of others may give a column of pixels


@dataclass(frozen=True)
class Clip:
    """Pictures of one episode.

    Attributes:
        task: the task of the episode.
        label: which episode, or which behaviour.
        pictures: [n][height, width, 3], at equal distances from step 0 on, and at the end; a still clip has
            only the last one.
        steps: length of the episode.
        episode_return: undiscounted; for a stored episode, the return of the stored rewards.
        success: whether any step was a success; ``None`` where the family has no success.
        normalised_return: 0: random actions, 1: the expert; ``None`` where the family has no references.
        faithful: the re-simulation of a stored episode reproduced the stored observations.
    """

    task: Task
    label: str
    pictures: Sequence[Picture]
    steps: int
    episode_return: float
    success: bool | None
    normalised_return: float | None = None
    faithful: bool = True


def drawn_size(picture: Picture, width: int) -> tuple[int, int]:
    """Width and height of a picture that is drawn ``width`` wide, or less where it would be too high."""
    its_height, its_width = picture.shape[:2]
    height, highest = round(width * its_height / its_width), HIGHEST * width
    if height <= highest:
        return width, max(1, height)
    return max(1, round(highest * its_width / its_height)), highest


class Film:
    """Collects the pictures, rewards and successes of an episode while it runs.

    Args:
        env: environment with ``render_mode="rgb_array"``.
        still: keep only the picture at the end.
    """

    def __init__(self, env: TaskEnv, still: bool) -> None:
        self._env = env
        self._still = still
        self._stride = -(-env.family.horizon // MAX_PICTURES)
        self._pictures: list[Picture] = []
        self._rewards: list[float] = []
        self._success: bool | None = None

    def begin(self) -> None:
        """Take the first picture; of a still clip only to see that pictures can be made."""
        self._take()
        if self._still:
            self._pictures.clear()

    def _take(self) -> None:
        family = self._env.family.name
        try:
            picture = self._env.render()
        except ClwmError:
            raise
        except NotImplementedError as error:
            raise UnavailableError(f"family {family} cannot be drawn: {error}") from error
        except FOREIGN_ERRORS as error:
            raise UnavailableError(
                f"family {family} cannot be drawn: its render() fails: {in_short(error)}"
            ) from error
        if not _is_picture(picture):
            raise UnavailableError(
                f"family {family} cannot be drawn: its environment renders no picture [height, width, 3] of "
                "bytes"
            )
        self._pictures.append(picture)

    def add(self, reward: float, success: bool | None, *, ended: bool) -> None:
        """Called after every step with its reward and success."""
        self._rewards.append(reward)
        if success is not None:
            self._success = bool(self._success) or success
        if ended or (not self._still and len(self._rewards) % self._stride == 0):
            self._take()

    def act(self, actions: NDArray[np.float32], seen: list[NDArray[np.float32]]) -> None:
        """Take actions [n, act] until the last one or the end of the episode; appends the observations."""
        for step, action in enumerate(actions):
            observation, reward, terminated, truncated, info = self._env.step(action)
            seen.append(observation)
            ended = terminated or truncated or step == len(actions) - 1
            self.add(reward, info.get("success"), ended=ended)
            if ended:
                break

    def clip(self, label: str, *, known_return: float | None = None, faithful: bool = True) -> Clip:
        """The clip of the episode; ``known_return`` replaces the sum of the simulated rewards."""
        family, task = self._env.family, self._env.task
        total = episode_return(np.asarray(self._rewards, np.float32))
        shown = total if known_return is None else known_return
        known = family.has_references
        return Clip(
            task=task,
            label=label,
            pictures=self._pictures,
            steps=len(self._rewards),
            episode_return=shown,
            success=self._success,
            normalised_return=float(family.normalised_return(task.index, shown)) if known else None,
            faithful=faithful,
        )


def _is_picture(value: object) -> TypeGuard[Picture]:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and value.ndim == 3
        and value.shape[2] == 3
        and value.size > 0
    )


def check_drawable(family: TaskFamily, task: int) -> None:
    """Check that pictures of a task can be made here; call it before computing anything.

    Raises:
        UnavailableError: they cannot; the message says why.
        ClwmError: no such task, or its environment cannot be made.
    """
    env = family.make_env(task, render_mode="rgb_array")
    env.reset(seed=0)
    Film(env, still=True).begin()
    env.close()


def frames(clips: Sequence[Clip]) -> Iterator[list[Picture]]:
    """The pictures of all clips, moment by moment; a clip that has ended keeps showing its last picture."""
    for moment in range(max(len(clip.pictures) for clip in clips)):
        yield [clip.pictures[min(moment, len(clip.pictures) - 1)] for clip in clips]
