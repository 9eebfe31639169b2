"""The configuration of a run; the defaults are the published constants of SPC."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from clwm_data.families import Split
from clwm_data.strict import Settings, StrictModel
from clwm_train.config.backbone import (
    BackboneConfig,
    BcConfig,
    IqlConfig,
    PolicyConfig,
    Td3BcConfig,
    Tdmpc2Config,
)
from clwm_train.config.networks import ContextConfig, NetworkConfig, WorldModelConfig
from clwm_train.config.objectives import ObjectivesConfig
from clwm_train.config.types import (
    BACKBONES,
    BackboneName,
    Count,
    Features,
    PolicyHead,
    Precision,
    Protocol,
    Rate,
)

#: Keys of a configuration that change nothing that is learned, only what is written down of it.
LOGGING_KEYS = ("log_every", "checkpoint_every", "keep_checkpoints", "evaluation")
#: Those of them that may change when a run is resumed; a metric is a mean over ``log_every`` updates.
RESUMABLE_KEYS = ("checkpoint_every", "keep_checkpoints", "evaluation")


class BatchConfig(Settings):
    """Sizes of the meta-batch of an update.

    Attributes:
        tasks: T, tasks of a meta-batch, drawn with replacement.
        windows: B, windows per task.
        horizon: H, steps per window.
        context: K, context transitions per task.
        padded: windows begin anywhere in an episode and may extend beyond its end, as padding without weight;
            else they lie within one, as published. ``auto``: as :attr:`TrainConfig.resolved_batch` says;
            without a method, within one.
    """

    tasks: Count = 16
    windows: Count = 64
    horizon: Count = 5
    context: Count = 64
    padded: Literal["auto"] | bool = "auto"


class DataConfig(Settings):
    """How stored arrays are scaled before training.

    Attributes:
        standardise_observation: subtract the mean and divide by the standard deviation over the train tasks.
        std_floor: standard deviations are at least this share of their entry's size (see
            :meth:`clwm_train.data.normaliser.Normaliser.fit`), so that a simulator's jitter stays small.
        clip_observation: scaled entries are clipped to plus and minus this; ``null``: no clipping.
        reward_scale: factor on rewards; ``auto``: one over their standard deviation over the train tasks.
    """

    standardise_observation: bool = False
    std_floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    clip_observation: Rate | None = None
    reward_scale: Rate | Literal["auto"] = 1.0


class EvaluationConfig(StrictModel):
    """Evaluations while training.

    Attributes:
        every: updates between evaluations.
        protocols: evaluation protocols; ``checkpoints/best`` is chosen by the first.
        splits: splits of the tasks; ``checkpoints/best`` is chosen by the first.
        episodes: episodes per task.
    """

    every: Count
    protocols: Annotated[tuple[Protocol, ...], Field(strict=False, min_length=1)] = ("few-shot",)
    splits: Annotated[tuple[Split, ...], Field(strict=False, min_length=1)] = ("id",)
    episodes: Count = 3


class TrainConfig(Settings):
    """Everything that determines a training, apart from the store and the seeds.

    Attributes:
        steps: updates; each one updates policy and critics.
        representation_every: updates per update of context encoder and world model.
        log_every: updates per row of metrics.
        checkpoint_every: updates per checkpoint.
        keep_checkpoints: number of checkpoints to keep; older ones are removed.
        learning_rate_decay: share of the updates, at the end, over which all learning rates decrease linearly
            to 0.
        evaluation: evaluations while training; ``null``: none.
        max_gradient_norm: largest norm of a seed's gradients in each backward pass, to which larger ones are
            scaled down; ``null``: none.
        precision: precision of matrix products while training: ``fp32``; ``mixed``: factors may be rounded to
            TF32 (GPU) or bfloat16 (CPU with AMX); ``bf16``: linear layers in bfloat16.
        features: what policy and critics see beside z: ``codes`` (published for SPC), ``target-codes`` (of
            the target encoder, which move less while it learns), ``observation`` or ``both`` (observation
            and codes); ``auto``: codes if there is a world model.
        policy: distribution over actions.
        backbone: algorithm that trains policy and critics; its constants are under the key of its name.
    """

    steps: Count = 500_000
    representation_every: Count = 2
    log_every: Count = 1000
    checkpoint_every: Count = 5000
    keep_checkpoints: Count = 2
    learning_rate_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    max_gradient_norm: Rate | None = None
    precision: Precision = "fp32"
    evaluation: EvaluationConfig | None = None
    batch: BatchConfig = BatchConfig()
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    context: ContextConfig = ContextConfig()
    world_model: WorldModelConfig | None = None
    objectives: ObjectivesConfig = ObjectivesConfig()
    features: Features = "auto"
    policy: PolicyConfig = PolicyConfig()
    backbone: BackboneName = "iql"
    iql: IqlConfig | None = None
    td3bc: Td3BcConfig | None = None
    bc: BcConfig | None = None
    tdmpc2: Tdmpc2Config | None = None

    @property
    def learning(self) -> BackboneConfig:
        """The constants of the backbone."""
        constants: BackboneConfig = getattr(self, self.backbone)
        return constants

    @property
    def transitions_per_update(self) -> int:
        """Transitions that policy and critics learn from in one update, with padding: T x B x H, or T x B."""
        steps = self.batch.horizon if self.learning.transitions == "all" else 1
        return self.batch.tasks * self.batch.windows * steps

    @property
    def resolved_batch(self) -> BatchConfig:
        """``batch``, with ``padded: auto`` resolved.

        Of windows within an episode, its last step stands in one, those before it in up to H. So windows
        extend beyond the end where single transitions are learned from, and where terminations are learned on
        roll-outs, by a head or by critics.
        """
        if self.batch.padded != "auto":
            return self.batch
        predicted = self.world_model is not None and self.world_model.termination
        padded = self.learning.transitions == "first" or self.backbone == "tdmpc2" or predicted
        return self.batch.model_copy(update={"padded": padded})

    @property
    def sees(self) -> Literal["codes", "target-codes", "observation", "both"]:
        """``features``, with ``auto`` resolved."""
        if self.features == "auto":
            return "observation" if self.world_model is None else "codes"
        return self.features

    @property
    def policy_head(self) -> PolicyHead:
        """``policy.head``, with ``auto`` resolved."""
        if self.policy.head == "auto":
            return "deterministic" if self.backbone == "td3bc" else "gaussian"
        return self.policy.head

    @model_validator(mode="before")
    @classmethod
    def _default_constants(cls, data: Any) -> Any:
        """Without constants, the backbone gets its defaults."""
        if isinstance(data, dict):
            name = data.get("backbone", "iql")
            if name in BACKBONES and name not in data:
                return {**data, name: {}}
        return data

    @model_validator(mode="after")
    def _one_backbone(self) -> Self:
        if getattr(self, self.backbone) is None:
            raise ValueError(
                f"backbone is {self.backbone}, but {self.backbone} is null: give it keys, or {{}}"
            )
        for name in BACKBONES:
            if name != self.backbone and getattr(self, name) is not None:
                raise ValueError(f"{name} has keys, but backbone is {self.backbone}: remove {name}")
        if (self.policy_head == "deterministic") != (self.backbone == "td3bc"):
            fitting = "deterministic" if self.backbone == "td3bc" else "gaussian or mixture"
            raise ValueError(
                f"backbone {self.backbone} cannot train a {self.policy_head} policy: make policy {fitting}"
            )
        if self.backbone == "tdmpc2" and (self.world_model is None or self.sees != "codes"):
            raise ValueError(
                "backbone tdmpc2 learns its critics on roll-outs of a world_model: it needs one, and "
                "features codes"
            )
        if self.world_model is None and self.sees != "observation":
            raise ValueError(
                f"features {self.features} needs a world_model, and there is none: make it observation"
            )
        return self

    @model_validator(mode="after")
    def _objectives_have_their_networks(self) -> Self:
        if self.objectives.temporal_consistency is not None and self.world_model is None:
            raise ValueError("objectives.temporal_consistency needs a world_model: add the key world_model")
        if self.world_model is not None and self.objectives.temporal_consistency is None:
            raise ValueError(
                "nothing trains the world_model: add objectives.temporal_consistency, or world_model: null"
            )
        named = [name for name, value in self.objectives if value is not None]
        if self.context.source != "encoder":
            for name in named:
                if name != "temporal_consistency":
                    raise ValueError(
                        f"context.source {self.context.source} has no encoder that objectives.{name} "
                        f"could train: remove it"
                    )
        elif not named:
            raise ValueError("nothing trains the context encoder: name at least one of the objectives")
        return self
