"""Types of the keys of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

#: Upper bound on counts: far above any use, and products of counts do not overflow.
MOST = 10**9
Count = Annotated[int, Field(ge=1, le=MOST)]
#: Range of single precision without denormal numbers.
SMALLEST, LARGEST = 1.2e-38, 3e38


def _single_precision(value: float) -> float:
    if value < SMALLEST:
        raise ValueError(f"{value} is too small for single precision: {SMALLEST} or more")
    return value


Rate = Annotated[float, Field(gt=0.0, le=LARGEST, allow_inf_nan=False), AfterValidator(_single_precision)]
Weight = Annotated[float, Field(ge=0.0, le=LARGEST, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
#: Beyond 16, sines of parameters in single precision are noise.
Octaves = Annotated[int, Field(ge=0, le=16)]
#: Bins of a two-hot regression, see :class:`clwm_train.model.scalar.TwoHot`.
Bins = Annotated[int, Field(ge=2, le=10_001)]
#: exp of this and of its negative is well within single precision.
LogStd = Annotated[float, Field(ge=-20.0, le=20.0)]
#: Maximum number of hidden layers: they are built one by one, so very many would take minutes.
MOST_LAYERS = 64
#: YAML has only lists; sizes are stored as tuples.
Sizes = Annotated[tuple[Count, ...], Field(strict=False, max_length=MOST_LAYERS)]
#: Hidden layers of a network that needs at least one, whose features are measured.
DeepSizes = Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=MOST_LAYERS)]
#: How weights are drawn, see :class:`clwm_train.model.nn.Initialiser`.
Init = Literal["truncated-normal-0.02", "fan-in", "group-fan-in", "orthogonal"]
#: Hidden layers of an MLP: Linear -> LayerNorm -> Mish, or Linear -> ReLU.
NetworkStyle = Literal["layernorm-mish", "relu"]
#: What the latent dynamics are trained with, see :mod:`clwm_train.model.prediction`.
Consistency = Literal["mse", "cosine", "cross-entropy"]
#: Precision of matrix products while training, see :mod:`clwm_train.training.precision`.
Precision = Literal["fp32", "mixed", "bf16"]
#: What policy and critics see, besides z; ``auto``: the codes if there is a world model.
Features = Literal["auto", "codes", "target-codes", "observation", "both"]
#: See :mod:`clwm_train.model.context_encoder`.
ContextSource = Literal["encoder", "none", "parameters"]
#: See :mod:`clwm_train.model.policy`.
PolicyHead = Literal["gaussian", "mixture", "deterministic"]
#: See :mod:`clwm_train.model.backbones`.
BackboneName = Literal["iql", "td3bc", "bc", "tdmpc2"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
#: Where the context of an evaluated task comes from, see :mod:`clwm_train.evaluation.protocols`.
Protocol = Literal["few-shot", "online-context", "non-prior", "zero-shot"]
#: The largest codebook of Mentzer et al. 2023.
MOST_CODES = 2**16
Levels = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(strict=False, min_length=1)]
