"""Gymnasium's specification of a family's environment (needs the extra ``sim``)."""

from __future__ import annotations

from gymnasium.envs.registration import EnvSpec

from clwm_data.errors import ClwmError
from clwm_data.families.registry import get_family


class FamilySpec(EnvSpec):
    """It builds the family only when somebody asks for the horizon, so that registration is quick."""

    @property
    def max_episode_steps(self) -> int | None:
        """The family's horizon; ``None`` where the family cannot be built, which ``make`` will say."""
        try:
            return get_family(self.kwargs["family"]).horizon
        except ClwmError:
            return None

    @max_episode_steps.setter
    def max_episode_steps(self, steps: int | None) -> None:
        """The dataclass's constructor sets it; the family knows better."""
