"""Values of YAML documents: what a scalar means, and how values and their places are shown in messages.

Scalars are read by the core schema of YAML 1.2 (chapter 10.3): ``1e-1`` is a number, ``010`` is ten, and
``12:30``, ``yes`` and ``2026-11-25`` are text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Path_ = tuple[str | int, ...]

#: Limits of a document. The largest that clwm writes, the cards of trained policies, have 7 kB.
MAX_YAML_BYTES = 2**18
MAX_YAML_NODES = 100_000
MAX_YAML_DEPTH = 50
#: Longest number; no sensible one in a manifest or a configuration is longer.
MAX_NUMBER_LENGTH = 40

NULL = re.compile(r"~|null|Null|NULL|")
TRUE = re.compile(r"true|True|TRUE")
FALSE = re.compile(r"false|False|FALSE")
INTEGERS = {
    10: re.compile(r"[-+]?[0-9]+"),
    8: re.compile(r"0o[0-7]+"),
    16: re.compile(r"0x[0-9a-fA-F]+"),
}
FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)

KINDS: dict[type, str] = {
    list: "a list",
    dict: "keys with values",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "nothing",
}


@dataclass(frozen=True)
class YamlDocument:
    """A parsed YAML mapping that remembers the lines of its keys.

    Attributes:
        source: name for messages, usually the file's path.
        data: plain dicts, lists and scalars.
        lines: line (from 1) of every key path and list item.
        sources: name of the source of key paths that come from another one.
    """

    source: str
    data: dict[str, Any]
    lines: Mapping[Path_, int]
    sources: Mapping[Path_, str] = field(default_factory=dict)

    def where(self, path: Path_) -> str:
        """``file:line`` of a key path, or of its nearest ancestor that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.sources.get(path, self.source)}:{self.lines[path]}" if path else self.source

    def keys_of(self, path: Path_) -> Path_:
        """The steps of a path that are in the document: Pydantic puts names of types between them."""
        keys: Path_ = ()
        value: Any = self.data
        for step in path:
            in_list = isinstance(value, list | tuple) and isinstance(step, int) and step < len(value)
            if in_list or (isinstance(value, dict) and step in value):
                keys, value = (*keys, step), value[step]
        return keys


def parse_scalar(text: str) -> str | float | bool | None:
    """What a scalar without quotes means, by the core schema of YAML 1.2.

    Raises:
        ValueError: a number that is too long.
    """
    if NULL.fullmatch(text):
        return None
    if TRUE.fullmatch(text) or FALSE.fullmatch(text):
        return TRUE.fullmatch(text) is not None
    base = next((base for base, form in INTEGERS.items() if form.fullmatch(text)), None)
    if base is None and not FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_NUMBER_LENGTH:
        raise ValueError(f"a number of {len(text)} characters, the longest allowed has {MAX_NUMBER_LENGTH}")
    if base is not None:
        return int(text, 0 if base != 10 else 10)
    return float(text if text[-1] not in "fFnN" else text.replace(".", ""))


def shown(value: object, most: int = 80) -> str:
    """An untrusted value for a message: of bounded length, without control characters."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**most:
        return f"a number of more than {most} digits"
    if isinstance(value, str):
        return repr(value if len(value) <= most else f"{value[:most]}...")
    if isinstance(value, list | dict):
        return f"{KINDS[type(value)]} ({len(value)} items)"
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def printable(text: str, most: int = 100) -> str:
    """A text for a message, without quotes: of bounded length, control characters escaped."""
    cut = text[:most] + ("..." if len(text) > most else "")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def dotted(path: Path_) -> str:
    """A key path as people write it: ``behaviours[0].noise``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{printable(step)}" if text else printable(step)
    return text
