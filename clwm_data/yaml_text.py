"""Reading untrusted YAML 1.2: plain keys and values, in one pass, with bounded size, depth and memory.

Scalars are read by the core schema of YAML 1.2 (chapter 10.3): ``1e-1`` is a number, ``010`` is ten, and
``12:30``, ``yes`` and ``2026-11-25`` are text. Merge keys (``<<``) and tags are not supported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from clwm_data.bounded import open_file
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.suggestions import close_names

Path_ = tuple[str | int, ...]

#: Limits of a document. The largest that clwm writes, the cards of trained policies, have 7 kB.
MAX_YAML_BYTES = 2**18
MAX_YAML_NODES = 100_000
MAX_YAML_DEPTH = 50
#: Files whose names are compared with that of one that does not exist.
MOST_FILES = 1000
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
TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")


@dataclass(frozen=True)
class YamlDocument:
    """A parsed YAML mapping that remembers the lines of its keys.

    Attributes:
        source: name for messages, usually the file's path.
        data: plain dicts, lists and scalars.
        lines: line (from 1) of every key path and list item.
    """

    source: str
    data: dict[str, Any]
    lines: Mapping[Path_, int]

    def where(self, path: Path_) -> str:
        """``file:line`` of a key path, or of its nearest ancestor that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.source}:{self.lines[path]}" if path else self.source

    def keys_of(self, path: Path_) -> Path_:
        """The steps of a path that are in the file: Pydantic puts names of types between them."""
        keys: Path_ = ()
        for step in path:
            if (*keys, step) in self.lines:
                keys = (*keys, step)
        return keys


def parse_yaml(text: str, source: str) -> YamlDocument:
    """Parse YAML that holds one mapping.

    Raises:
        InvalidInputError: not YAML, not a mapping, a duplicate key, or larger than the limits.
    """
    builder = _Builder(source)
    data = builder.read(text)
    if not isinstance(data, dict):
        raise InvalidInputError(
            f"{source}: expected keys with values at the top level, found {_KINDS.get(type(data), 'a value')}"
        )
    return YamlDocument(source, data, builder.lines)


def parse_yaml_value(text: str, source: str) -> Any:
    """Parse any YAML value, such as that of an option.

    Raises:
        InvalidInputError: as :func:`parse_yaml`.
    """
    return _Builder(source).read(text)


def read_yaml(path: Path, others: Iterable[str] = ()) -> YamlDocument:
    """Read and parse a YAML file.

    Args:
        path: the file.
        others: names without a file that may have been meant, where there is no such file.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: as :func:`parse_yaml`, or the file cannot be read.
    """
    try:
        with open_file(path) as stream:
            content = stream.read(MAX_YAML_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError as error:
        files = _files_beside(path)
        close = close_names(path.stem, {**files, **dict.fromkeys(others)}, 1)
        meant = f": did you mean {files.get(close[0], close[0])}?" if close else ""
        raise NotFoundError(f"{path}: cannot be read: {error.strerror}{meant}") from error
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError) and len(content) > MAX_YAML_BYTES:
            text = content.decode(errors="replace")
        else:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidInputError(f"{path}: cannot be read: {reason}") from error
    return parse_yaml(text, str(path))


def _files_beside(path: Path) -> dict[str, Path]:
    """YAML files in the folder of a path and in the folders there, by their names without the ending."""
    files: dict[str, Path] = {}
    for pattern in ("*", "*/*"):
        for ending in (".yaml", ".yml"):
            for file in islice(path.parent.glob(f"{pattern}{ending}"), MOST_FILES):
                if file.is_file():  # no broken link, which may be the file itself
                    files.setdefault(file.stem, file)
    return files


def dump_yaml(value: Any, **options: Any) -> str:
    """YAML text of plain values, which parsers of YAML 1.1 and of 1.2 read back as the same values.

    Args:
        value: dicts, lists, texts, numbers, booleans and ``None``.
        options: of :func:`yaml.dump`.
    """
    return str(yaml.dump(value, Dumper=_Dumper, **{"sort_keys": False, **options}))


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
        return f"{_KINDS[type(value)]} ({len(value)} items)"
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def printable(text: str, most: int = 100) -> str:
    """A text for a message, without quotes: of bounded length, control characters escaped."""
    cut = text[:most] + ("..." if len(text) > most else "")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


_KINDS: dict[type, str] = {
    list: "a list",
    dict: "keys with values",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "nothing",
}


class _Builder:
    """Builds plain data from the events of PyYAML's parser, which take no more memory than the text."""

    def __init__(self, source: str) -> None:
        self.lines: dict[Path_, int] = {}
        self._source = source
        self._count = 0
        #: Value of an anchor and its number of nodes; ``None`` while it is being read.
        self._anchors: dict[str, tuple[Any, int] | None] = {}

    def read(self, text: str) -> Any:
        """The document's value.

        Raises:
            InvalidInputError: as :func:`parse_yaml`.
        """
        if len(text) > MAX_YAML_BYTES:
            raise InvalidInputError(
                f"{self._source}: has more than {MAX_YAML_BYTES} characters: no configuration has"
            )
        try:
            events = iter(yaml.parse(text, Loader=yaml.SafeLoader))
            next(events)  # the stream's start
            if isinstance(next(events), yaml.StreamEndEvent):
                return None
            value = self._node(next(events), events, ())
            next(events)  # the document's end
            if not isinstance(event := next(events), yaml.StreamEndEvent):
                raise self._mistake(event, "expected one document, found a second one (---)")
        except yaml.MarkedYAMLError as error:
            line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
            problem = printable(str(error.problem or error), 200)
            raise InvalidInputError(f"{self._source}{line}: not valid YAML: {problem}") from error
        except (yaml.YAMLError, ValueError) as error:
            if isinstance(error, InvalidInputError):
                raise
            problem = printable(" ".join(str(error).split()), 200)
            raise InvalidInputError(f"{self._source}: not valid YAML: {problem}") from error
        return value

    def _mistake(self, event: yaml.Event, what: str) -> InvalidInputError:
        return InvalidInputError(f"{self._source}:{_line(event)}: not valid YAML: {what}")

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > MAX_YAML_NODES:
            raise InvalidInputError(
                f"{self._source}: holds more than {MAX_YAML_NODES} keys and items: split it"
            )

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path_) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise self._mistake(event, "a value is missing")
        self._add(1)
        if len(path) > MAX_YAML_DEPTH:
            raise self._mistake(event, "nested too deeply")
        before = self._count
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif event.tag not in (None, "!"):
            raise self._mistake(event, f"the tag {printable(str(event.tag))} is not allowed: remove it")
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(events, path)
        else:
            value = self._sequence(events, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before + 1)
        return value

    def _alias(self, event: yaml.AliasEvent) -> Any:
        if event.anchor not in self._anchors:
            raise self._mistake(event, f"found undefined alias {shown(event.anchor)}")
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise self._mistake(event, f"nested too deeply or recursive: *{printable(event.anchor)}")
        value, count = anchored
        self._add(count)
        return value

    def _mapping(self, events: Iterator[yaml.Event], path: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag not in TEXT_TAGS:
                raise self._mistake(event, "a key must be a plain text")
            key, child = event.value, (*path, event.value)
            line = _line(event)
            if key in values:
                raise InvalidInputError(
                    f"{self._source}:{line}: key {dotted(child)} is given twice (first in line "
                    f"{self.lines[child]}): keep one"
                )
            self.lines[child] = line
            values[key] = self._node(next(events), events, child)
        return values

    def _sequence(self, events: Iterator[yaml.Event], path: Path_) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            child = (*path, len(values))
            self.lines[child] = _line(event)
            values.append(self._node(event, events, child))
        return values

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        text: str = event.value
        if event.tag not in TEXT_TAGS:
            raise self._mistake(event, f"the tag {printable(str(event.tag))} is not allowed: remove it")
        if event.tag is not None or event.style not in (None, ""):
            return text
        try:
            return parse_scalar(text)
        except ValueError as error:
            raise self._mistake(event, str(error)) from None


def _line(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.line + 1


class _Dumper(yaml.SafeDumper):
    """Quotes every text that either version of YAML would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _characters, _form in (("-+.0123456789", FLOAT), ("0", INTEGERS[8])):
    _Dumper.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"^(?:{_form.pattern})$"), list(_characters)
    )


def dotted(path: Path_) -> str:
    """A key path as people write it: ``behaviours[0].noise``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{printable(step)}" if text else printable(step)
    return text
