"""The agent for users: adapt it to a task, act with the adapted policy, let it observe the outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from clwm_data.errors import InvalidInputError
from clwm_data.families.stored import NO_TASK
from clwm_data.pages.numbers import plural
from clwm_data.store.arrays import Episode, TaskArrays
from clwm_train.acting.belief import zero_prior
from clwm_train.model.agent import Agent

Floats = NDArray[np.float32]
#: Number of transitions that are embedded at once.
CHUNK = 2**16
#: By how much an action may exceed its bounds: they are float64, actions float32.
ROUNDING = 1e-5


class StoredTask(Protocol):
    """The part of a stored task that adapting needs."""

    def load(self) -> TaskArrays:
        """All its episodes."""


Transitions = TaskArrays | Episode | StoredTask | Sequence[Episode]


class AdaptiveAgent(Agent):
    """An agent that adapts to a task, given transitions::

    policy = agent.adapt(store.tasks[7])
    action = policy.act(observation)

    Attributes:
        discrete: actions are discrete; the agent gives a number for each, of which the largest counts.
    """

    discrete = False

    def adapt(self, transitions: Transitions | None = None, *, seed: int | None = None) -> AdaptedPolicy:
        """The policy for the task of some transitions, all of which have the same weight.

        Args:
            transitions: a task's arrays, an episode or several, or a stored task, as a store holds them;
                ``None``: nothing is known of the task yet (zero-shot: pass what happens to
                :meth:`AdaptedPolicy.observe`).
            seed: seed of the agent that acts; the first by default.

        Raises:
            InvalidInputError: no such seed, no transitions, or arrays that do not fit the agent.
        """
        if seed is not None and seed not in self.seeds:
            raise InvalidInputError(
                f"the agent has no seed {seed}: its seeds are {', '.join(map(str, self.seeds))}"
            )
        row = 0 if seed is None else self.seeds.index(seed)
        if self.known_z([0]) is not None:  # the agent is given its tasks' parameters
            index = getattr(transitions, "index", None)
            if not isinstance(index, int):
                raise InvalidInputError(
                    "the agent is told the parameters of its task (context.source: parameters): adapt it to "
                    "a stored task, whose index it can look up"
                )
            return AdaptedPolicy(self, row, self._told(index))
        policy = AdaptedPolicy(self, row)
        if transitions is None:
            return policy
        episodes = list(_episodes(transitions))
        if not sum(len(episode.reward) for episode in episodes):
            raise InvalidInputError("there are no transitions to adapt to: give some, or none at all (None)")
        for episode in episodes:
            policy.observe(episode.observation[:-1], episode.action, episode.reward, episode.observation[1:])
        return policy

    def _told(self, index: int) -> torch.Tensor | None:
        """z [S, 1, z] of a task whose parameters the agent is given."""
        try:
            known = self.known_z([index])
        except IndexError:
            known = None
        if known is None or (known == NO_TASK).any():
            raise InvalidInputError(
                f"the agent is told the parameters of its task (context.source: parameters), and knows none "
                f"of task {index}"
            )
        return known


class AdaptedPolicy:
    """The policy of one seed of an agent, in one task. NumPy in and out: observations and rewards in the
    environment's scale, actions in [-1, 1]. Environments that clwm makes scale these to their own bounds, of
    others ``gymnasium.wrappers.RescaleAction(env, -1.0, 1.0)`` does. Of discrete actions the policy gives a
    number for each: ``int(policy.act(observation).argmax())`` is the one that it takes.

    z is the mean of the context encoder's embeddings of all transitions of the task so far; z = 0 before the
    first one.

    Args:
        agent: the agent.
        row: position of the seed that acts.
        known: z [S, 1, z] of an agent that is given its task; transitions do not change it.
    """

    def __init__(self, agent: AdaptiveAgent, row: int = 0, known: torch.Tensor | None = None) -> None:
        self._agent, self._row, self._known = agent, row, known
        self._device = agent.normaliser.mean.device
        prior = zero_prior(agent)
        self._prior, self._total = prior, torch.zeros_like(prior.z)
        self.seen = 0

    def __repr__(self) -> str:
        knows = "is told its task" if self._known is not None else f"{plural(self.seen, 'transition')} seen"
        return f"<AdaptedPolicy: {knows}; z [{self.z.size}]>"

    @property
    def z(self) -> Floats:
        """[z] the current task representation."""
        z: Floats = self._z()[self._row].cpu().numpy()
        return z

    def _z(self) -> torch.Tensor:
        """[S, z]."""
        if self._known is not None:
            return self._known.squeeze(1)
        return self._prior.posterior(self._total, self.seen)

    def act(self, observation: ArrayLike, *, noise: ArrayLike | None = None) -> Floats:
        """The policy's action in [-1, 1]: [act] for an observation [obs], [n, act] for n of them [n, obs].

        Args:
            observation: in the environment's scale.
            noise: [noise_size] (the same for all) or [n, noise_size], standard normal, for actions that the
                policy draws; ``None``: its mode.

        Raises:
            InvalidInputError: observations or noise have another size, are not finite, or too large.
        """
        agent = self._agent
        rows = self._rows("observation", observation, agent.observation_size)
        z = self._z()
        spread = rows.reshape(1, -1, agent.observation_size).expand(len(agent.seeds), -1, -1)
        drawn = None
        if noise is not None:
            size = agent.policy.noise_size
            drawn = self._rows("noise", noise, size)
            if drawn.dim() > 1 and drawn.shape[:-1] != rows.shape[:-1]:  # one draw may serve all
                raise InvalidInputError(
                    f"noise: has the shape {list(drawn.shape)}, but observation {list(rows.shape)}: their "
                    "lengths must be the same"
                )
            drawn = drawn.reshape(1, -1, size).expand(len(agent.seeds), spread.shape[1], -1)
        action = agent.act(spread, z.unsqueeze(1).expand(-1, spread.shape[1], -1), drawn)[self._row]
        actions: Floats = action.cpu().numpy()
        if not np.isfinite(actions).all():
            raise InvalidInputError("observation: is too large for the agent: its actions are not finite")
        return actions.reshape(*rows.shape[:-1], agent.action_size)

    @torch.inference_mode()
    def observe(
        self, observation: ArrayLike, action: ArrayLike, reward: ArrayLike, next_observation: ArrayLike
    ) -> None:
        """Update z with a transition of the task, or several.

        Args:
            observation: [obs], or [n, obs].
            action: the executed action [act] in [-1, 1], as :meth:`act` gives it, or [n, act]; of discrete
                actions also its number, or [n] numbers.
            reward: a number, or [n].
            next_observation: [obs], or [n, obs].

        Raises:
            InvalidInputError: arrays do not fit the agent or each other, or are not finite or too large,
                or an action is outside its bounds.
        """
        agent = self._agent
        parts = [
            self._rows("observation", observation, agent.observation_size),
            self._executed(action, np.ndim(reward)),
            self._rows("reward", reward, None),
            self._rows("next_observation", next_observation, agent.observation_size),
        ]
        shapes = [part.shape[: part.dim() - (number != 2)] for number, part in enumerate(parts)]
        if len(set(shapes)) > 1:
            sizes = ", ".join(str(list(shape)) for shape in shapes)
            raise InvalidInputError(
                f"observation, action, reward and next_observation are of {sizes} transitions: their lengths "
                "must be the same"
            )
        columns = [part.reshape(-1, *part.shape[len(shapes[0]) :]) for part in parts]
        total = self._total
        for start in range(0, len(columns[0]) if self._known is None else 0, CHUNK):
            context = agent.transition(*(column[start : start + CHUNK] for column in columns))
            votes = agent.context_encoder.embed(context.expand(len(agent.seeds), *context.shape))
            total = total + votes.sum(1)
        if not total.isfinite().all():
            raise InvalidInputError("transitions: are too large for the agent: its z is not finite")
        self._total = total
        self.seen += len(columns[0])

    def _executed(self, action: ArrayLike, dimensions: int) -> torch.Tensor:
        """Actions [..., act] as a step executes them, for transitions of so many leading dimensions."""
        size = self._agent.action_size
        if not self._agent.discrete:
            rows = self._rows("action", action, size)
            if rows.numel() and (largest := float(rows.abs().max())) > 1.0 + ROUNDING:
                raise InvalidInputError(
                    f"action: holds an entry of size {largest:g}: give what was executed as policy.act does, "
                    "scaled from the environment's bounds to [-1, 1]"
                )
            return rows
        if np.ndim(action) != dimensions:
            numbers = self._rows("action", action, size).argmax(-1)
        else:
            numbers = self._rows("action", action, None)
            if not ((numbers >= 0) & (numbers < size) & (numbers == numbers.floor())).all():
                raise InvalidInputError(f"action: expected numbers from 0 to {size - 1}, or vectors [{size}]")
        return torch.nn.functional.one_hot(numbers.long(), size).float()

    def _rows(self, name: str, value: ArrayLike, size: int | None) -> torch.Tensor:
        """[..., size] float32 on the agent's device, or [...] if ``size`` is ``None``."""
        try:
            array = np.ascontiguousarray(value, np.float32)
        except (TypeError, ValueError, RuntimeError) as error:  # the last of a tensor with a gradient
            raise InvalidInputError(f"{name}: is not an array of numbers: {error}") from error
        inner = array.shape if size is None else array.shape[:-1]
        if len(inner) > 1 or (size is not None and array.shape[-1:] != (size,)):
            shape = "a number or [n]" if size is None else f"[{size}] or [n, {size}]"
            raise InvalidInputError(f"{name}: has the shape {list(array.shape)}, the agent takes {shape}")
        if not np.isfinite(array).all():
            raise InvalidInputError(f"{name}: holds a value that is not finite")
        return torch.from_numpy(array.reshape(np.shape(value))).to(self._device)


def _episodes(transitions: Transitions) -> Sequence[Episode]:
    if isinstance(transitions, Episode):
        return [transitions]
    if isinstance(transitions, TaskArrays):
        return list(transitions)
    if hasattr(transitions, "load"):
        return list(transitions.load())
    episodes = list(transitions) if isinstance(transitions, Iterable) else [transitions]
    if not all(isinstance(episode, Episode) for episode in episodes):
        raise InvalidInputError(
            "transitions: give a task's arrays, episodes, or a stored task; arrays of your own take "
            "adapt().observe(observation, action, reward, next_observation)"
        )
    return episodes
