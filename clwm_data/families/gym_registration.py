"""``gymnasium.make("clwm/<family>-v0", task=i)``."""

from __future__ import annotations

from typing import Any

from clwm_data.families.registry import get_family, on_registration


def make(family: str, task: int, render_mode: str | None = None) -> Any:
    """Entry point of every registered id; arguments as :meth:`TaskFamily.make_env`."""
    return get_family(family).make_env(task, render_mode=render_mode)


def register_environments() -> None:
    """Register one Gymnasium id per family, also of those that are registered later; nothing happens where
    Gymnasium is not installed.

    Gymnasium has no plugin discovery of its own, so this runs on ``import clwm_data``.
    """
    try:
        import gymnasium
    except ModuleNotFoundError:
        return

    def make_known(name: str) -> None:
        gymnasium.register(
            id=f"clwm/{name}-v0",
            entry_point="clwm_data.families.gym_registration:make",
            kwargs={"family": name},
        )

    on_registration(make_known)
