"""Objectives that train the context encoder and the world model."""

from __future__ import annotations

from typing import Literal

from clwm_data.strict import StrictModel
from clwm_train.config.types import Rate, Share, Sizes, Weight


class TemporalConsistencyConfig(StrictModel):
    """Open-loop prediction of the latent codes and rewards of a window.

    Attributes:
        weight: weight of the whole term.
        reward_weight: weight of the reward error within the term.
        termination_weight: weight of the termination error within the term, if the world model predicts them.
        value_weight: weight of the critics' error within the term, if they learn on roll-outs (``tdmpc2``).
        rho: step t of a window has weight rho^t.
    """

    weight: Weight = 1.0
    reward_weight: Weight = 1.0
    termination_weight: Weight = 1.0
    value_weight: Weight = 1.0
    rho: Share = 0.99


class InfoNCEConfig(StrictModel):
    """Contrast of a task's z with running means of all train tasks' z.

    Attributes:
        weight: weight of the term.
        radius: similarities are -distance / radius; with the published 100 they are almost equal.
        tau: EMA rate of the running means.
    """

    weight: Weight = 1.0
    radius: Rate = 100.0
    tau: Share = 0.005


class FocalConfig(StrictModel):
    """Distance-metric loss between the z of the tasks of a meta-batch.

    Attributes:
        weight: weight of the term.
    """

    weight: Weight = 1.0


class L2Config(StrictModel):
    """Squared norm of each task's z (DORA).

    Attributes:
        weight: weight of the term.
    """

    weight: Weight = 0.01


class ClubConfig(StrictModel):
    """Upper bound of the information that z holds about the context's states and actions (CSRO).

    Attributes:
        weight: weight of the bound; it does not affect the training of the variational network.
        negatives: pair (s, a) with the z of other transitions of its ``task`` (published) or of the whole
            ``batch``.
        hidden: hidden layers of the variational network.
        learning_rate: learning rate of the variational network (Adam).
    """

    weight: Weight = 0.5
    negatives: Literal["task", "batch"] = "task"
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 1e-4


class DecoderConfig(StrictModel):
    """Reconstruction of the change of the observation and of the reward from (s, a, z) (UNICORN).

    Attributes:
        weight: weight of the term.
        reward_weight: weight of the reward error within the term.
        hidden: hidden layers of the decoder.
        learning_rate: learning rate of the decoder (Adam).
    """

    weight: Weight = 1.0
    reward_weight: Weight = 1.0
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 1e-4


class TaskClassifierConfig(StrictModel):
    """Classification of the train task from z (UNICORN-SUP).

    Attributes:
        weight: weight of the term.
        hidden: hidden layers of the classifier.
        learning_rate: learning rate of the classifier (Adam).
    """

    weight: Weight = 1.0
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 1e-4


class ObjectivesConfig(StrictModel):
    """The weighted objectives of the context encoder and the world model; absent ones are not used."""

    temporal_consistency: TemporalConsistencyConfig | None = None
    infonce: InfoNCEConfig | None = None
    focal: FocalConfig | None = None
    l2: L2Config | None = None
    club: ClubConfig | None = None
    decoder: DecoderConfig | None = None
    task_classifier: TaskClassifierConfig | None = None
