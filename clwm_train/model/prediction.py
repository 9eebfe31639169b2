"""Consistency losses: what the latent dynamics predict, its error, and how a roll-out continues from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from clwm_train.kernels.gumbel import Score, ScoreAndDraw
from clwm_train.kernels.gumbel_graph import MOST_UNROLLED_CODES, score, score_and_draw
from clwm_train.kernels.streams import Noise
from clwm_train.model.latent_space import DiscreteSpace, LatentSpace


class Prediction(nn.Module, ABC):
    """The dynamics' head: from its outputs to the next code and to the loss.

    Attributes:
        outputs: entries of the dynamics network's output.
    """

    outputs: int

    @abstractmethod
    def target(self, raw: Tensor) -> Tensor:
        """The target of the prediction, from the target encoder's raw output [..., size]."""

    @abstractmethod
    def advance(self, output: Tensor, code: Tensor, noise: Noise) -> Tensor:
        """The code [S, ..., size] after ``code`` with which the roll-out continues."""

    def noise_shape(self, rows: int) -> tuple[int, ...] | None:
        """Shape of the uniform numbers that ``advance`` draws per seed for ``rows`` codes; ``None``: none."""
        return None

    @abstractmethod
    def most_likely(self, output: Tensor, code: Tensor) -> Tensor:
        """The next code [..., size] after ``code``, without random draws; used for planning."""

    @abstractmethod
    def loss(self, output: Tensor, code: Tensor, target: Tensor) -> Tensor:
        """Error of each prediction made from ``code``, averaged over the latent dimensions: [...]."""

    def loss_and_advance(
        self, output: Tensor, code: Tensor, target: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """``loss`` and ``advance`` of one step of a roll-out; may share work between them."""
        return self.loss(output, code, target), self.advance(output, code, noise)


class Regression(Prediction):
    """Predicts the next code itself; the error is the squared distance, or one minus the cosine."""

    def __init__(self, space: LatentSpace, distance: Literal["mse", "cosine"]) -> None:
        super().__init__()
        self.space = space
        self.distance = distance
        self.outputs = space.size

    def target(self, raw: Tensor) -> Tensor:
        """The target code [..., size]."""
        target: Tensor = self.space(raw)
        return target

    def advance(self, output: Tensor, code: Tensor, noise: Noise) -> Tensor:
        """The predicted code; nothing is drawn."""
        return self.most_likely(output, code)

    def most_likely(self, output: Tensor, code: Tensor) -> Tensor:
        """The predicted code."""
        following: Tensor = self.space(code + output if self.space.residual else output)
        return following

    def loss(self, output: Tensor, code: Tensor, target: Tensor) -> Tensor:
        """Mean squared error over the entries of the code, or 1 - cosine."""
        predicted = self.space(code + output if self.space.residual else output)
        if self.distance == "mse":
            squared: Tensor = (predicted - target).square()
            return squared.mean(-1)
        cosine: Tensor = functional.cosine_similarity(predicted, target, dim=-1)
        return 1.0 - cosine


class Classification(Prediction):
    """Predicts logits of each latent dimension's next code; a roll-out continues with a sample.

    Args:
        space: the discrete space.
        temperature: temperature of the Gumbel-softmax, whose forward pass is hard.

    Outputs are ``[codes, dimensions]``, flattened.
    """

    def __init__(self, space: DiscreteSpace, temperature: float) -> None:
        super().__init__()
        self.space = space
        self.temperature = temperature
        self.outputs = space.dimensions * space.fsq.codes

    def noise_shape(self, rows: int) -> tuple[int, ...]:
        """One number per logit."""
        return rows, self.space.fsq.codes, self.space.dimensions

    def target(self, raw: Tensor) -> Tensor:
        """The index of every latent dimension's code [..., dimensions], see :meth:`FSQ.index`."""
        return self.space.index(raw)

    def advance(self, output: Tensor, code: Tensor, noise: Noise) -> Tensor:
        """Draw the next code; gradients flow back through the softmax (straight-through)."""
        logits = self._logits(output)
        perturbed = (logits + noise.gumbel(*logits.shape[1:])) / self.temperature
        soft = perturbed.softmax(-2).transpose(-1, -2)
        hard = self.space.fsq.codebook[perturbed.argmax(-2)]
        through = soft @ self.space.fsq.codebook
        following = (through + (hard - through).detach()).flatten(-2)
        return following.view(*output.shape[:-1], self.space.size)

    def most_likely(self, output: Tensor, code: Tensor) -> Tensor:
        """Each latent dimension's most likely code, which the reward head and the critics have seen."""
        following = self.space.fsq.codebook[self._logits(output).argmax(-2)].flatten(-2)
        return following.view(*output.shape[:-1], self.space.size)

    def loss(self, output: Tensor, code: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy against the target indices, averaged over latent dimensions."""
        logits = self._logits(output)
        target = target.reshape(*logits.shape[:2], -1)
        if torch.compiler.is_compiling():
            error = score(logits, target) if self._unrolled else self._plain_score(logits, target)
        else:
            error = Score.apply(logits, target)  # type: ignore[no-untyped-call]
        return error.view(output.shape[:-1])

    def loss_and_advance(
        self, output: Tensor, code: Tensor, target: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Both from one softmax, in about half the time of separate calls."""
        compiling = torch.compiler.is_compiling()
        if compiling and not self._unrolled:
            return super().loss_and_advance(output, code, target, noise)
        logits, codebook = self._logits(output), self.space.fsq.codebook
        together = score_and_draw if compiling else ScoreAndDraw.apply
        error, following = together(
            logits,
            target.reshape(*logits.shape[:2], -1),
            codebook,
            self.temperature,
            noise.uniform(*logits.shape[1:]),
        )
        return error.view(output.shape[:-1]), following.view(*output.shape[:-1], self.space.size)

    @property
    def _unrolled(self) -> bool:
        return self.space.fsq.codes <= MOST_UNROLLED_CODES

    def _plain_score(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = functional.cross_entropy(
            logits.float().flatten(0, 1), target.flatten(0, 1).long(), reduction="none"
        )
        return entropy.mean(-1).view(logits.shape[:2])

    def _logits(self, output: Tensor) -> Tensor:
        """[S, ..., outputs] -> [S, N, codes, dimensions]: see :mod:`clwm_train.kernels.gumbel`."""
        return output.reshape(len(output), -1, self.space.fsq.codes, self.space.dimensions)
