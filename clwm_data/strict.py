"""YAML into strict models: every mistake is told with its file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from clwm_data.errors import ClwmError


class StrictModel(BaseModel):
    """Base of manifests and configurations: no unknown keys, no coercion of types, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Model = TypeVar("Model", bound=BaseModel)
Path_ = tuple[str | int, ...]

#: Text without control characters but tab and newline: others play tricks on the terminal that shows them.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]

#: A YAML document may have this many keys and items; aliases make a few lines unfold to billions.
MAX_YAML_NODES = 100_000


@dataclass(frozen=True)
class YamlDocument:
    """A parsed YAML mapping that remembers where its keys stood.

    Attributes:
        source: name for messages, usually the file's path.
        data: plain dicts, lists and scalars.
        lines: line (from 1) of every key path and list item.
    """

    source: str
    data: dict[str, Any]
    lines: Mapping[Path_, int]

    def where(self, path: Path_) -> str:
        """``file:line`` of a key path, or of its nearest ancestor that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.source}:{self.lines[path]}" if path else self.source


def parse_yaml(text: str, source: str) -> YamlDocument:
    """Parse YAML (safe loader) that holds one mapping.

    Raises:
        ClwmError: not YAML, not a mapping, a key that stands twice, or more than people write.
    """
    lines: dict[Path_, int] = {}

    def visit(node: yaml.Node, path: Path_) -> None:
        if len(lines) > MAX_YAML_NODES:
            raise ClwmError(f"{source}: holds more than {MAX_YAML_NODES} keys and items: split it")
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                child = (*path, str(key.value))
                if child in lines:
                    raise ClwmError(
                        f"{source}:{key.start_mark.line + 1}: key {_dotted(child)} stands twice "
                        f"(first in line {lines[child]}): keep one"
                    )
                lines[child] = key.start_mark.line + 1
                visit(value, child)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                lines[(*path, index)] = item.start_mark.line + 1
                visit(item, (*path, index))

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            visit(root, ())
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise ClwmError(f"{source}{line}: not valid YAML: {error.problem or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ClwmError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ClwmError(f"{source}: not valid YAML: nested too deeply or in a circle") from error
    if not isinstance(data, dict):
        raise ClwmError(f"{source}: expected keys with values at the top level, found {type(data).__name__}")
    return YamlDocument(source, data, lines)


def read_yaml(path: Path) -> YamlDocument:
    """Read and parse a YAML file.

    Raises:
        ClwmError: as :func:`parse_yaml`, or the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ClwmError(f"{path}: cannot be read: {reason}") from error
    return parse_yaml(text, str(path))


def build_model(model: type[Model], document: YamlDocument) -> Model:
    """Validate a document as a model.

    Raises:
        ClwmError: the first mistake, with file, line, key and what is allowed.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path: Path_ = tuple(first["loc"])
        more = "" if error.error_count() == 1 else f" (and {error.error_count() - 1} more)"
        message = _message(model, document, path, first)
        raise ClwmError(f"{document.where(path)}: {message}{more}") from error


def first_mistake(error: ValidationError) -> str:
    """The first mistake of metadata that no person wrote: where it is, and what was expected."""
    first = error.errors(include_url=False)[0]
    return f"attribute {_dotted(tuple(first['loc']))}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _message(model: type[BaseModel], document: YamlDocument, path: Path_, error: Any) -> str:
    key = _dotted(path)
    if error["type"] == "extra_forbidden":
        known = sorted(_keys_at(model, path[:-1]))
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key {key}: {hint}"
    if error["type"] == "missing":
        return f"key {key} is missing"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
    return f"{key}: {error['msg'][:1].lower()}{error['msg'][1:]}, found {error['input']!r}"


def _keys_at(model: Any, path: Path_) -> set[str]:
    """Field names of the (possibly nested) model at a key path."""
    for step in path:
        field = getattr(model, "model_fields", {}).get(step)
        # A step that is no field is an item of a list, or a key of a mapping whose values are the model.
        annotation = model if field is None else field.annotation
        model = next((found for found in _models_in(annotation) if found is not None), None)
    return set(getattr(model, "model_fields", {}))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _models_in(argument)]


def _dotted(path: Path_) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
