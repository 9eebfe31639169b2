"""What needs PyYAML: plain values from the events of its parser, and a dumper for YAML 1.1 and 1.2.

Documents are read in one pass, with bounded size, depth and memory. Merge keys (``<<``) and tags are not
supported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from clwm_data.errors import InvalidInputError
from clwm_data.yaml_values import (
    FLOAT,
    INTEGERS,
    MAX_YAML_BYTES,
    MAX_YAML_DEPTH,
    MAX_YAML_NODES,
    Path_,
    dotted,
    parse_scalar,
    printable,
    shown,
)

TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")


class YamlBuilder:
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
            InvalidInputError: as :func:`clwm_data.yaml_text.parse_yaml`.
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
            if event.value == "<<" and event.style in (None, ""):
                raise self._mistake(event, "merge keys (<<) are not read: write the keys out")
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


class YamlDumper(yaml.SafeDumper):
    """Quotes every text that either version of YAML would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeated values are written out each time."""
        return True


for _characters, _form in (("-+.0123456789", FLOAT), ("0", INTEGERS[8])):
    YamlDumper.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"^(?:{_form.pattern})$"), list(_characters)
    )
