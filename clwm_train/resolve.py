"""From a method, a preset and ``--set`` options to one configuration."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from clwm_data.errors import ClwmError
from clwm_data.strict import YamlDocument, build_model, read_yaml
from clwm_train.config import TrainConfig

HERE = Path(__file__).parent

#: Parts that a preset may size but only a method may bring in.
PARTS = ("world_model", "objectives")


def names(kind: str) -> list[str]:
    """Bundled ``methods`` or ``presets``, by name."""
    return sorted(path.stem for path in (HERE / kind).glob("*.yaml"))


def resolve(method: str, preset: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a method in a preset's size.

    Later wins: the defaults, the preset, the method, the overrides. A preset's keys for a world model or
    an objective that the method does not name are left out.

    Args:
        method: bundled name, or the path of a YAML file.
        preset: likewise.
        overrides: ``a.b=value`` with the value in YAML; ``null`` removes an optional part.

    Raises:
        ClwmError: no such method or preset, or the first mistake in them, with file, line and key.
    """
    method_document = _read("methods", method)
    data = _merge(_sized_parts(_read("presets", preset).data, method_document.data), method_document.data)
    document = YamlDocument(method_document.source, data, method_document.lines)
    config = build_model(TrainConfig, document)
    if overrides:
        for override in overrides:
            data = _merge(data, _parse(override))
        config = build_model(TrainConfig, YamlDocument("--set", data, {}))
    return config


def _read(kind: str, name: str) -> YamlDocument:
    path = Path(name) if name.endswith((".yaml", ".yml")) else HERE / kind / f"{name}.yaml"
    if not path.is_file():
        what = kind.removesuffix("s")
        known = names(kind)
        close = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"did you mean {close[0]}?"
            if close
            else f"there are: {', '.join(known)}, or the path of a YAML file"
        )
        raise ClwmError(f"no {what} is called {name!r}: {hint}")
    return read_yaml(path)


def _sized_parts(preset: dict[str, Any], method: dict[str, Any]) -> dict[str, Any]:
    """The preset without parts that the method does not name."""
    kept = {key: value for key, value in preset.items() if key not in PARTS}
    if method.get("world_model") is not None and "world_model" in preset:
        kept["world_model"] = preset["world_model"]
    named = method.get("objectives") or {}
    sized = preset.get("objectives") or {}
    kept["objectives"] = {key: value for key, value in sized.items() if named.get(key) is not None}
    return kept


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[key] = _merge(before, value) if both else value  # type: ignore[arg-type]
    return merged


def _parse(override: str) -> dict[str, Any]:
    """``a.b=value`` as nested keys."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ClwmError(f"--set {override}: expected key=value, such as batch.tasks=8")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClwmError(f"--set {override}: {text!r} is not a YAML value") from error
    if isinstance(value, str):
        value = _number(value)
    *parents, last = key.split(".")
    nested: dict[str, Any] = {last: value}
    for parent in reversed(parents):
        nested = {parent: nested}
    return nested


def _number(text: str) -> str | float:
    """YAML 1.1 takes 1e-4 (no dot) for a string; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text
