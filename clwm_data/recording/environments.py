"""Environments whose episodes are recorded while others step them (extra ``sim``)."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate
from gymnasium.wrappers import Autoreset
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.families.declared.spaces import Translation, reward_of, spaces_of, success_of
from clwm_data.pages.numbers import plural

if TYPE_CHECKING:
    from clwm_data.recording.recorder import Recorder


class Stream:
    """What one environment, or one lane of a vector environment, does: one episode after another.

    Attributes:
        running: an episode is under way.
        ended: the last step ended an episode, and nothing was reset since.
    """

    def __init__(self, recorder: Recorder, translation: Translation, where: str) -> None:
        self.running = self.ended = False
        self._recorder = recorder
        self._translation = translation
        self._where = where
        self._observations: list[NDArray[np.float64]] = []
        self._steps: list[tuple[NDArray[np.float64], float, bool | None]] = []

    @property
    def success(self) -> str:
        """Key of ``info`` that says whether a step succeeded."""
        return self._recorder.success

    def begin(self, observation: Any) -> None:
        """An episode begins; one that is under way is cut."""
        try:
            self.cut()
        finally:
            self._observations, self._steps = [self._vector(observation)], []
            self.running, self.ended = True, False

    def step(
        self,
        action: Any,
        observation: Any,
        reward: Any,
        terminated: bool,
        truncated: bool,
        success: Any,
    ) -> None:
        """A step of the episode under way, which it may end; ``success`` is ``None`` where it is not known.

        Raises:
            InvalidInputError: the episode cannot be stored; it is dropped.
        """
        try:
            where = f"{self._where}: step {len(self._steps)}"
            solved = None if success is None else success_of(success, f"{where}: success")
            self._steps.append((self._translation.vector(action), reward_of(reward, where), solved))
            self._observations.append(self._vector(observation))
        except ClwmError:
            self.drop()
            raise
        if terminated or truncated:
            self.ended = True
            self._finish(terminated)

    def cut(self) -> None:
        """The episode under way ends here, from outside; one without a step is none."""
        running, self.running = self.running, False
        if running and self._steps:
            self._finish(False)

    def drop(self) -> None:
        """The episode under way is not recorded: nobody knows what happened in it."""
        self.running = False

    def _finish(self, terminated: bool) -> None:
        self.running = False
        actions, rewards, successes = zip(*self._steps, strict=True)
        self._recorder.add_episode(
            np.stack(self._observations),
            np.stack(actions),
            np.array(rewards),
            terminated=terminated,
            success=None if None in successes else np.array(successes),
            action_bounds=self._translation.bounds,
        )

    def _vector(self, observation: Any) -> NDArray[np.float64]:
        try:
            vector = self._translation.observation(observation)
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise InvalidInputError(
                f"{self._where}: step {len(self._steps)}: the observation is none of the environment's space"
            ) from error
        if len(vector) != self._translation.observation_size:
            raise InvalidInputError(
                f"{self._where}: step {len(self._steps)}: the observation has "
                f"{plural(len(vector), 'entry')}, its space {self._translation.observation_size}"
            )
        return vector.copy()


class RecordingEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A single environment; what it returns is not changed."""

    def __init__(self, env: gymnasium.Env[Any, Any], stream: Stream, where: str) -> None:
        super().__init__(env)
        self._stream = stream
        self._where = where
        self._resets_itself = _resets_itself(env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """As the environment; begins an episode."""
        observation, info = super().reset(seed=seed, options=options)
        self._stream.begin(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment.

        Raises:
            InvalidInputError: no episode is under way, or the one that ended cannot be stored.
        """
        stream = self._stream
        if not stream.running and not (stream.ended and self._resets_itself):
            why = "the episode has ended" if stream.ended else "no episode is under way"
            raise InvalidInputError(f"{self._where}: {why}: call reset() before step()")
        begins, given = not stream.running, deepcopy(action)  # the environment may change it in its place
        try:
            observation, reward, terminated, truncated, info = super().step(action)
        except BaseException:
            stream.drop()
            raise
        if begins:
            stream.begin(observation)
        else:
            success = info.get(stream.success)
            stream.step(given, observation, reward, bool(terminated), bool(truncated), success)
        return observation, reward, terminated, truncated, info


class RecordingVectorEnv(gymnasium.vector.VectorWrapper):
    """A vector environment; what it returns is not changed."""

    def __init__(self, env: gymnasium.vector.VectorEnv[Any, Any, Any], streams: list[Stream]) -> None:
        super().__init__(env)
        self._streams = streams
        self._mode = AutoresetMode(env.metadata["autoreset_mode"])

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment; begins an episode in every lane, or in those of ``options["reset_mask"]``."""
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))).copy()
        observations, infos = super().reset(seed=seed, options=options)
        rows = list(iterate(self.observation_space, observations))
        for lane in np.flatnonzero(mask):
            self._streams[lane].begin(rows[lane])
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """As the environment.

        Raises:
            InvalidInputError: an episode that ended cannot be stored.
        """
        given = deepcopy(list(iterate(self.action_space, actions)))
        try:
            observations, rewards, terminated, truncated, infos = super().step(actions)
        except BaseException:
            for stream in self._streams:
                stream.drop()
            raise
        rows = list(iterate(self.observation_space, observations))
        refused: ClwmError | None = None
        for lane, stream in enumerate(self._streams):
            ends = bool(terminated[lane] or truncated[lane])
            resets = ends and self._mode == AutoresetMode.SAME_STEP
            if stream.running:
                final = infos["final_info"] if resets and "final_info" in infos else infos
                try:
                    stream.step(
                        given[lane],
                        infos["final_obs"][lane] if resets else rows[lane],
                        rewards[lane],
                        bool(terminated[lane]),
                        bool(truncated[lane]),
                        _success(final, stream.success, lane),
                    )
                except ClwmError as error:  # no other lane shall miss this step
                    refused = refused or error
            elif stream.ended and self._mode == AutoresetMode.NEXT_STEP:
                stream.begin(rows[lane])  # this step has reset the lane, and executed nothing
            else:
                stream.ended = ends  # of an episode that was dropped
            if resets:
                stream.begin(rows[lane])
        if refused is not None:
            raise refused
        return observations, rewards, terminated, truncated, infos


def recording(env: Any, recorder: Recorder, where: str) -> tuple[Any, list[Stream]]:
    """An environment, wrapped, and its streams.

    Raises:
        InvalidInputError: it is none, does not say how it resets itself, or its spaces cannot be stored.
    """
    if isinstance(env, gymnasium.vector.VectorEnv):
        if "autoreset_mode" not in env.metadata:
            raise InvalidInputError(
                f"{where}: {env}: does not say how its lanes are reset: set metadata['autoreset_mode']"
            )
        translation = Translation(env.single_observation_space, env.single_action_space, where)
        streams = [Stream(recorder, translation, f"{where}: lane {lane}") for lane in range(env.num_envs)]
        return RecordingVectorEnv(env, streams), streams
    if not isinstance(env, gymnasium.Env):
        raise InvalidInputError(f"{where}: {env!r} is not a Gymnasium environment")
    stream = Stream(recorder, Translation(*spaces_of(env, where), where), where)
    return RecordingEnv(env, stream, where), [stream]


def _resets_itself(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether a step after an episode's end resets."""
    while not isinstance(env, Autoreset):
        if not isinstance(env, gymnasium.Wrapper):
            return False
        env = env.env
    return True


def _success(infos: dict[str, Any], key: str, lane: int) -> Any:
    """Whether a lane's step succeeded, where it says so."""
    if key not in infos or (f"_{key}" in infos and not infos[f"_{key}"][lane]):
        return None
    return infos[key][lane]
