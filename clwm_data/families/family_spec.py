"""Gymnasium's specification of a family's environment (needs the extra ``sim``)."""

from __future__ import annotations

from gymnasium.envs.registration import EnvSpec

from clwm_data.errors import ClwmError
from clwm_data.families.registry import get_family


class FamilySpec(EnvSpec):
    """Builds the family only when the horizon is read, so that registration is fast."""

    @property
    def max_episode_steps(self) -> int | None:
        """The family's horizon; ``None`` if the family cannot be built, which ``make`` reports."""
        try:
            return get_family(self.name).horizon  # make_vec takes the kwargs away
        except ClwmError:
            return None

    @max_episode_steps.setter
    def max_episode_steps(self, steps: int | None) -> None:
        """Ignored: the dataclass's constructor sets it, but the family defines it."""
