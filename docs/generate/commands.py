"""The reference of commands, from Click: a hook of mkdocs puts it where docs/commands.md has a mark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click
from clwm_cli.main import SECTIONS, clwm

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs' hook: the text of a page, before it is rendered."""
    return markdown.replace(MARK, "\n".join(reference())) if MARK in markdown else markdown


def reference() -> Iterator[str]:
    """Lines of Markdown: every verb under the heading of its section."""
    context = click.Context(clwm, info_name="clwm")
    for section, verbs in SECTIONS.items():
        yield f"## {section}\n"
        for verb in verbs:
            command = clwm.get_command(context, verb)
            if command is None:
                raise ValueError(f"no command is called {verb}")
            yield from _command(command, click.Context(command, info_name=verb, parent=context), 3)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    yield from _prose(command.help or "")
    rows = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and not {"-h", "--help"} & set(parameter.opts)
        for record in [parameter.get_help_record(context)]
        if record is not None
    ]
    if rows:
        yield "| option | what it does |\n| --- | --- |"
        # A code span keeps its bars; the text beside it needs them escaped.
        yield from (f"| `{name}` | {_cell(text)} |" for name, text in rows)
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context), level + 1)


def _prose(text: str) -> Iterator[str]:
    r"""Paragraphs; those that Click must not wrap (``\b``) as blocks of code under their first line."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.splitlines()
        if lines[0].strip() == "\b":
            title, *code = lines[1:]
            yield f"{title.strip()}\n"
            yield "```sh\n" + "\n".join(line.strip() for line in code) + "\n```\n"
        else:
            yield _text(" ".join(line.strip() for line in lines)) + "\n"


def _cell(text: str) -> str:
    return _text(" ".join(text.split())).replace("|", "\\|")


def _text(text: str) -> str:
    """Plain text in Markdown: what looks like a tag or like a link stays text."""
    return text.replace("<", "&lt;").replace("[", "\\[").replace("]", "\\]")
