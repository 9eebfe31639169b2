"""Precision of matrix products while training; weights, sums and optimisers stay in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from clwm_train.config import Precision
from clwm_train.model.nn import Linear
from clwm_train.model.prediction import Classification
from clwm_train.model.world_model import WorldModel

#: Layers with fewer outputs stay in single precision: they cost little, and a value of 50 in bfloat16 (8
#: bits) has an error of up to 1/8, as large as the differences between actions.
NARROW = 32


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Compute float32 products in this block with a precision.

    ``mixed`` lets torch round the factors: TF32 on a GPU, bfloat16 on a CPU that multiplies it faster (AMX);
    elsewhere it changes nothing.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "mixed" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def use_bf16(module: nn.Module) -> None:
    """Let wide linear layers multiply in bfloat16, and keep the many logits of a classification in it."""
    for part in module.modules():
        if isinstance(part, Linear):
            part.bf16 = part.weight.shape[-1] >= NARROW
        if isinstance(part, WorldModel) and isinstance(part.prediction, Classification):
            part.dynamics.head.bf16_output = True
