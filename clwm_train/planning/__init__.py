"""Planning with the learnt world model."""

from clwm_train.planning.config import PlannerConfig
from clwm_train.planning.mppi import MPPI

__all__ = ["MPPI", "PlannerConfig"]
