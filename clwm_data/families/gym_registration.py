"""``gymnasium.make("clwm/<family>-v0", task=i)``."""

from __future__ import annotations

from typing import Any

from clwm_data.families.registry import get_family, on_registration

ENTRY_POINT = "clwm_data.families.gym_registration:make"


def environment_id(family: str) -> str:
    """Gymnasium's id of a family."""
    return f"clwm/{family}-v0"


def make(family: str, task: Any = None, render_mode: str | None = None) -> Any:
    """Entry point of every registered id; arguments as :meth:`TaskFamily.make_env`.

    The time limit is left to ``gymnasium.make``, whose ``max_episode_steps`` can then change it.
    """
    return get_family(family).make_env(task, render_mode=render_mode, time_limit=False)


def register_environments() -> None:
    """Register one Gymnasium id per family, also of those that are registered later; nothing happens where
    Gymnasium is not installed.

    Gymnasium has no plugin discovery of its own, so this runs on ``import clwm_data``.
    """
    try:
        import gymnasium
    except ModuleNotFoundError:
        return
    from clwm_data.families.family_spec import FamilySpec

    def register(name: str) -> None:
        spec = FamilySpec(id=environment_id(name), entry_point=ENTRY_POINT, kwargs={"family": name})
        gymnasium.registry[spec.id] = spec

    on_registration(register)
