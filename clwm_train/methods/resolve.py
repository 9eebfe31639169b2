"""From a method, a preset and ``--set`` options to one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clwm_data.errors import InvalidInputError
from clwm_data.strict import YamlDocument, build_model
from clwm_data.yaml_text import parse_yaml_value
from clwm_data.yaml_values import MAX_YAML_DEPTH, printable
from clwm_train.config import BACKBONES, TrainConfig
from clwm_train.methods.method_file import merge, names, over, read_method, read_preset

__all__ = ["names", "overridden", "parse_override", "resolve"]

#: Parts whose sizes a preset may set, but which only a method may add.
PARTS = ("world_model", "objectives")


def resolve(method: str, preset: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a method in a preset's size.

    In increasing precedence: the defaults, the preset, the method, the overrides. A preset's keys for a world
    model or an objective that the method does not have are left out, and so is its policy's head where the
    backbone is ``td3bc``, which has its own.

    Args:
        method: bundled name, or the path of a YAML file.
        preset: bundled name, or the path of a YAML file; what it does not name has the published value.
        overrides: ``a.b=value`` with the value in YAML; ``null`` removes an optional part.

    Raises:
        NotFoundError: there is no such method or preset.
        InvalidInputError: a mistake in them; the message names file, line and key of the first.
    """
    document = read_method(method).document
    sizes = read_preset(preset)
    config = build_model(TrainConfig, over(sizes, document, _sized(sizes.data, document.data)))
    if overrides:
        data = document.data
        for override in overrides:
            data = merge(data, parse_override(override))
        config = build_model(TrainConfig, YamlDocument("--set", _sized(sizes.data, data), {}))
    return config


def overridden(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """A configuration with the values of overrides in place of its own.

    Raises:
        InvalidInputError: a mistake in them.
    """
    data = config.model_dump(mode="json")
    for override in overrides:
        data = merge(data, parse_override(override))
    return build_model(TrainConfig, YamlDocument("--set", data, {}))


def _sized(preset: dict[str, Any], method: dict[str, Any]) -> dict[str, Any]:
    """The method over the preset's keys for the parts that the method names."""
    kept = {key: value for key, value in preset.items() if key not in PARTS}
    if method.get("world_model") is not None and "world_model" in preset:
        kept["world_model"] = preset["world_model"]
    named = method.get("objectives")
    named = named if isinstance(named, dict) else {}  # validation reports anything else
    sized = preset.get("objectives") or {}
    kept["objectives"] = {key: value for key, value in sized.items() if named.get(key) is not None}
    backbone = method.get("backbone", preset.get("backbone", "iql"))
    for name in BACKBONES:
        if name != backbone:
            kept.pop(name, None)
    if backbone == "td3bc" and isinstance(kept.get("policy"), dict):
        kept["policy"] = {key: value for key, value in kept["policy"].items() if key != "head"}
    return merge(kept, method)


def parse_override(override: str, option: str = "--set", example: str = "batch.tasks=8") -> dict[str, Any]:
    """``a.b=value`` as nested keys.

    Raises:
        InvalidInputError: it is not of that form.
    """
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")) or key.count(".") > MAX_YAML_DEPTH:
        raise InvalidInputError(f"{option} {printable(override)}: expected key=value, such as {example}")
    try:
        value = parse_yaml_value(text, option)
    except InvalidInputError as error:
        raise InvalidInputError(f"{option} {override}: {text!r} is not a YAML value") from error
    *parents, last = key.split(".")
    nested: dict[str, Any] = {last: value}
    for parent in reversed(parents):
        nested = {parent: nested}
    return nested
