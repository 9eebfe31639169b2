"""Registry of families: built in, or from other packages through the entry point ``clwm.families``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any, TypeVar

from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError, UnavailableError
from clwm_data.families.base import TaskFamily
from clwm_data.families.builtin import BUILTIN
from clwm_data.families.own_family import check_attributes, check_name
from clwm_data.functions import FOREIGN_ERRORS, in_short, is_code
from clwm_data.suggestions import suggestion

ENTRY_POINT_GROUP = "clwm.families"
#: What to do where a class is named in the place of a family.
CLASSES = (
    "a class of your own goes by the name that it registers, once the entry point clwm.families of its "
    "package names its module"
)

Factory = Callable[[], TaskFamily]
FamilyClass = TypeVar("FamilyClass", bound=type[TaskFamily])


def _import_and_call(target: str, *arguments: str) -> Any:
    module, name = target.split(":")
    return getattr(import_module(module), name)(*arguments)


_factories: dict[str, Factory] = {
    name: partial(_import_and_call, target, *arguments) for name, (target, arguments) in BUILTIN.items()
}
#: Those that were built: a family is one object.
_families: dict[str, TaskFamily] = {}
_listeners: list[Callable[[str], None]] = []


def register(name: str, factory: Factory) -> None:
    """Register a family under a name; it is built when it is first used.

    A class that is defined again, as by a cell of a notebook that is run twice, takes the place of the first;
    one of a script that is also imported, as by the name of a policy in it, is the one that is there.

    Raises:
        InvalidInputError: the name is taken, or cannot be that of a family.
    """
    check_name(name, getattr(factory, "__qualname__", "a family"))
    if name in _factories and not _is_again(_factories[name], factory):
        if (place := _place(factory)) is not None and place == _place(_factories[name]):
            return
        raise InvalidInputError(f"family {name} is registered twice: choose another name")
    _factories[name] = factory
    _families.pop(name, None)
    for listener in _listeners:
        listener(name)


def _is_again(before: Factory, after: Factory) -> bool:
    """Whether a class was defined by the same statement as one before."""
    places = {(each.__module__, each.__qualname__) for each in (before, after) if isinstance(each, type)}
    return isinstance(before, type) and isinstance(after, type) and len(places) == 1


def _place(factory: Factory) -> tuple[str, str] | None:
    """File and name of a class, whatever its module is called; ``None`` of anything else."""
    if not isinstance(factory, type):
        return None
    file = getattr(sys.modules.get(factory.__module__), "__file__", None)
    return None if file is None else (os.path.realpath(file), factory.__qualname__)


def on_registration(listener: Callable[[str], None]) -> None:
    """Call ``listener`` with the name of each family: now for those registered, later for each new one."""
    for name in family_names():
        listener(name)
    _listeners.append(listener)


def register_family(cls: FamilyClass) -> FamilyClass:
    """Class decorator: register a family that is built without arguments under its ``name``.

    Raises:
        InvalidInputError: it has no name, or the name is taken.
    """
    check_name(getattr(cls, "name", None), cls.__qualname__)
    register(cls.name, cls)
    return cls


@cache
def broken_plugins() -> tuple[str, ...]:
    """Load the families of other packages; returns a line for each package that cannot be imported."""
    from importlib.metadata import entry_points

    lines = []
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry_point.load()
        except FOREIGN_ERRORS as error:  # a broken package must not affect other families
            package = entry_point.dist.name if entry_point.dist is not None else entry_point.value
            lines.append(
                f"families of the package {package} ({entry_point.value}) are left out: {in_short(error)}"
            )
    return tuple(lines)


def family_names() -> list[str]:
    """Names of all families, in the order of their registration."""
    broken_plugins()
    return list(_factories)


def is_family(name: str) -> bool:
    """Whether there is a family of that name. Other packages are searched only if it is not known yet."""
    return name in _factories or name in family_names()


def get_family(name: str) -> TaskFamily:
    """The family with a name; the same object for the same name.

    Raises:
        NotFoundError: no such family.
        InvalidInputError: its class lacks something that a family has to have.
        UnavailableError: the package that defines it does not work.
    """
    if name in _families:
        return _families[name]
    if not is_family(name):
        other = CLASSES if is_code(name) else "`clwm families` lists them"
        hint = suggestion(name, _factories, other, most=3)
        raise NotFoundError(f"no task family is called {name!r}: {'; '.join((hint, *broken_plugins()))}")
    try:
        family = _factories[name]()
        check_attributes(family)
    except ClwmError:
        raise
    except FOREIGN_ERRORS as error:
        raise UnavailableError(f"family {name} does not work: {in_short(error)}") from error
    return _families.setdefault(name, family)


def is_registered(family: TaskFamily) -> bool:
    """Whether :func:`get_family` returns this very object."""
    return family.name in _factories and get_family(family.name) is family


def restore(cls: type[TaskFamily], name: str) -> TaskFamily:
    """Unpickle a family; unpickling ``cls`` imports the module that registers the family."""
    return get_family(name)


def working_families() -> tuple[list[TaskFamily], list[str]]:
    """All families that work here, and a line for each package or family that does not."""
    families, lines = [], list(broken_plugins())
    for name in family_names():
        try:
            family = get_family(name)
            family.tasks  # noqa: B018 (lists them)
        except ClwmError as error:
            lines.append(str(error))
        except FOREIGN_ERRORS as error:
            lines.append(f"family {name} does not work: {in_short(error)}")
        else:
            families.append(family)
    return families, lines
