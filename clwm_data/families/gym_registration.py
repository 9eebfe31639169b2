"""``gymnasium.make("clwm/<family>-v0", task=i)``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from clwm_data.errors import InvalidInputError
from clwm_data.families.registry import get_family, on_registration

ENTRY_POINT = "clwm_data.families.gym_registration:make"


def environment_id(family: str) -> str:
    """Gymnasium's id of a family."""
    return f"clwm/{family}-v0"


def make(family: str, task: Any = None, render_mode: str | None = None) -> Any:
    """Entry point of every registered id; arguments as :meth:`TaskFamily.make_env`.

    The time limit is left to ``gymnasium.make``, whose ``max_episode_steps`` can then change it.
    """
    if task is None:
        last = len(get_family(family).tasks) - 1
        name = environment_id(family)
        raise InvalidInputError(
            f"{name}: name one of its tasks 0 to {last}: gymnasium.make({name!r}, task=0)"
        )
    return get_family(family).make_env(task, render_mode=render_mode, time_limit=False)


def register_environments() -> None:
    """Register one Gymnasium id per family, including families registered later, once Gymnasium is imported;
    without effect if it is not installed.

    Gymnasium has no plugin discovery of its own, so this runs on ``import clwm_data``, which must stay fast
    for those who only read stores.
    """
    if sys.modules.get("gymnasium") is not None:
        _register()
    else:
        sys.meta_path.insert(0, _AfterGymnasium())


def _register() -> None:
    import gymnasium

    from clwm_data.families.family_spec import FamilySpec

    def register(name: str) -> None:
        spec = FamilySpec(id=environment_id(name), entry_point=ENTRY_POINT, kwargs={"family": name})
        gymnasium.registry[spec.id] = spec

    on_registration(register)


class _AfterGymnasium(MetaPathFinder):
    """Finds Gymnasium as usual, and registers the environments once it has been imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Gymnasium's own spec, whose loader also registers; ``None`` for all other modules."""
        if fullname != "gymnasium":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader
        execute = loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            sys.meta_path.remove(self)
            _register()

        loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
