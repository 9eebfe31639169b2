"""Networks with a leading axis: every weight holds one matrix per member, members never mix.

A member is one seed (axis of length S), or one of two critics of one seed (2 S).
"""

from clwm_train.nn.ema import EmaCopy
from clwm_train.nn.initialise import Init, Initialiser
from clwm_train.nn.linear import Linear, NormMish
from clwm_train.nn.mlp import MLP, NetworkStyle

__all__ = ["MLP", "EmaCopy", "Init", "Initialiser", "Linear", "NetworkStyle", "NormMish"]
