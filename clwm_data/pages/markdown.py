"""Cards of repositories: generated Markdown between two marks, with front matter.

Text that people write around the marks, and keys that they add to the front matter, are kept when a card is
generated again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from clwm_data.strict import parse_yaml
from clwm_data.yaml_text import dump_yaml

CARD = "README.md"
BEGIN = "<!-- clwm: generated from here on; text before and after these two marks is kept -->"
END = "<!-- clwm: generated up to here -->"


def merge_card(
    existing: str, front_matter: Callable[[Mapping[str, Any]], Mapping[str, Any]], body: Sequence[str]
) -> str:
    """A repository card, new or generated again.

    Args:
        existing: the repository's existing card, or an empty text.
        front_matter: maps the existing front matter to the keys to set; those that are ``None`` are removed.
        body: lines of the generated part.

    Raises:
        InvalidInputError: the existing front matter is not YAML.
    """
    front, before, after = split_card(existing)
    changed = {**front, **front_matter(front)}
    front = {key: value for key, value in changed.items() if value is not None}
    header = dump_yaml(front, allow_unicode=True, width=100)
    text = "\n".join([BEGIN, *body, END])
    return "\n".join(part for part in (f"---\n{header}---", before, text, after) if part).rstrip() + "\n"


def split_card(text: str) -> tuple[dict[str, Any], str, str]:
    """Front matter of a card, and the text that people wrote before and after the generated part.

    Raises:
        InvalidInputError: the front matter is not YAML.
    """
    front: dict[str, Any] = {}
    if match := re.match(r"---[ \t]*\r?\n(.*?)(?:^|\n)---[ \t]*(?:\r?\n|$)", text, re.DOTALL):
        front = parse_yaml(match[1], CARD).data if match[1].strip() else {}
        text = text[match.end() :]
    if BEGIN in text and END in text:
        before, _, rest = text.partition(BEGIN)
        return front, before.strip("\n"), rest.partition(END)[2].strip("\n")
    return front, text.strip("\n"), ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [
        f"| {' | '.join(map(cell, header))} |",
        f"|{' --- |' * len(header)}",
        *(f"| {' | '.join(map(cell, row))} |" for row in rows),
    ]


def cell(text: str) -> str:
    """A text as one line of Markdown, escaped so that it cannot end the cell or the generated part."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("```", "")
