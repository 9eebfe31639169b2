"""CrossQ's updates (Bhatt et al. 2024, algorithm 1) of flat arrays in place: as they are, or compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clwm_data.behaviour_training.flat import Adam, Moments, Network, Statistics
from clwm_data.behaviour_training.renormalised import Pass, backward, forward, input_gradient
from clwm_data.behaviour_training.squashed_gaussian import Draw


class Transitions(NamedTuple):
    """A batch from the replay buffer.

    Attributes:
        observations: [B, observation].
        next_observations: [B, observation].
        actions: [B, action].
        rewards: [B, 1].
        discounts: [B, 1] of the next state's value; 0 where the episode ended.
    """

    observations: Tensor
    next_observations: Tensor
    actions: Tensor
    rewards: Tensor
    discounts: Tensor


class Updates:
    """The updates of a learner, as functions of tensors.

    Args:
        actor: the actor.
        critics: the critics.
        entropy: the logarithm of the entropy's weight, with its optimiser.
        target_entropy: what the weight is adapted to.
    """

    def __init__(self, actor: Network, critics: Network, entropy: Adam, target_entropy: float) -> None:
        self._actor, self._critics, self._entropy = actor, critics, entropy
        self._target_entropy = target_entropy

    def update_critics(
        self,
        critics: tuple[Moments, Statistics],
        actor: tuple[Tensor, Statistics],
        log_weight: Tensor,
        batch: Transitions,
        noise: Tensor,
        rates: Tensor,
    ) -> None:
        """Both critics see a batch and its successors together, so that they share the statistics.

        Args:
            critics: updated in place.
            actor: its parameters and statistics.
            log_weight: [1] logarithm of the entropy's weight.
            batch: transitions.
            noise: [B, A] of the next actions.
            rates: of :meth:`Adam.rates`.
        """
        moments, statistics = critics
        count = len(batch.rewards)
        following = batch.next_observations.t()
        outputs, _ = forward(self._actor.layers(*actor), following.unsqueeze(0), training=False)
        draw = Draw(outputs[0], noise.t())
        inputs = torch.cat(
            [
                torch.cat([batch.observations.t(), following], 1),
                torch.cat([batch.actions.t(), draw.action], 1),
            ]
        )
        layers = self._critics.layers(moments.parameters, statistics)
        values, passes = forward(layers, inputs.unsqueeze(0), training=True)
        lowest = values[:, 0, count:].amin(0) - log_weight.exp() * draw.log_prob
        target = batch.rewards.squeeze(1) + batch.discounts.squeeze(1) * lowest
        error = (values[:, :, :count] - target) / count  # gradient of half the squared error
        gradients = backward(passes, torch.cat([error, torch.zeros_like(error)], 2))
        adam(moments, gradients, rates, self._critics.adam)
        update_statistics(statistics, passes)

    def update_actor(
        self,
        actor: tuple[Moments, Statistics],
        critics: tuple[Tensor, Statistics],
        entropy: Moments,
        batch: Transitions,
        noise: Tensor,
        rates: tuple[Tensor, Tensor],
    ) -> None:
        """The actor maximises the lower of the critics' values and its entropy, whose weight is adapted.

        Args:
            actor: updated in place.
            critics: their parameters and statistics.
            entropy: the logarithm of its weight; updated in place.
            batch: transitions.
            noise: [B, A] of the actions.
            rates: of :meth:`Adam.rates`, of actor and entropy.
        """
        moments, statistics = actor
        count = len(batch.rewards)
        weight = entropy.parameters.exp()
        observations = batch.observations.t()
        layers = self._actor.layers(moments.parameters, statistics)
        outputs, passes = forward(layers, observations.unsqueeze(0), training=True)
        draw = Draw(outputs[0], noise.t())
        inputs = torch.cat([observations, draw.action]).unsqueeze(0)
        values, of_critics = forward(self._critics.layers(*critics), inputs, training=False)
        first = (values[0] <= values[1]).unsqueeze(0)  # of two critics; ties go to the first
        chosen = torch.cat([first, ~first]).to(values.dtype) * (-1.0 / count)
        of_actions = input_gradient(of_critics, chosen).sum(0)[len(observations) :]
        gradients = backward(passes, draw.backward(of_actions, weight / count).unsqueeze(0))
        adam(moments, gradients, rates[0], self._actor.adam)
        update_statistics(statistics, passes)
        of_weight = -(draw.log_prob + self._target_entropy).mean()
        adam(entropy, [of_weight], rates[1], self._entropy)


def adam(moments: Moments, gradients: Sequence[Tensor], rates: Tensor, settings: Adam) -> None:
    """An update of Adam (Kingma and Ba 2015) in place.

    Args:
        moments: updated.
        gradients: in the order of the parameters.
        rates: [2] of :meth:`Adam.rates`.
        settings: for its constants.
    """
    gradient = torch.cat([each.reshape(-1) for each in gradients])
    decay, decay_of_squares = settings.betas
    moments.first.lerp_(gradient, 1.0 - decay)
    moments.second.mul_(decay_of_squares).addcmul_(gradient, gradient, value=1.0 - decay_of_squares)
    deviation = moments.second.sqrt().mul_(rates[1]).add_(settings.eps)
    moments.parameters.sub_((moments.first * rates[0]).div_(deviation))


def update_statistics(statistics: Statistics, passes: Sequence[Pass]) -> None:
    """Move the running statistics [sum of the sizes] towards those of a pass's batch, in place."""
    running = []
    for step in passes:
        assert step.batch is not None, "the pass did not train"
        running += [each.reshape(-1) for each in step.batch.running(step.layer)]
    statistics.moments.copy_(torch.cat(running))
    statistics.batches.add_(1)
