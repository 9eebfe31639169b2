"""Reading a declared family from YAML: a file of its own, or the key ``family`` of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import field_validator

from clwm_data.errors import InvalidInputError
from clwm_data.families.base import TaskFamily
from clwm_data.families.declared.declaration import FamilyDeclaration
from clwm_data.families.declared.family import DeclaredFamily, declared_family
from clwm_data.families.declared.tasks import GridTasks, ListedTask, SampledTasks
from clwm_data.families.registry import CLASSES, get_family, is_family
from clwm_data.functions import is_code
from clwm_data.paths import expand_home
from clwm_data.strict import YamlDocument, build_model, read_yaml
from clwm_data.yaml_values import shown

SUFFIXES = (".yaml", ".yml")
#: How many files may name one another before one declares a family.
MOST_FILES = 10


# One model per kind of tasks, so that a mistake is reported for the kind that is meant, not for all three.
class _WithList(FamilyDeclaration):
    tasks: list[ListedTask]

    @field_validator("tasks")
    @classmethod
    def _have_as_many_numbers(cls, tasks: list[ListedTask]) -> list[ListedTask]:
        """Not checked in stores: those that were collected before it was remain readable."""
        for index, task in enumerate(tasks):
            for name, value in task.parameters.items():
                there = tasks[0].parameters.get(name, value)
                if np.shape(value) != np.shape(there):
                    raise ValueError(
                        f"task {index}: {name} is {shown(value)}, in task 0 {shown(there)}: give it a number "
                        "in all tasks, or lists of as many"
                    )
        return tasks


class _WithGrid(FamilyDeclaration):
    tasks: GridTasks


class _WithSample(FamilyDeclaration):
    tasks: SampledTasks


def is_family_file(text: str) -> bool:
    """Whether a user means a file and not the name of a family."""
    return text.endswith(SUFFIXES)


def find_family(text: str) -> TaskFamily:
    """The family with a name, or the one that a YAML file declares; the same object for the same family.

    Args:
        text: the name, or the path of a file, which ends in ``.yaml``: a declaration, or a manifest with one.

    Raises:
        NotFoundError: there is no such family or file.
        InvalidInputError: there is a mistake in the file (file, line and key are named).
        UnavailableError: the package that defines the family does not work.
    """
    return load_family(text) if is_family_file(text) else get_family(text)


def load_family(path: Path | str) -> DeclaredFamily:
    """The family that a file declares: either a file of its own, or a manifest.

    Raises:
        ClwmError: the file cannot be read, or there is a mistake in it (file, line and key are named).
    """
    return declared_family(read_declaration(expand_home(path)), trusted=True)


def read_declaration(path: Path, inside: int = 0) -> FamilyDeclaration:
    """As :func:`load_family`, without building the family.

    Args:
        path: the file.
        inside: number of files that were read because each names the next.
    """
    document = read_yaml(path)
    within = document.data.get("family")
    if isinstance(within, str) and is_family_file(within):
        if inside == MOST_FILES:
            raise InvalidInputError(
                f"{document.where(('family',))}: family: files name each other in a circle"
            )
        return read_declaration(path.parent / within, inside + 1)
    return build_declaration(below(document, "family") if isinstance(within, dict) else document)


def build_declaration(document: YamlDocument) -> FamilyDeclaration:
    """Validate a document as a declaration; its name must not be taken by another family.

    Raises:
        InvalidInputError: the first mistake, with file, line and key.
    """
    tasks = document.data.get("tasks")
    kind: type[FamilyDeclaration] = _WithList
    if isinstance(tasks, dict) and {"grid", "sample"} & set(tasks):
        kind = _WithGrid if "grid" in tasks else _WithSample
    elif tasks is not None and not isinstance(tasks, list):
        raise InvalidInputError(
            f"{document.where(('tasks',))}: tasks: list the tasks, or give the key grid or sample"
        )
    declaration = build_model(kind, document)
    if is_family(declaration.name):
        raise InvalidInputError(
            f"{document.where(('name',))}: name: {declaration.name} is another family's: choose a new one"
        )
    return FamilyDeclaration.model_validate(declaration.model_dump())


def below(document: YamlDocument, key: str) -> YamlDocument:
    """The mapping under a key, as a document of its own."""
    data: dict[str, Any] = document.data[key]
    lines = {path[1:]: line for path, line in document.lines.items() if path[0] == key and len(path) > 1}
    return YamlDocument(document.source, data, lines)


def with_declared_family(document: YamlDocument) -> YamlDocument:
    """A manifest whose ``family`` is a declaration, or the file of one, split into name and declaration.

    Raises:
        ClwmError: as :func:`load_family`.
    """
    family = document.data.get("family")
    if isinstance(family, dict):
        declaration = build_declaration(below(document, "family"))
    elif isinstance(family, str) and is_family_file(family):
        declaration = read_declaration(Path(document.source).parent / expand_home(family))
    elif isinstance(family, str) and is_code(family):
        raise InvalidInputError(f"{document.where(('family',))}: family: {shown(family)}: {CLASSES}")
    else:
        return document
    data = {**document.data, "family": declaration.name, "declared_family": declaration}
    return YamlDocument(document.source, data, document.lines)
