"""Episodes as sequences of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clwm_data.behaviours.base import Observer, make_behaviour
from clwm_data.collection.plan import noise_generator
from clwm_data.errors import InvalidInputError, NotFoundError, UnavailableError
from clwm_data.families.base import SPLITS, TaskFamily
from clwm_data.manifest import LEARNED, BehaviourEntry
from clwm_data.preview.film import Clip, Film
from clwm_data.seeds import episode_seed
from clwm_data.store.arrays import Episode, TaskArrays, episode_return
from clwm_data.store.reader import Store
from clwm_data.zoo.shipped import shipped_folder

#: An episode of a task: its number, or the one with the highest or lowest return.
Choice = int | Literal["best", "worst"]

#: Quality of the best trained policy, per cent.
BEST = 100

#: Tasks of each split that are filmed unless others are named.
TASKS_PER_SPLIT = 3


@dataclass(frozen=True)
class Acted:
    """An episode that an agent acted, to be simulated again.

    Attributes:
        seed: seed of the environment's reset.
        actions: [n, act], what the agent chose.
        observations: [n + 1, obs], what it saw.
        episode_return: undiscounted.
    """

    seed: int
    actions: NDArray[np.float32]
    observations: NDArray[np.float32]
    episode_return: float


def preview_family(
    family: TaskFamily,
    tasks: Sequence[int] | None = None,
    *,
    behaviour: str | None = None,
    checkpoint: int | None = None,
    noise: float = 0.0,
    seed: int = 0,
    still: bool = False,
    on_progress: Callable[[], object] | None = None,
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
    on_progress: Callable[[], object] | None = None,
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
    film = Film(env, still)
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
    return film.clip(entry.label)


def clip_of_episode(
    family: TaskFamily, task: int, episode: Episode, label: str, *, still: bool = False
) -> Clip:
    """A stored episode, re-simulated; ``faithful`` is false if the observations differ from the stored ones.

    Raises:
        ClwmError: no such task, pictures cannot be made here, or ``initial_state`` is not a state of the
            family.
    """
    env = family.make_env(task, render_mode="rgb_array")
    film = Film(env, still)
    env.reset(seed=episode.seed)
    if episode.initial_state is None:
        raise UnavailableError(
            f"{family.name} task {task} {label}: cannot be re-simulated: it was recorded or converted "
            "without seeds and simulator states"
        )
    expected, stored = env.get_state().shape, episode.initial_state.shape
    if expected != stored:
        raise UnavailableError(
            f"{family.name} task {task} {label}: cannot be re-simulated: its simulator state has shape "
            f"{stored}, not {expected}: it was collected by another version"
        )
    seen = [env.set_state(episode.initial_state)]
    film.begin()
    film.act(episode.action, seen)
    env.close()
    return film.clip(
        label,
        known_return=episode_return(episode.reward),
        faithful=np.array_equal(np.asarray(seen), episode.observation),
    )


def clip_of_actions(family: TaskFamily, task: int, acted: Acted, label: str, *, still: bool = False) -> Clip:
    """An episode that an agent acted elsewhere, simulated again from its seed with the same actions.

    ``faithful`` is false if the observations differ from those that the agent saw.

    Raises:
        ClwmError: no such task, or pictures cannot be made here.
    """
    env = family.make_env(task, render_mode="rgb_array")
    film = Film(env, still)
    seen = [env.reset(seed=acted.seed)[0]]
    film.begin()
    film.act(family.executed(acted.actions), seen)
    env.close()
    return film.clip(
        label,
        known_return=acted.episode_return,
        faithful=np.array_equal(np.asarray(seen), acted.observations),
    )


def typical_tasks(family: TaskFamily, among: Sequence[int] | None = None) -> list[int]:
    """Up to three tasks of each split, evenly spread, in the order of the splits."""
    chosen: list[int] = []
    for split in SPLITS:
        members = [index for index in family.split(split) if among is None or index in among]
        places = np.linspace(0, len(members) - 1, min(TASKS_PER_SPLIT, len(members)))
        chosen += [members[round(place)] for place in places]
    return chosen


def _choose(arrays: TaskArrays, episode: Choice, where: str) -> int:
    if episode == "best":
        return int(np.argmax(arrays.episode_return))
    if episode == "worst":
        return int(np.argmin(arrays.episode_return))
    if not 0 <= episode < arrays.episodes:
        raise NotFoundError(f"{where}: has no episode {episode}: its episodes are 0 to {arrays.episodes - 1}")
    return episode
