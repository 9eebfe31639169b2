"""What the contextual DeepMind Control families share: models, initial states, speed reward, tasks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clwm_data.families.base import Task, TaskFamily, splits_of
from clwm_data.families.simulation.mujoco_models import compile_model, package_file
from clwm_data.families.simulation.mujoco_simulator import MujocoSimulator
from clwm_data.families.simulation.simulator import Simulator

BENCHMARK = "dm-control"
VALUE_AT_MARGIN = 0.1

Range = tuple[float, float]


class SpeedReward:
    """How near velocities come to targets, in [0, 1]: 1 at the target and beyond it, in its direction.

    dm_control's ``tolerance(sign * velocity, bounds=(speed, inf), margin=speed, value_at_margin=0.1,
    sigmoid="linear")``: it falls linearly to 0.1 at rest, and on to 0.
    """

    def __init__(self, targets: NDArray[np.float64]) -> None:
        speed = np.abs(targets)
        margin = np.maximum(speed, 1e-9)  # avoids a division by zero for a target of 0
        # 1 - (1 - value at margin) * (speed - sign * velocity) / margin, as intercept + slope * velocity
        self._intercept = 1.0 - (1.0 - VALUE_AT_MARGIN) * speed / margin
        self._slope = np.where(targets < 0.0, -1.0, 1.0) * (1.0 - VALUE_AT_MARGIN) / margin
        self._zero, self._one = np.zeros_like(speed), np.ones_like(speed)

    def __call__(self, velocity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards of velocities, in the shape of velocities and targets broadcast together."""
        linear = self._intercept + self._slope * velocity
        result: NDArray[np.float64] = np.minimum(np.maximum(linear, self._zero), self._one)
        return result


class DmControlSimulator(MujocoSimulator):
    """Lanes that begin and step as the suite's environments do, with an action repeat of 2.

    Args:
        targets: [L] signed target speeds.
    """

    observes_derived = True
    #: ``mj_step`` calls per control step; an agent step is two control steps, whose rewards are summed.
    substeps: ClassVar[int]

    def __init__(
        self, tasks: Sequence[int], models: Sequence[Any], targets: NDArray[np.float64], *, threads: int = 1
    ) -> None:
        super().__init__(tasks, models, threads=threads)
        #: [2, L] velocities after the two control steps of an agent step.
        self._velocities = np.zeros((2, len(tasks)))
        self._first, self._second = self._velocities
        self._speed_reward = SpeedReward(np.stack([targets, targets]))
        self._reward_across = SpeedReward(targets[:, None, None])
        #: [L, L] 0 where two lanes have the same model, else NaN.
        self._different_models = np.asarray(
            [[0.0 if one is other else np.nan for other in models] for one in models]
        )

    def begin_episode(self, model: Any, data: Any, seed: int) -> None:
        """As the suite's ``initialize_episode`` with a ``RandomState`` over ``MT19937(seed)``.

        (``RandomState(seed)`` takes 32 bits only; the bit generator spreads any seed by a ``SeedSequence``.)
        """
        random = np.random.RandomState(np.random.MT19937(seed))
        # dm_control disables actuators in the forward passes of a reset.
        actuation = int(self._mujoco.mjtDisableBit.mjDSBL_ACTUATION)
        model.opt.disableflags |= actuation
        try:
            self._mujoco.mj_forward(model, data)
            self.randomise(model, data, random)
            self._mujoco.mj_forward(model, data)
        finally:
            model.opt.disableflags &= ~actuation

    def step_reward(self, speed_reward: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reward of an agent step [..., L] from the speed rewards after its two control steps [..., 2, L]."""
        reward: NDArray[np.float64] = speed_reward[..., 0, :] + speed_reward[..., 1, :]
        return reward

    def rewards_across(self) -> NDArray[np.float64]:
        """See :meth:`clwm_data.families.simulation.simulator.Simulator.rewards_across`."""
        rewards: NDArray[np.float64] = (
            self._different_models + self.step_reward(self._reward_across(self._velocities)).T
        )
        return rewards

    @abstractmethod
    def randomise(self, model: Any, data: Any, random: np.random.RandomState) -> None:
        """Draw the initial state, with actuators disabled."""


def randomise_joints(model: Any, data: Any, random: np.random.RandomState) -> None:
    """dm_control's ``randomize_limited_and_rotational_joints`` for models of hinges and slides.

    Limited joints are drawn uniformly from their range, unlimited hinges from [-pi, pi].
    """
    hinge = 3  # mjJNT_HINGE
    for joint in range(model.njnt):
        if model.jnt_limited[joint]:
            data.qpos[joint] = random.uniform(*model.jnt_range[joint])
        elif model.jnt_type[joint] == hinge:
            data.qpos[joint] = random.uniform(-np.pi, np.pi)


class DmControlFamily(TaskFamily):
    """A domain of the suite whose tasks have a target speed, and possibly a limb of another length."""

    benchmark = BENCHMARK
    horizon = 500
    file: ClassVar[str]
    simulator: ClassVar[type[DmControlSimulator]]
    units = MappingProxyType({"speed": "m/s", "length": "m"})
    tracked = "speed"
    velocity_entry: ClassVar[int]

    def reached(self, observations: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Mean [...], over episodes [..., T + 1, obs], of the velocity that has the target speed."""
        return np.asarray(np.mean(observations[..., 1:, self.velocity_entry], axis=-1, dtype=np.float64))

    @abstractmethod
    def parameters(self) -> Iterable[dict[str, float]]:
        """``speed`` and, where it varies, ``length`` of each task."""

    @staticmethod
    def set_length(spec: Any, length: float) -> None:
        """Change the varying length in the domain's ``MjSpec``."""
        raise NotImplementedError

    def list_tasks(self) -> Iterable[Task]:
        """Every third of the first 30 tasks is id (1, 4, ..., 28); tasks from 30 on are ood."""
        parameters = list(self.parameters())
        splits = splits_of(
            [index for index in range(30) if index % 3 != 1], range(1, 30, 3), range(30, len(parameters))
        )
        return (Task(index, splits[index], values) for index, values in enumerate(parameters))

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """One model for each length."""
        chosen = [self.task(task) for task in tasks]
        lengths = [task.parameters.get("length") for task in chosen]
        models = {length: self.load_model(length, render_mode) for length in set(lengths)}
        targets = np.asarray([task.number("speed") for task in chosen])
        return self.simulator(tasks, [models[length] for length in lengths], targets, threads=threads)

    def load_model(self, length: Any, render_mode: str | None = None) -> Any:
        """The domain's ``MjModel``, with another length unless that is ``None``.

        Raises:
            MissingExtraError: dm_control or MuJoCo is not installed.
        """
        path = package_file("dm_control", "suite", self.file, family=self.name)

        def edit(spec: Any) -> None:
            if length is not None:
                self.set_length(spec, length)

        return compile_model(path, family=self.name, textures=render_mode is not None, edit=edit)


def speeds(inner: Sequence[Range], ood: Sequence[Range]) -> Iterable[dict[str, float]]:
    """10 speeds evenly spaced in each inner range, then 5 in each range that is out of distribution."""
    for ranges, count in ((inner, 10), (ood, 5)):
        for low, high in ranges:
            yield from ({"speed": float(speed)} for speed in np.linspace(low, high, count))


def speeds_and_lengths(
    inner: tuple[Range, Range], ood: Sequence[tuple[Range, Range]]
) -> Iterable[dict[str, float]]:
    """A grid of 6 speeds x 5 lengths between the inner bounds, then 2 x 2 out-of-distribution values each.

    The length varies fastest.
    """
    train = (np.linspace(*inner[0], 6).tolist(), np.linspace(*inner[1], 5).tolist())
    for speeds, lengths in (train, *ood):
        yield from ({"speed": speed, "length": length} for speed, length in product(speeds, lengths))
