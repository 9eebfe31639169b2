"""Self-contained pages: no scripts, nothing loaded. Arguments are HTML, unless stated otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from clwm_data.pages.charts import chart_css
from clwm_data.pages.palette import css_classes, css_variables

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, sections: Iterable[str], footer: str) -> str:
    """A whole page; ``title`` is plain text."""
    layout = files("clwm_data.pages").joinpath("style.css").read_text(encoding="utf-8")
    style = css_variables() + css_classes() + chart_css() + layout
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>"
        f"{''.join(sections)}<footer>{footer}</footer></main></body></html>\n"
    )


def header(title: str, subtitle: str, tiles: Mapping[str, str], *, text: str = "", body: str = "") -> str:
    """The head of a page; all arguments are plain text, except for ``body``.

    Args:
        title: title of the page.
        subtitle: kind of thing that the page is about.
        tiles: name -> number, for the most important numbers.
        text: a paragraph.
        body: HTML after the tiles.
    """
    boxes = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in tiles.items()
    )
    paragraph = f"<p>{escape(text)}</p>" if text else ""
    return (
        f'<header><h1>{escape(title)}</h1><p class="family">{escape(subtitle)}</p>{paragraph}'
        f'<div class="tiles">{boxes}</div>{body}</header>'
    )


def section(title: str, note: str, body: str) -> str:
    """A part of a page; title and note are plain text."""
    paragraph = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{paragraph}{body}</section>"


def warning(text: str) -> str:
    """A highlighted paragraph of plain text; what stands between backticks is code."""
    content = re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
    return f'<p class="warning">{content}</p>'


def split_label(split: str) -> str:
    """The name of a split in its colour."""
    return f'<span class="split {split}">{split}</span>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Sequence[int] = (),
    tall: bool = False,
) -> str:
    """A table that scrolls if the window is too narrow; cells are HTML.

    Args:
        head: titles of the columns.
        rows: rows of the same length as ``head``.
        numeric: columns that are aligned to the right.
        tall: limit the height of a long table, and let it scroll.
    """
    css = ["n" if column in numeric else "" for column in range(len(head))]
    titles = "".join(f'<th class="{name}">{title}</th>' for name, title in zip(css, head, strict=True))
    lines = []
    for row in rows:
        cells = "".join(f'<td class="{name}">{cell}</td>' for name, cell in zip(css, row, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
