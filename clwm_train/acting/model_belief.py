"""Task inference with the world model instead of the context encoder's mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from clwm_data.errors import InvalidInputError
from clwm_train.acting.belief import Belief, Prior, zero_prior
from clwm_train.acting.context import infer_tasks
from clwm_train.data.task_data import DataTask
from clwm_train.kernels.streams import Purpose, RandomStreams
from clwm_train.model.agent import Agent
from clwm_train.model.world_model import WorldModel
from clwm_train.settings import CONTEXT_SIZE, Inference

#: How far candidates lie beyond the pair of train tasks on whose line they are, relative to its distance.
REACH = 0.25
#: Keeps the logarithm of a perfect prediction finite.
SMALLEST_ERROR = 1e-8
#: Number of candidates in addition to the train tasks' z.
CANDIDATES = 128


class ModelBelief(Belief):
    """The z under which the world model predicts the lane's steps so far.

    That a task is inferred by maximum likelihood under a model, and not by an encoder of the transitions, was
    published as Behavior-Agnostic Task Inference (Ma, Zhong & Wang, ICML 2025). Here the candidates lie on
    lines between the z of train tasks, and the model is judged by its errors one step ahead, in codes and
    rewards.

    With n steps, a candidate's log-likelihood is -n / 2 (log C + log R), with the sum C of its consistency
    errors and the sum R of its squared reward errors. The second term is the profile likelihood of a Gaussian
    of unknown variance; the first treats consistency errors likewise. With logarithms no weight between the
    two is needed, and the one that differs more decides. All candidates are equally likely beforehand. The
    agent acts on the most likely one, on the mean of the posterior, or on a sample of it: the candidate at
    which the cumulated posterior passes a number that is fixed for the whole episode, so that the sample
    changes only as much as the posterior does.

    The encoder's mean of embeddings resembles that of training only if the transitions are as varied as the
    data. An agent's own transitions are not, and actions that follow from its belief in a task look to the
    encoder like evidence for that task. The world model judges outcomes given actions, and candidates are z
    of the kind that the policy was trained with.

    Args:
        agent: agent of S seeds, with a world model.
        lanes: number of lanes L.
        candidates: [S, P, z].
        prior: z before the first step; z = 0 by default.
        inference: ``model`` (the best candidate), ``model-mean`` or ``model-sample``.
        uniform: [L] in [0, 1), the number of each lane's sample.

    Raises:
        InvalidInputError: the agent has no world model.
    """

    #: Candidates that are predicted with at a time: few, to limit memory.
    TOGETHER = 16

    def __init__(
        self,
        agent: Agent,
        lanes: int,
        candidates: Tensor,
        prior: Prior | None = None,
        *,
        inference: Inference = "model",
        uniform: Sequence[float] = (),
    ) -> None:
        self._agent = agent
        self._world_model = _world_model(agent)
        self._candidates = candidates
        #: [2, S, L, P] sums of consistency and reward errors.
        self._errors = candidates.new_zeros(2, len(candidates), lanes, candidates.shape[1])
        #: [S, L] steps so far.
        self._steps = candidates.new_zeros(len(candidates), lanes)
        self._inference = inference
        if inference == "model-sample" and len(uniform) != lanes:
            raise ValueError(f"{len(uniform)} numbers to sample with for {lanes} lanes")
        self._uniform = torch.tensor([*uniform], dtype=torch.float64, device=candidates.device)
        start = (zero_prior(agent) if prior is None else prior).z
        self.z = start.unsqueeze(1).expand(-1, lanes, -1)

    @torch.inference_mode()
    def observe(
        self, observation: Tensor, action: Tensor, reward: Tensor, following: Tensor, active: Tensor
    ) -> None:
        """Add a step's errors in every active lane."""
        scaled = self._agent.normaliser
        step = (
            self._world_model.encode(scaled.observation(observation)),
            action,
            scaled.reward(reward),
            self._world_model.encode_target(scaled.observation(following)),
        )
        parts = torch.split(self._candidates, self.TOGETHER, 1)
        errors = [self._step_errors(some, *step) for some in parts]
        self._errors = self._errors + torch.cat(errors, -1) * active.unsqueeze(-1)
        self._steps = self._steps + active
        score = self._errors.clamp(min=SMALLEST_ERROR).log().sum(0)
        self.z = torch.where(active.unsqueeze(-1), self._acted_on(score), self.z)

    def _step_errors(
        self, candidates: Tensor, code: Tensor, action: Tensor, reward: Tensor, target: Tensor
    ) -> Tensor:
        """Errors of consistency and reward of one step under candidates [S, p, z]: [2, S, L, p]."""
        shape = (*code.shape[:2], candidates.shape[1])

        def spread(tensor: Tensor) -> Tensor:
            return tensor.unsqueeze(2).expand(*shape, *tensor.shape[2:])

        world_model = self._world_model
        output, predicted = world_model.predict(
            spread(code), spread(action), candidates.unsqueeze(1).expand(*shape, -1)
        )
        consistency = world_model.prediction.loss(output, spread(code), spread(target))
        return torch.stack([consistency, (predicted - spread(reward)).square()])

    def _acted_on(self, score: Tensor) -> Tensor:
        """z [S, L, z] from log C + log R [S, L, P]."""
        if self._inference == "model":
            return self._pick(score.argmin(-1))
        # float64: hundreds of steps make large exponents.
        logits = -0.5 * self._steps.unsqueeze(-1).double() * score.double()
        probability = logits.softmax(-1)
        if self._inference == "model-mean":
            return torch.einsum("slp,spz->slz", probability, self._candidates.double()).to(score.dtype)
        passed = (probability.cumsum(-1) <= self._uniform.view(1, -1, 1)).sum(-1)
        return self._pick(passed.clamp(max=score.shape[-1] - 1))

    def _pick(self, candidate: Tensor) -> Tensor:
        """The candidates of numbers [S, L]: [S, L, z]."""
        return self._candidates.gather(1, candidate.unsqueeze(-1).expand(-1, -1, self._candidates.shape[-1]))


def candidate_tasks(
    agent: Agent, tasks: Mapping[int, DataTask], seed: int, count: int = CANDIDATES
) -> Tensor:
    """Candidates [S, P, z]: the train tasks' z from their data, and ``count`` on lines through pairs of them.

    Raises:
        InvalidInputError: fewer than two train tasks have data, or the agent has no world model.
    """
    _world_model(agent)
    train = [task for task in tasks.values() if task.split == "train"]
    if len(train) < 2:
        raise InvalidInputError(
            "--inference model needs data of two train tasks or more: use --inference encoder"
        )
    known = infer_tasks(agent, train, CONTEXT_SIZE, seed)
    draws = RandomStreams(agent.seeds, known.device).at(Purpose.CANDIDATES, seed)
    pair = (draws.uniform(2, count) * len(train)).long().clamp(max=len(train) - 1)
    first, second = (
        known.gather(1, pair[:, side].unsqueeze(-1).expand(-1, -1, known.shape[-1])) for side in (0, 1)
    )
    position = draws.uniform(count).mul(1.0 + 2.0 * REACH).sub(REACH).unsqueeze(-1)
    return torch.cat([known, torch.lerp(first, second, position).clamp(-1.0, 1.0)], 1)


def _world_model(agent: Agent) -> WorldModel:
    if agent.world_model is None:
        raise InvalidInputError(
            "the agent's method has no world model to infer tasks with: use --inference encoder"
        )
    return agent.world_model
