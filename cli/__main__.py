"""``python -m clwm_cli``."""

from .entry import run

run()
