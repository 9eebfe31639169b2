"""Behaviour policies: who acts when a dataset is collected."""

from clwm_data.behaviours.base import Behaviour, make_behaviour

__all__ = ["Behaviour", "make_behaviour"]
