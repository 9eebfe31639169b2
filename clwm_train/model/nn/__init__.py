"""Networks with a leading axis: every weight holds one matrix per member, members never mix.

A member is one seed (axis of length S), or one of two critics of one seed (2 S).
"""

from clwm_train.model.nn.ema import EmaCopy
from clwm_train.model.nn.initialise import Initialiser
from clwm_train.model.nn.linear import Linear, NormMish
from clwm_train.model.nn.mlp import MLP

__all__ = ["MLP", "EmaCopy", "Initialiser", "Linear", "NormMish"]
