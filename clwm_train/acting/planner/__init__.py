"""Planning with the learned world model."""

from clwm_train.acting.planner.mppi import MPPI
from clwm_train.settings import PlannerConfig

__all__ = ["MPPI", "PlannerConfig"]
