"""Configuration of training: strict models whose defaults are the published constants of SPC."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from clwm_data.families import Split
from clwm_data.strict import StrictModel

Count = Annotated[int, Field(ge=1)]
#: Beyond it single precision has no numbers.
LARGEST = 3e38
Rate = Annotated[float, Field(gt=0.0, le=LARGEST, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0.0, le=LARGEST, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Real = Annotated[float, Field(allow_inf_nan=False)]
#: Hidden layers of a network: each is built in turn, so a configuration of very many would take minutes.
MOST_LAYERS = 64
#: YAML knows only lists; sizes are kept as tuples.
Sizes = Annotated[tuple[Count, ...], Field(strict=False, max_length=MOST_LAYERS)]
#: How weights are drawn, see :class:`clwm_train.model.nn.Initialiser`.
Init = Literal["truncated-normal-0.02", "fan-in", "group-fan-in", "orthogonal"]
#: Hidden layers of an MLP: Linear -> LayerNorm -> Mish, or Linear -> ReLU.
NetworkStyle = Literal["layernorm-mish", "relu"]
#: What the latent dynamics are trained with, see :mod:`clwm_train.model.prediction`.
Consistency = Literal["mse", "cosine", "cross-entropy"]
#: Of matrix products while training, see :mod:`clwm_train.training.precision`.
Precision = Literal["fp32", "mixed", "bf16"]
#: What policy and critics see, beside z; ``auto``: the codes where there is a world model.
Features = Literal["auto", "codes", "observation", "both"]
#: See :mod:`clwm_train.model.policy`.
PolicyHead = Literal["gaussian", "mixture", "deterministic"]
#: See :mod:`clwm_train.model.backbones`.
BackboneName = Literal["iql", "td3bc", "bc"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
#: Where the context of an evaluated task comes from, see :mod:`clwm_train.evaluate.protocols`.
Protocol = Literal["few-shot", "online-context", "non-prior", "zero-shot"]
Levels = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(strict=False, min_length=1)]


class BatchConfig(StrictModel):
    """What one update sees.

    Attributes:
        tasks: tasks of a meta-batch T, drawn with replacement.
        windows: windows per task B.
        horizon: steps per window H.
        context: context transitions per task K.
    """

    tasks: Count = 16
    windows: Count = 64
    horizon: Count = 5
    context: Count = 64


class DataConfig(StrictModel):
    """How stored arrays are scaled before anything sees them.

    Attributes:
        standardise_observation: subtract the mean and divide by the standard deviation over the train tasks.
        std_floor: entries of the observation are divided by at least this share of the observation's size
            (see :class:`clwm_train.data.normaliser.Normaliser`), so that a simulator's jitter stays small.
        clip_observation: scaled entries are kept within plus and minus this; ``null``: they are not.
        reward_scale: rewards are multiplied by this; ``auto``: one over their standard deviation over
            the train tasks.
    """

    standardise_observation: bool = False
    std_floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    clip_observation: Rate | None = None
    reward_scale: Rate | Literal["auto"] = 1.0


class NetworkConfig(StrictModel):
    """Style of every MLP.

    Attributes:
        style: hidden layers ``layernorm-mish`` (Linear, LayerNorm, Mish) or ``relu``.
        init: ``truncated-normal-0.02`` (published), ``fan-in``, ``group-fan-in`` or ``orthogonal``; see
            :class:`clwm_train.model.nn.Initialiser`.
    """

    style: NetworkStyle = "layernorm-mish"
    init: Init = "truncated-normal-0.02"


class ContextConfig(StrictModel):
    """The context encoder.

    Attributes:
        dim: entries of z.
        hidden: hidden layers.
        next_observation: transitions hold s' as well; ``auto``: where the family's dynamics vary.
        learning_rate: of Adam.
    """

    dim: Count = 5
    hidden: Sizes = (256, 256)
    next_observation: bool | Literal["auto"] = "auto"
    learning_rate: Rate = 1e-4


class WorldModelConfig(StrictModel):
    """The latent world model; a method without one gives policy and critics the raw observation.

    Attributes:
        latent: ``discrete`` (FSQ), ``simnorm`` or ``continuous``.
        consistency: ``cross-entropy`` (discrete only), ``mse`` or ``cosine``.
        latent_dim: latent dimensions; a discrete one holds ``len(levels)`` channels.
        levels: FSQ levels of each channel.
        simnorm_group: entries of a SimNorm group.
        temperature: of the straight-through Gumbel-softmax.
        encoder_hidden: hidden layers of the encoder.
        dynamics_hidden: hidden layers of the latent dynamics.
        reward_hidden: hidden layers of the reward head.
        target_tau: EMA rate of the target encoder.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
    """

    latent: Literal["discrete", "simnorm", "continuous"] = "discrete"
    consistency: Consistency = "cross-entropy"
    latent_dim: Count = 512
    levels: Levels = (5, 3)
    simnorm_group: Count = 8
    temperature: Rate = 1.0
    encoder_hidden: Sizes = (512,)
    dynamics_hidden: Sizes = (512, 512)
    reward_hidden: Sizes = (512, 512)
    target_tau: Share = 0.005
    learning_rate: Rate = 1e-4
    weight_decay: Weight = 0.01

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.consistency == "cross-entropy" and self.latent != "discrete":
            raise ValueError(f"consistency cross-entropy needs latent discrete, found latent {self.latent}")
        if self.latent == "simnorm" and self.latent_dim % self.simnorm_group:
            raise ValueError(
                f"latent_dim {self.latent_dim} is not a multiple of simnorm_group {self.simnorm_group}"
            )
        return self


class TemporalConsistencyConfig(StrictModel):
    """Open-loop prediction of the latent codes and rewards of a window.

    Attributes:
        weight: of the whole term.
        reward_weight: of the reward error within it.
        rho: step t of a window weighs rho^t.
    """

    weight: Weight = 1.0
    reward_weight: Weight = 1.0
    rho: Share = 0.99


class InfoNCEConfig(StrictModel):
    """Contrast of a task's z with running means of all train tasks' z.

    Attributes:
        weight: of the term.
        radius: similarities are -distance / radius; 100 as published is almost flat.
        tau: EMA rate of the running means.
    """

    weight: Weight = 1.0
    radius: Rate = 100.0
    tau: Share = 0.005


class FocalConfig(StrictModel):
    """Distance-metric loss between the z of the tasks of a meta-batch.

    Attributes:
        weight: of the term.
    """

    weight: Weight = 1.0


class L2Config(StrictModel):
    """Squared norm of each task's z (DORA).

    Attributes:
        weight: of the term.
    """

    weight: Weight = 0.01


class ClubConfig(StrictModel):
    """Upper bound of the information that z holds about the context's states and actions (CSRO).

    Attributes:
        weight: of the bound; the variational network is trained whatever it is.
        negatives: pair (s, a) with the z of other transitions of its ``task`` (published) or of the
            ``batch``.
        hidden: hidden layers of the variational network.
        learning_rate: of its own Adam.
    """

    weight: Weight = 0.5
    negatives: Literal["task", "batch"] = "task"
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 1e-4


class DecoderConfig(StrictModel):
    """Reconstruction of the change of the observation and of the reward from (s, a, z) (UNICORN).

    Attributes:
        weight: of the term.
        reward_weight: of the reward's error within it.
        hidden: hidden layers of the decoder.
        learning_rate: of its own Adam.
    """

    weight: Weight = 1.0
    reward_weight: Weight = 1.0
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 1e-4


class TaskClassifierConfig(StrictModel):
    """Classification of the train task from z (UNICORN-SUP).

    Attributes:
        weight: of the term.
        hidden: hidden layers of the classifier.
        learning_rate: of its own Adam.
    """

    weight: Weight = 1.0
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 1e-4


class ObjectivesConfig(StrictModel):
    """What trains the context encoder (and the world model): a weighted list; absent means not used."""

    temporal_consistency: TemporalConsistencyConfig | None = None
    infonce: InfoNCEConfig | None = None
    focal: FocalConfig | None = None
    l2: L2Config | None = None
    club: ClubConfig | None = None
    decoder: DecoderConfig | None = None
    task_classifier: TaskClassifierConfig | None = None


class PolicyConfig(StrictModel):
    """How the policy's network is read as a distribution over actions; ``policy: mixture`` is short for
    ``policy: {head: mixture}``.

    Attributes:
        head: ``gaussian`` (published), ``mixture`` of Gaussians, or ``deterministic`` (of ``td3bc`` alone);
            ``auto``: the published one of the backbone.
        components: Gaussians of a mixture.
        log_std_min: lower end of the log standard deviations.
        log_std_max: upper end.
    """

    head: Literal["auto", "gaussian", "mixture", "deterministic"] = "auto"
    components: Count = 5
    log_std_min: Real = -5.0
    log_std_max: Real = 2.0

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"head": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.log_std_min >= self.log_std_max:
            raise ValueError(f"log_std_min {self.log_std_min} is not below log_std_max {self.log_std_max}")
        return self


class BackboneConfig(StrictModel):
    """What every backbone has.

    Attributes:
        transitions: of each window, learn from ``all`` steps or the ``first`` alone; windows then begin at
            every transition of an episode as often.
        hidden: hidden layers of the policy, and of the critics and the value network where there are any.
        learning_rate: of Adam.
    """

    transitions: Literal["all", "first"] = "all"
    hidden: Sizes = (256, 256)
    learning_rate: Rate = 3e-4


class ActorCriticConfig(BackboneConfig):
    """What every backbone with critics has.

    Attributes:
        discount: gamma.
        target_tau: EMA rate of the target networks.
    """

    discount: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    target_tau: Share = 0.005


class IqlConfig(ActorCriticConfig):
    """Implicit Q-learning (Kostrikov et al. 2022).

    Attributes:
        expectile: of the value loss.
        inverse_temperature: of the advantage weights.
        max_weight: advantage weights are clipped here.
    """

    expectile: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    inverse_temperature: Weight = 3.0
    max_weight: Rate = 100.0


class Td3BcConfig(ActorCriticConfig):
    """TD3+BC (Fujimoto & Gu 2021).

    Attributes:
        alpha: weight of the values against the distance from the data's actions.
        policy_noise: standard deviation of the noise on the target policy's actions.
        noise_clip: its largest size.
    """

    alpha: Weight = 2.5
    policy_noise: Weight = 0.2
    noise_clip: Weight = 0.5


class BcConfig(BackboneConfig):
    """Behaviour cloning."""


class EvaluationConfig(StrictModel):
    """Evaluations while training.

    Attributes:
        every: updates from one to the next.
        protocols: what is evaluated; ``checkpoints/best`` is chosen by the first one.
        splits: on which tasks; ``checkpoints/best`` is chosen by the first one.
        episodes: per task.
    """

    every: Count
    protocols: Annotated[tuple[Protocol, ...], Field(strict=False, min_length=1)] = ("few-shot",)
    splits: Annotated[tuple[Split, ...], Field(strict=False, min_length=1)] = ("id",)
    episodes: Count = 3


class TrainConfig(StrictModel):
    """Everything that decides what is trained, apart from the store and the seeds.

    Attributes:
        steps: iterations; every one updates policy and critics.
        representation_every: iterations per update of context encoder and world model.
        log_every: iterations per row of metrics.
        checkpoint_every: iterations per checkpoint.
        keep_checkpoints: older ones are removed.
        learning_rate_decay: over this share of the steps, the last, all learning rates fall linearly to 0.
        evaluation: while training; ``null``: none.
        precision: of matrix products while training: ``fp32``; ``mixed``: their factors may be rounded, to
            TF32 (GPU) or bfloat16 (CPU with AMX); ``bf16``: linear layers in bfloat16.
        features: what policy and critics see beside z: ``codes`` (published for SPC), ``observation`` or
            ``both``; ``auto``: codes where there is a world model.
        policy: how actions are distributed.
        backbone: what trains policy and critics; its constants stand under its own name.
    """

    steps: Count = 500_000
    representation_every: Count = 2
    log_every: Count = 1000
    checkpoint_every: Count = 5000
    keep_checkpoints: Count = 2
    learning_rate_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
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

    @property
    def learning(self) -> BackboneConfig:
        """The constants of the backbone."""
        constants: BackboneConfig = getattr(self, self.backbone)
        return constants

    @property
    def sees(self) -> Literal["codes", "observation", "both"]:
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
        """A backbone whose constants are not named has its defaults."""
        if isinstance(data, dict):
            name = data.get("backbone", "iql")
            if name in BACKBONES and name not in data:
                return {**data, name: {}}
        return data

    @model_validator(mode="after")
    def _one_backbone(self) -> Self:
        if getattr(self, self.backbone) is None:
            raise ValueError(
                f"backbone is {self.backbone}, and {self.backbone} is null: give it keys, or {{}}"
            )
        for name in BACKBONES:
            if name != self.backbone and getattr(self, name) is not None:
                raise ValueError(f"{name} has keys, but backbone is {self.backbone}: remove {name}")
        if (self.policy_head == "deterministic") != (self.backbone == "td3bc"):
            fitting = "deterministic" if self.backbone == "td3bc" else "gaussian or mixture"
            raise ValueError(
                f"backbone {self.backbone} cannot train a {self.policy_head} policy: make policy {fitting}"
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
        if self.objectives == ObjectivesConfig():
            raise ValueError("nothing trains the context encoder: name at least one of the objectives")
        return self
