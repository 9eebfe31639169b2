"""Validating YAML with strict models: every mistake is reported with its file, line and key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clwm_data.errors import InvalidInputError
from clwm_data.suggestions import close_names, either, suggestion
from clwm_data.yaml_text import parse_yaml, read_yaml
from clwm_data.yaml_values import (
    MAX_NUMBER_LENGTH,
    Path_,
    YamlDocument,
    dotted,
    parse_scalar,
    printable,
    shown,
)

__all__ = [
    "Mistake",
    "Settings",
    "StrictModel",
    "Text",
    "YamlDocument",
    "build_model",
    "first_mistake",
    "parse_yaml",
    "read_yaml",
]


class Mistake(ValueError):
    """A mistake that is found when a whole model is looked at, at one of its keys.

    Args:
        message: what is wrong, and what to do.
        at: keys from the model to the place.
    """

    def __init__(self, message: str, *at: str | int) -> None:
        super().__init__(message)
        self.at = at


class StrictModel(BaseModel):
    """Base of manifests and configurations: no unknown keys, no coercion of types, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Settings(StrictModel):
    """Base of settings that users also make in Python: a mistake in a call is one line, as in a file."""

    def __init__(self, /, **values: Any) -> None:
        """The settings.

        Raises:
            InvalidInputError: the first mistake, with its name and what is allowed.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _refusal(type(self), YamlDocument(type(self).__name__, values, {}), error) from error

    # Pydantic then validates files, and models that hold this one, without that call: mistakes keep their
    # place.
    setattr(__init__, "__pydantic_base_init__", True)  # noqa: B010


Model = TypeVar("Model", bound=BaseModel)

#: A key elsewhere must be this similar to be suggested; one beside the mistake may be less.
NEARLY_EQUAL = 0.8

#: Containers of models, and how a key in one of them is written.
STEPS: dict[Any, str] = {list: "[]", tuple: "[]", dict: ".*", Mapping: ".*"}

#: Text without control characters except tab and newline: others could manipulate a terminal.
TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
Text = Annotated[str, StringConstraints(pattern=TEXT)]
#: A name of a file or a folder on every system.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Finite = Annotated[float, Field(allow_inf_nan=False)]
#: Patterns of texts in words; that of ``Text`` would be a line of escapes.
IN_WORDS = {
    TEXT: "expected a text without control characters",
    NAME: "expected letters, digits, '.', '_' and '-', a letter or digit first",
}

#: Keys that reveal the kind of a file, and the command that takes it.
KINDS = {
    "behaviours": "a manifest: `clwm collect` takes it",
    "methods": "an experiment: `clwm sweep` takes it",
    "extends": "a method: `clwm train --method` takes it",
    "objectives": "a method or a configuration: `clwm train --method` takes it",
}


def build_model(model: type[Model], document: YamlDocument) -> Model:
    """Validate a document as a model.

    Raises:
        InvalidInputError: the first mistake, with file, line, key and what is allowed; unknown keys come
            first: a misspelt key is reported instead of the one that is then missing.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise _refusal(model, document, error) from error


def _refusal(model: type[BaseModel], document: YamlDocument, error: ValidationError) -> InvalidInputError:
    """The first mistake of a document."""
    errors = _mistakes(error)
    first = min(errors, key=lambda mistake: mistake["type"] != "extra_forbidden")
    path: Path_ = tuple(first["loc"])
    others = len(errors) - 1
    if first["type"] not in ("extra_forbidden", "missing") and (place := document.keys_of(path)):
        # A value that may be of several kinds has a mistake for each: the one of the kind that fits.
        here = [e for e in errors if document.keys_of(tuple(e["loc"]))[: len(place)] == place]
        first = min(here, key=lambda mistake: mistake["type"].endswith("_type"))
        path = tuple(first["loc"]) if first["type"] == "missing" else document.keys_of(tuple(first["loc"]))
        others = len(errors) - len(here)
        if first["type"] == "literal_error":
            first = {**first, "msg": _either(here)}
    path = (*path, *getattr(first.get("ctx", {}).get("error"), "at", ()))
    more = "" if others == 0 else f" (and {others} more)"
    message = _message(model, path, first) + more
    foreign = [key for key in KINDS if key in document.data and key not in model.model_fields]
    if foreign:
        path, message = (foreign[0],), f"unknown key {foreign[0]}: this is {KINDS[foreign[0]]}"
    return InvalidInputError(f"{document.where(path)}: {message}")


def _either(mistakes: list[Any]) -> str:
    """What a value of no allowed kind should be: ``Input should be 'auto' or a valid boolean``."""
    expected = "Input should be "
    kinds = [e["msg"].removeprefix(expected) for e in mistakes if e["msg"].startswith(expected)]
    return expected + " or ".join(dict.fromkeys(kinds))


def _mistakes(error: ValidationError) -> list[Any]:
    """All mistakes, but for lists that are too short because of a mistake in them."""
    errors = error.errors(include_url=False)
    places = [e["loc"] for e in errors]
    return [
        e
        for e in errors
        if e["type"] != "too_short"
        or not any(place[: len(e["loc"])] == e["loc"] != place for place in places)
    ]


def first_mistake(error: ValidationError) -> str:
    """The first mistake in metadata that a program wrote: where it is, and what was expected."""
    first = error.errors(include_url=False)[0]
    stated = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
    message = printable(stated, 300)
    where = f"attribute {printable(dotted(tuple(first['loc'])), 300)}: " if first["loc"] else ""
    return f"{where}{message[:1].lower()}{message[1:]}"


def _message(model: type[BaseModel], path: Path_, error: Any) -> str:
    key = printable(dotted(path), 300)
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}: {_suggestion(model, path)}"
    if error["type"] == "missing":
        return f"key {key} is missing"
    if error["type"] == "value_error":
        text = printable(str(error["ctx"]["error"]), 500)
        return f"{key}: {text}" if key else text
    if error["type"] in ("model_type", "dict_type"):
        # Those of a mapping are any names; the known ones would be those of its values.
        known = sorted(_keys_at(model, path)) if error["type"] == "model_type" else ()
        hint = f": known keys: {', '.join(known)}" if known else _key_for(error["input"])
        return f"{key}: expected keys with values, found {shown(error['input'])}{hint}"
    message = printable(error["msg"], 300)
    if error["type"] == "string_pattern_mismatch":
        message = IN_WORDS.get(error["ctx"]["pattern"], message)
    if error["type"] in ("tuple_type", "list_type"):
        message = "expected a list"
    return f"{key}: {message[:1].lower()}{message[1:]}, found {shown(error['input'])}{_hint(error)}"


def _key_for(given: Any) -> str:
    """How a name is written that was given as an item of a list, or alone, where names are keys."""
    name = given[0] if isinstance(given, list) and given else given
    return f": each is a key: write {name}:" if isinstance(name, str) and re.fullmatch(NAME, name) else ""


def _suggestion(model: type[BaseModel], path: Path_) -> str:
    """What may have been meant by an unknown key: a key beside it, or one of that name elsewhere."""
    name = str(path[-1])[:100]
    beside = sorted(_keys_at(model, path[:-1]))
    anywhere: dict[str, list[str]] = {}
    for key in _dotted_keys(model):
        anywhere.setdefault(key.rpartition(".")[2], []).append(key)
    close = difflib.get_close_matches(name, {*anywhere, *beside}, n=1, cutoff=NEARLY_EQUAL)
    close = close or close_names(name, beside, 1)
    if not close:
        return f"known keys: {', '.join(beside)}"
    meant = [close[0]] if close[0] in beside else anywhere[close[0]]
    return f"did you mean {either(meant)}?"


def _dotted_keys(model: type[BaseModel], above: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    """All keys of a model and of those in it, such as ``iql.expectile``, ``behaviours[].noise``,
    ``methods.*.preset``."""
    for name, field in model.model_fields.items():
        yield name
        for inner, step in _models_in(field.annotation):
            if inner not in (*above, model):
                yield from (f"{name}{step}.{key}" for key in _dotted_keys(inner, (*above, model)))


def _hint(error: Any) -> str:
    """What may have been meant: a list of the one value, a known value, or a number or boolean that YAML 1.1
    or Python would read."""
    given = error["input"]
    if error["type"] in ("tuple_type", "list_type") and type(given) in (str, int, float):
        if isinstance(given, str) and (ends := re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", given)):
            return f": write every number, [{ends[1]}, ..., {ends[2]}]"
        return f": write [{printable(str(given))}]"
    if not isinstance(given, str):
        return ""
    if error["type"] == "literal_error":
        known = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        return f": {meant}" if (meant := suggestion(given, known)) else ""
    if error["type"] == "bool_type" and given.lower() in ("yes", "no", "on", "off", "y", "n"):
        return f": write {'true' if given.lower() in ('yes', 'on', 'y') else 'false'}"
    if error["type"] in ("int_type", "float_type"):
        plain = given.replace("_", "").replace(",", "")[:MAX_NUMBER_LENGTH]
        if isinstance(parse_scalar(plain), int | float):
            return f": write {plain}, without quotes"
    return ""


def _keys_at(model: Any, path: Path_) -> set[str]:
    """Field names of the (possibly nested) model at a key path."""
    for step in path:
        field = getattr(model, "model_fields", {}).get(step)
        # A step that is not a field is an item of a list, or a key of a mapping whose values are the model.
        annotation = model if field is None else field.annotation
        model = next((inner for inner, _ in _models_in(annotation)), None)
    return set(getattr(model, "model_fields", {}))


def _models_in(annotation: Any, step: str = "") -> list[tuple[type[BaseModel], str]]:
    """The models of an annotation, each with the step to it: ``[]`` into a list, ``.*`` into a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, step)]
    step += STEPS.get(get_origin(annotation), "")
    return [pair for argument in get_args(annotation) for pair in _models_in(argument, step)]
