"""The simulator of a declared family: a loop over Gymnasium environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, InvalidInputError, UnavailableError
from clwm_data.families.base import Task
from clwm_data.families.declared.declaration import FamilyDeclaration
from clwm_data.families.declared.environment import make_environment
from clwm_data.families.declared.seeds import folded
from clwm_data.families.declared.spaces import Translation, reward_of, solved, spaces_of
from clwm_data.families.simulation.rendering import Camera, render_model
from clwm_data.families.simulation.simulator import Simulator, StepResult
from clwm_data.functions import FOREIGN_ERRORS
from clwm_data.yaml_values import shown

#: Largest number of the type that observations and rewards are stored in.
LARGEST = float(np.finfo(np.float32).max)
#: For MuJoCo models without a camera.
CAMERA = Camera(target=(0.0, 0.0, 0.5), distance=4.0)


class EnvironmentSimulator(Simulator):
    """One environment per lane.

    Gymnasium has no way to read and set the state of an environment, but seed and actions determine an
    episode: the state of a lane is its history ``[seed, a_1, ..., a_t]``; setting a state simulates it again.
    """

    def __init__(
        self,
        family: str,
        source: str,
        tasks: Sequence[int],
        make: Sequence[Callable[[], gymnasium.Env[Any, Any]]],
        success: str | None,
    ) -> None:
        """A lane for each environment; all are closed if one cannot be made or used.

        Args:
            family: name of the family, for messages.
            source: what makes the environments, for messages.
            tasks: task index of each lane.
            make: makes the environment of each lane.
            success: key of ``info`` that says whether the task is solved.

        Raises:
            InvalidInputError: spaces that cannot be translated, or of different sizes.
        """
        self.tasks = np.asarray(tasks, np.int64)
        self._family, self._source, self._success = family, source, success
        with ExitStack() as opened:
            self._envs = [_opened(opened, call) for call in make]
            self._translations = self._translated()
            self._open = opened.pop_all()
        self.translation = self._translations[0]
        self._observation = np.zeros((len(tasks), self.translation.observation_size))
        self._seed = np.zeros(len(tasks), np.int64)
        self._history: list[list[NDArray[np.float64]]] = [[] for _ in tasks]

    def _translated(self) -> list[Translation]:
        # Each lane's own: the bounds of actions may differ between tasks.
        where = f"family {self._family}"
        translations = [Translation(*spaces_of(env, where), where) for env in self._envs]
        for task, other in zip(self.tasks, translations, strict=True):
            if other.sizes != translations[0].sizes:
                raise InvalidInputError(
                    f"family {self._family}: observations or actions of tasks {self.tasks[0]} and {task} "
                    "differ in size: one agent cannot act in both"
                )
        return translations

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """Start episodes; seeds are folded to 32 bits, since many environments take no more."""
        for lane, seed in zip(lanes.tolist(), seeds, strict=True):
            self._begin(lane, folded(seed))

    def _begin(self, lane: int, seed: int) -> None:
        try:
            begun: Any = self._envs[lane].reset(seed=seed)
            # An array of two numbers would unpack, too.
            if not isinstance(begun, tuple) or len(begun) != 2:
                raise InvalidInputError(
                    f"{self._step(lane, 0)}: reset() gives {shown(begun)}, expected (observation, info), as "
                    "Gymnasium has it"
                )
            self._see(lane, begun[0], 0)
        except ClwmError:
            raise
        except FOREIGN_ERRORS as error:
            raise self._failed(lane, "reset", error) from error
        self._seed[lane], self._history[lane] = seed, []

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """One step of each active environment."""
        reward = np.zeros(len(self._envs))
        terminated, truncated, success = np.zeros((3, len(self._envs)), np.bool_)
        for lane in np.flatnonzero(active).tolist():
            reward[lane], terminated[lane], truncated[lane], success[lane] = self._advance(lane, action[lane])
        return StepResult(reward, terminated, None if self._success is None else success, truncated)

    def _advance(self, lane: int, action: NDArray[np.float64]) -> tuple[float, bool, bool, bool]:
        key, number = self._success, len(self._history[lane]) + 1
        try:
            observation, reward, terminated, truncated, info = self._envs[lane].step(
                self._translations[lane].action(action)
            )
            result = reward_of(reward, self._step(lane, number)), bool(terminated), bool(truncated)
            self._see(lane, observation, number, result[0])
            success = key is not None and solved(info, key, self._step(lane, number))
        except ClwmError:
            raise
        except FOREIGN_ERRORS as error:
            raise self._failed(lane, "step", error) from error
        self._history[lane].append(np.array(action))
        return *result, success

    def _see(self, lane: int, observation: Any, step: int, reward: float = 0.0) -> None:
        """Take an observation.

        Raises:
            InvalidInputError: it has another size than its space, or it or the reward holds numbers that
                float32 does not.
        """
        flat, size = self._translations[lane].observation(observation), self.translation.observation_size
        if flat.shape != (size,):  # one number would be taken for all
            raise InvalidInputError(
                f"{self._step(lane, step)}: the size of the observation is {flat.size}, "
                f"that of its space {size}"
            )
        for name, values in (("observation", flat), ("reward", reward)):
            if not (np.abs(values) <= LARGEST).all():
                raise InvalidInputError(
                    f"{self._step(lane, step)}: the {name} holds a number that is not finite, or too large "
                    "for float32"
                )
        self._observation[lane] = flat

    def _step(self, lane: int, step: int) -> str:
        """How to name a step in messages."""
        return f"family {self._family}, task {self.tasks[lane]}: {self._source}: step {step}"

    def observe(self) -> NDArray[np.float64]:
        """Flattened observations [L, obs]."""
        return self._observation

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """Seed and actions of the episode so far [1 + t act]."""
        return np.concatenate([[float(self._seed[lane])], *self._history[lane]])

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """Simulate the episode that a seed and actions define."""
        self._begin(lane, int(state[0]))
        for action in state[1:].reshape(-1, self.translation.action_size):
            self._advance(lane, action)

    def render(self, lane: int) -> NDArray[np.uint8]:
        """The environment's own picture, or one of its MuJoCo model, which needs no window system."""
        inner: Any = self._envs[lane].unwrapped
        if hasattr(inner, "model") and hasattr(inner, "data") and hasattr(inner.model, "ncam"):
            return render_model(inner.model, inner.data, 0 if inner.model.ncam else CAMERA)
        try:
            picture = self._envs[lane].render()
        except NotImplementedError:  # as Gymnasium's own class has it
            picture = None
        except FOREIGN_ERRORS as error:
            raise self._failed(lane, "render", error) from error
        if not isinstance(picture, np.ndarray):
            raise NotImplementedError(f"{self._source} renders no picture (rgb_array)")
        return picture

    def close(self) -> None:
        """Close the environments."""
        self._open.close()

    def _failed(self, lane: int, method: str, error: BaseException) -> UnavailableError:
        return UnavailableError(
            f"family {self._family}, task {self.tasks[lane]}: {self._source}: {method} "
            f"failed: {type(error).__name__}: {' '.join(str(error).split())}"
        )


def _opened(opened: ExitStack, make: Callable[[], gymnasium.Env[Any, Any]]) -> gymnasium.Env[Any, Any]:
    env = make()
    opened.callback(env.close)
    return env


class DeclaredSimulator(EnvironmentSimulator):
    """The environments of a declared family."""

    def __init__(
        self, declaration: FamilyDeclaration, tasks: Sequence[Task], *, render_mode: str | None = None
    ) -> None:
        super().__init__(
            declaration.name,
            declaration.env,
            [task.index for task in tasks],
            [partial(make_environment, declaration, task, render_mode=render_mode) for task in tasks],
            declaration.success,
        )


def repeats(simulator: DeclaredSimulator, steps: int) -> bool:
    """Whether an episode with the same seed and random actions repeats bit for bit.

    Between the two another episode is run, which must not influence the second.
    """
    generator = np.random.default_rng(0)
    size = simulator.translation.action_size
    actions = generator.uniform(-1.0, 1.0, (steps, 1, size)).astype(np.float32).astype(np.float64)

    def episode(seed: int, reverse: bool = False) -> list[tuple[Any, ...]]:
        simulator.reset(np.zeros(1, np.int64), [seed])
        rows: list[tuple[Any, ...]] = [(simulator.observe().tobytes(),)]
        for action in actions[::-1] if reverse else actions:
            result = simulator.step(action, np.ones(1, np.bool_))
            ended = bool(result.terminated[0] or (result.truncated is not None and result.truncated[0]))
            rows.append((simulator.observe().tobytes(), result.reward.tobytes(), ended))
            if ended:
                break
        return rows

    first = episode(1)
    episode(2, reverse=True)
    return first == episode(1)
