"""Episodes as sequences of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviours.base import Observer, make_behaviour
from clwm_data.collection.plan import noise_generator
from clwm_data.errors import InvalidInputError, NotFoundError, UnavailableError
from clwm_data.families.base import SPLITS, Task, TaskFamily
from clwm_data.manifest import LEARNED, BehaviourEntry
from clwm_data.seeds import episode_seed
from clwm_data.store.arrays import Episode, TaskArrays, episode_return
from clwm_data.store.reader import Store
from clwm_data.zoo.shipped import shipped_folder

if TYPE_CHECKING:
    from clwm_data.families.envs import TaskEnv

Picture = NDArray[np.uint8]
ProgressCallback = Callable[[], object]

#: An episode of a task: its number, or the one with the highest or lowest return.
Choice = int | Literal["best", "worst"]

#: Quality of the best trained policy, per cent.
BEST = 100

MAX_PICTURES = 60  # per episode, not counting its last step


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
        faithful: the re-simulation of a stored episode reproduced the stored observations.
    """

    task: Task
    label: str
    pictures: Sequence[Picture]
    steps: int
    episode_return: float
    success: bool | None
    faithful: bool = True


def preview_family(
    family: TaskFamily,
    tasks: Sequence[int] | None = None,
    *,
    behaviour: str | None = None,
    checkpoint: int | None = None,
    noise: float = 0.0,
    seed: int = 0,
    still: bool = False,
    on_progress: ProgressCallback | None = None,
) -> list[Clip]:
    """One episode of each task.

    (Eight parameters: three of them describe the policy as a manifest does.)

    Args:
        family: the family.
        tasks: task indices; by default up to three of each split.
        behaviour: one of ``family.behaviours``, or ``learned``; :func:`default_behaviour` by default.
        checkpoint: quality of the trained policy, in per cent; the best one by default.
        noise: standard deviation of Gaussian noise on the actions.
        seed: the episodes' seeds derive from it.
        still: take only the picture at the end of each episode.
        on_progress: called after each episode.

    Raises:
        InvalidInputError: no such task or behaviour.
        UnavailableError: pictures cannot be made here.
    """
    policy = behaviour or default_behaviour(family)
    learned = policy == LEARNED
    entry = BehaviourEntry(
        policy=policy,
        checkpoint=BEST if learned and checkpoint is None else checkpoint,
        deterministic=learned,
        noise=noise,
        episodes=1,
    )
    chosen = typical_tasks(family) if tasks is None else tasks
    if (mistake := entry.mistake(family, chosen)) is not None:
        raise InvalidInputError(f"{mistake[0]}: {mistake[1]}")
    clips = []
    for task in chosen:
        clips.append(clip_of_behaviour(family, task, entry, seed, still=still))
        if on_progress is not None:
            on_progress()
    return clips


def default_behaviour(family: TaskFamily) -> str:
    """The best behaviour that a family has: its script, else its trained policies, else random actions."""
    if "scripted" in family.behaviours:
        return "scripted"
    return "random" if shipped_folder(family) is None else LEARNED


def preview_store(
    store: Store,
    tasks: Sequence[int] | None = None,
    *,
    episode: Choice = "best",
    still: bool = False,
    on_progress: ProgressCallback | None = None,
) -> list[Clip]:
    """One stored episode of each task, re-simulated from its initial state with its actions.

    Args:
        store: the store.
        tasks: task indices; by default up to three of each split.
        episode: which episode of each task.
        still: take only the picture at the end of each episode.
        on_progress: called after each episode.

    Raises:
        ClwmError: no such task or episode, an unreadable array, or pictures cannot be made here.
    """
    family = store.task_family
    family.require_gymnasium()
    clips = []
    for index in typical_tasks(family, list(store.tasks)) if tasks is None else tasks:
        if index not in store.tasks:
            raise NotFoundError(f"{store.path}: holds no task {index}")
        arrays = store.tasks[index].load()
        number = _choose(arrays, episode, f"{store.path} task {index}")
        stored = arrays.episode(number)
        clips.append(clip_of_episode(family, index, stored, f"episode {number}", still=still))
        if on_progress is not None:
            on_progress()
    return clips


def clip_of_behaviour(
    family: TaskFamily, task: int, entry: BehaviourEntry, seed: int, *, still: bool = False
) -> Clip:
    """An episode of a task, acted by a behaviour; the same seed gives the same episode."""
    behaviour = make_behaviour(family, task, entry)
    own_seed = episode_seed(seed, family.name, task, 0)
    noise = behaviour.draw(noise_generator(own_seed))
    env = family.make_env(task, render_mode="rgb_array")
    film = _Film(env, still)
    observation, info = env.reset(seed=own_seed)
    film.begin()
    for step in range(family.horizon):
        privileged = info.get("privileged")
        proposed = behaviour.act(
            observation[None], None if privileged is None else privileged[None], noise[step][None]
        )
        action = family.executed(np.clip(proposed[0], -1.0, 1.0).astype(np.float32))
        before = observation
        observation, reward, terminated, truncated, info = env.step(action)
        if isinstance(behaviour, Observer):
            behaviour.observe(0, before, action, float(np.float32(reward)), observation)
        film.add(reward, info.get("success"), ended=terminated or truncated)
        if terminated or truncated:
            break
    env.close()
    return film.clip(family.task(task), entry.label)


def clip_of_episode(
    family: TaskFamily, task: int, episode: Episode, label: str, *, still: bool = False
) -> Clip:
    """A stored episode, re-simulated; ``faithful`` is false if the observations differ from the stored ones.

    Raises:
        ClwmError: no such task, pictures cannot be made here, or ``initial_state`` is no state of the family.
    """
    env = family.make_env(task, render_mode="rgb_array")
    film = _Film(env, still)
    env.reset(seed=episode.seed)
    if episode.initial_state is None:
        raise UnavailableError(
            f"{family.name} task {task} {label}: cannot be re-simulated: it was converted from a format "
            "without simulator states"
        )
    expected, stored = env.get_state().shape, episode.initial_state.shape
    if expected != stored:
        raise UnavailableError(
            f"{family.name} task {task} {label}: cannot be re-simulated: its simulator state has shape "
            f"{stored}, not {expected}: it was collected by another version"
        )
    seen = [env.set_state(episode.initial_state)]
    film.begin()
    for step, action in enumerate(episode.action):
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append(observation)
        ended = terminated or truncated or step == len(episode.action) - 1
        film.add(reward, info.get("success"), ended=ended)
        if ended:
            break
    env.close()
    return film.clip(
        family.task(task),
        label,
        stored_return=episode_return(episode.reward),
        faithful=np.array_equal(np.asarray(seen), episode.observation),
    )


def typical_tasks(family: TaskFamily, among: Sequence[int] | None = None, each: int = 3) -> list[int]:
    """Up to ``each`` tasks of each split, evenly spread, in the order of the splits."""
    chosen: list[int] = []
    for split in SPLITS:
        members = [index for index in family.split(split) if among is None or index in among]
        places = np.linspace(0, len(members) - 1, min(each, len(members)))
        chosen += [members[round(place)] for place in places]
    return chosen


class _Film:
    """Collects the pictures, rewards and successes of an episode while it runs."""

    def __init__(self, env: TaskEnv, still: bool) -> None:
        self._env = env
        self._still = still
        self._stride = -(-env.family.horizon // MAX_PICTURES)
        self._pictures: list[Picture] = []
        self._rewards: list[float] = []
        self._success: bool | None = None

    def begin(self) -> None:
        if not self._still:
            self._take()

    def _take(self) -> None:
        try:
            picture = self._env.render()
        except NotImplementedError as error:
            raise UnavailableError(f"family {self._env.family.name} cannot be drawn: {error}") from error
        if picture is not None:
            self._pictures.append(picture)

    def add(self, reward: float, success: bool | None, *, ended: bool) -> None:
        self._rewards.append(reward)
        if success is not None:
            self._success = bool(self._success) or success
        if ended or (not self._still and len(self._rewards) % self._stride == 0):
            self._take()

    def clip(
        self, task: Task, label: str, *, stored_return: float | None = None, faithful: bool = True
    ) -> Clip:
        total = episode_return(np.asarray(self._rewards, np.float32))
        return Clip(
            task=task,
            label=label,
            pictures=self._pictures,
            steps=len(self._rewards),
            episode_return=total if stored_return is None else stored_return,
            success=self._success,
            faithful=faithful,
        )


def _choose(arrays: TaskArrays, episode: Choice, where: str) -> int:
    if episode == "best":
        return int(np.argmax(arrays.episode_return))
    if episode == "worst":
        return int(np.argmin(arrays.episode_return))
    if not 0 <= episode < arrays.episodes:
        raise NotFoundError(f"{where}: has no episode {episode}: its episodes are 0 to {arrays.episodes - 1}")
    return episode


def frames(clips: Sequence[Clip]) -> Iterator[list[Picture]]:
    """The pictures of all clips, moment by moment; a clip that has ended keeps showing its last picture."""
    for moment in range(max(len(clip.pictures) for clip in clips)):
        yield [clip.pictures[min(moment, len(clip.pictures) - 1)] for clip in clips]
