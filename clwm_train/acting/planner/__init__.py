"""Planning with the learnt world model."""

from clwm_train.acting.planner.config import PlannerConfig
from clwm_train.acting.planner.mppi import MPPI

__all__ = ["MPPI", "PlannerConfig"]
