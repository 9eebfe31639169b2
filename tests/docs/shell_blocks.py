"""The shell commands that pages of Markdown show, taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")
OPERATORS = set("();<>|&")


@dataclass(frozen=True)
class Typed:
    """One simple command of a page.

    ``verbatim``: it stands in a block that a reader types as it is; else it is a pattern, whose capitals and
    brackets the reader replaces.
    """

    page: Path
    words: tuple[str, ...]
    verbatim: bool

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def commands_of_page(page: Path) -> Iterator[Typed]:
    """Every simple command of a page: of its blocks of shell or of no language, and of code in a line."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match["language"] in ("sh", "bash", ""):
            for words in commands_of_script(match["code"]):
                yield Typed(page, words, verbatim=match["language"] != "")
    for match in INLINE.finditer(FENCE.sub("", text)):
        for words in commands_of_script(re.sub(r"\s+", " ", match[1])):
            yield Typed(page, words, verbatim=False)


def commands_of_script(script: str) -> Iterator[tuple[str, ...]]:
    """The words of each simple command, without assignments, redirections and here-documents."""
    lines = iter(script.replace("\\\n", " ").splitlines())
    for line in lines:
        for end in HEREDOC.findall(line):
            while next(lines).strip() != end:
                pass
        try:
            yield from _simple_commands(re.sub(r"\d?>>?\s*\S+|<<.*|\$\(|[{}]", " ; ", line))
        except ValueError:  # an apostrophe of prose: not a command
            continue


def _simple_commands(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= OPERATORS:
            if words:
                yield tuple(words)
            words = []
        elif words or not re.match(r"\w+=", word):
            words.append(word)
