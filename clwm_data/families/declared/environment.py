"""Making the Gymnasium environment of a declared task."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.extras import require
from clwm_data.families.base import Parameters, Task
from clwm_data.families.declared.declaration import MUJOCO_CONTEXT, FamilyDeclaration
from clwm_data.functions import FOREIGN_ERRORS, find_function, in_short, is_code

if TYPE_CHECKING:
    import gymnasium as gymnasium_types


def make_environment(
    declaration: FamilyDeclaration, task: Task, *, render_mode: str | None = None
) -> gymnasium_types.Env[Any, Any]:
    """The environment of a task, without Gymnasium's time limit.

    Raises:
        MissingExtraError: Gymnasium is not installed.
        NotFoundError: there is no such environment or function.
        UnavailableError: it cannot be made; the message says why.
    """
    gymnasium = require("gymnasium", "sim", f"simulating {declaration.name}")
    arguments: dict[str, Any] = dict(declaration.arguments)
    if declaration.apply is None:
        if clash := sorted(set(arguments) & set(task.parameters)):
            raise InvalidInputError(
                f"family {declaration.name}: {clash[0]} is both an argument and a parameter: name it once"
            )
        arguments.update(task.parameters)
    maker = declaration.env
    try:
        env = _construct(gymnasium, declaration, arguments, render_mode)
        if declaration.apply is not None:
            maker, arguments = declaration.apply, dict(task.parameters)
            env = _applied(declaration, env, task.parameters)
    except ClwmError:
        raise
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"family {declaration.name}: {maker} needs the package {error.name}: install it"
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        hint = "" if is_code(declaration.env) else " (a function is written package.module:function)"
        raise NotFoundError(f"family {declaration.name}: {in_short(error)}{hint}") from error
    except FOREIGN_ERRORS as error:
        done = "made" if maker == declaration.env else "called"
        values = ", ".join(f"{name}={value}" for name, value in arguments.items())
        raise UnavailableError(
            f"family {declaration.name}: {maker} cannot be {done} with ({values}): {in_short(error)}"
        ) from error
    if not isinstance(env, gymnasium.Env):
        raise InvalidInputError(
            f"family {declaration.name}: {maker} gives a {type(env).__name__}, not a gymnasium.Env"
        )
    made: gymnasium_types.Env[Any, Any] = env
    return made


def _construct(
    gymnasium: Any, declaration: FamilyDeclaration, arguments: dict[str, Any], render_mode: str | None
) -> Any:
    # "module:Id-v0" is Gymnasium's own spelling: the module registers the id when it is imported.
    if not is_code(declaration.env) or re.search(r"-v\d+$", declaration.env):
        # No time limit here: TaskEnv applies the family's horizon.
        options: dict[str, Any] = {"max_episode_steps": -1, "disable_env_checker": True}
        if render_mode is not None:
            options["render_mode"] = render_mode
        return gymnasium.make(declaration.env, **options, **arguments)
    make = find_function(declaration.env, f"family {declaration.name}: env")
    if render_mode is not None and "render_mode" in inspect.signature(make).parameters:
        arguments = {**arguments, "render_mode": render_mode}
    return make(**arguments)


def _applied(declaration: FamilyDeclaration, env: Any, parameters: Parameters) -> Any:
    if declaration.apply == MUJOCO_CONTEXT:
        from clwm_data.families.simulation.mujoco_context import apply_to_environment

        apply_to_environment(env, parameters)
        return env
    function = find_function(str(declaration.apply), f"family {declaration.name}: apply")
    changed = function(env, **parameters)
    return env if changed is None else changed
