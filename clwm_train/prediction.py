"""Consistency losses: what the latent dynamics predict, how a roll-out goes on from it, and its error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from clwm_train.fuse import is_fusing
from clwm_train.fused_gumbel import FusedScore, FusedScoreAndDraw
from clwm_train.gumbel import Score, ScoreAndDraw
from clwm_train.latent_space import DiscreteSpace, LatentSpace
from clwm_train.streams import Draws

Consistency = Literal["mse", "cosine", "cross-entropy"]


class Prediction(nn.Module, ABC):
    """The dynamics' head: from its outputs to the next code and to the loss.

    Attributes:
        outputs: entries that the dynamics network puts out.
    """

    outputs: int

    @abstractmethod
    def target(self, raw: Tensor) -> Tensor:
        """What is predicted, from the target encoder's raw output [..., size]."""

    @abstractmethod
    def advance(self, output: Tensor, code: Tensor, noise: Draws) -> Tensor:
        """The code [S, ..., size] that the roll-out goes on with, after ``code``."""

    @abstractmethod
    def most_likely(self, output: Tensor, code: Tensor) -> Tensor:
        """The next code [..., size] after ``code`` without anything drawn; what planning goes on with."""

    @abstractmethod
    def loss(self, output: Tensor, code: Tensor, target: Tensor) -> Tensor:
        """Error of each prediction made from ``code``, averaged over the latent dimensions: [...]."""

    def loss_and_advance(
        self, output: Tensor, code: Tensor, target: Tensor, noise: Draws
    ) -> tuple[Tensor, Tensor]:
        """``loss`` and ``advance`` of one step of a roll-out; may share work between them."""
        return self.loss(output, code, target), self.advance(output, code, noise)


class Regression(Prediction):
    """The next code itself is predicted; the error is its squared distance or one minus its cosine."""

    def __init__(self, space: LatentSpace, distance: Literal["mse", "cosine"]) -> None:
        super().__init__()
        self.space = space
        self.distance = distance
        self.outputs = space.size

    def target(self, raw: Tensor) -> Tensor:
        """The target code [..., size]."""
        target: Tensor = self.space(raw)
        return target

    def advance(self, output: Tensor, code: Tensor, noise: Draws) -> Tensor:
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
    """Each latent dimension's next code is one of finitely many: logits, sampled from to roll on.

    Args:
        space: the discrete space.
        temperature: of the Gumbel-softmax; its forward pass is hard.

    Outputs lie code first, ``[codes, dimensions]`` flattened.
    """

    def __init__(self, space: DiscreteSpace, temperature: float) -> None:
        super().__init__()
        self.space = space
        self.temperature = temperature
        self.outputs = space.dimensions * space.fsq.codes

    def target(self, raw: Tensor) -> Tensor:
        """The index of every latent dimension's code [..., dimensions] int64."""
        return self.space.index(raw)

    def advance(self, output: Tensor, code: Tensor, noise: Draws) -> Tensor:
        """Draw the next code; gradients flow back through the softmax (straight-through)."""
        logits = self._logits(output)
        perturbed = (logits + noise.gumbel(*logits.shape[1:])) / self.temperature
        soft = perturbed.softmax(-2).transpose(-1, -2)
        hard = self.space.fsq.codebook[perturbed.argmax(-2)]
        through = soft @ self.space.fsq.codebook
        following = (through + (hard - through).detach()).flatten(-2)
        return following.view(*output.shape[:-1], self.space.size)

    def most_likely(self, output: Tensor, code: Tensor) -> Tensor:
        """Each latent dimension's likeliest code: one that the reward head and the critics have seen."""
        following = self.space.fsq.codebook[self._logits(output).argmax(-2)].flatten(-2)
        return following.view(*output.shape[:-1], self.space.size)

    def loss(self, output: Tensor, code: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy against the target indices, averaged over latent dimensions."""
        logits = self._logits(output)
        score = FusedScore if is_fusing() else Score
        error: Tensor = score.apply(  # type: ignore[no-untyped-call]
            logits, target.reshape(*logits.shape[:2], -1)
        )
        return error.view(output.shape[:-1])

    def loss_and_advance(
        self, output: Tensor, code: Tensor, target: Tensor, noise: Draws
    ) -> tuple[Tensor, Tensor]:
        """Both from one softmax; about half the time of the two apart."""
        logits = self._logits(output)
        score_and_draw = FusedScoreAndDraw if is_fusing() else ScoreAndDraw
        error, following = score_and_draw.apply(  # type: ignore[no-untyped-call]
            logits, target.reshape(*logits.shape[:2], -1), self.space.fsq.codebook, self.temperature, noise
        )
        return error.view(output.shape[:-1]), following.view(*output.shape[:-1], self.space.size)

    def _logits(self, output: Tensor) -> Tensor:
        """[S, ..., outputs] -> [S, N, codes, dimensions]: see :mod:`clwm_train.gumbel`."""
        return output.reshape(len(output), -1, self.space.fsq.codes, self.space.dimensions)
