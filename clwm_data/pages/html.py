"""Pages that hold everything they show: no script, nothing loaded. What is passed in is HTML already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, sections: Iterable[str], footer: str) -> str:
    """A whole page; ``title`` is plain text."""
    style = files("clwm_data.pages").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>"
        f"{''.join(sections)}<footer>{footer}</footer></main></body></html>\n"
    )


def section(title: str, note: str, body: str) -> str:
    """A part of a page; title and note are plain text."""
    paragraph = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{title}</h2>{paragraph}{body}</section>"


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int], tall: bool = False
) -> str:
    """A table; cells are HTML already."""
    css = ["n" if column in numeric else "wide" if column >= 7 else "" for column in range(len(header))]
    head = "".join(f'<th class="{name}">{title}</th>' for name, title in zip(css, header, strict=True))
    lines = []
    for row in rows:
        cells = "".join(f'<td class="{name}">{cell}</td>' for name, cell in zip(css, row, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="scroll{" tall" if tall else ""}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
