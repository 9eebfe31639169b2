"""How a store was made from others, in words."""

from __future__ import annotations

import re

from clwm_data.pages.numbers import plural
from clwm_data.store.format import Edit

#: Option of a recording that counts the episodes of a session: this, and the session's name.
EPISODES_OF = "episodes of "
#: Hexadecimal digits of a digest that people are shown.
SHOWN_DIGITS = 12
#: Tasks or stores of an edit that are all named.
MOST_ALIKE = 6


def session_counts(edited: Edit) -> dict[str, int]:
    """Session -> number of its episodes that the store took in; empty if it was not recorded."""
    if edited.operation != "record":
        return {}
    return {
        name.removeprefix(EPISODES_OF): int(text)
        for name, text in edited.options.items()
        if name.startswith(EPISODES_OF) and text.isdecimal()
    }


def describe_edit(edited: Edit) -> str:
    """An edit in a few words: what was done, how, and from what.

    For example ``select (split train) from point-robot (sha256 0123456789ab)``, or ``record (6 episodes in 3
    sessions)``.
    """
    sessions = session_counts(edited)
    if sessions:
        how = f"{plural(sum(sessions.values()), 'episode')} in {plural(len(sessions), 'session')}"
    else:
        options = {name: f"{name} {_shortened(value)}" for name, value in edited.options.items()}
        alike = [text for name, text in options.items() if re.fullmatch(r"task \d+", name)]
        others = [text for name, text in options.items() if text not in alike]
        how = ", ".join(others + _abridged(alike))
    stores = ", ".join(
        _abridged(
            [
                f"{source.name} (sha256 {source.content_sha256[:SHOWN_DIGITS]})"
                for source in edited.sources
                if source.name not in sessions
            ]
        )
    )
    return edited.operation + (f" ({how})" if how else "") + (f" from {stores}" if stores else "")


def history(edited: Edit) -> list[str]:
    """A line for an edit, and one for each edit before it that made one of its sources; the latest first."""
    lines = [f"{edited.by.created}: {describe_edit(edited)}"]
    for source in edited.sources:
        if source.edited is not None:
            lines += [f"{source.name} from {line}" for line in history(source.edited)]
    return lines


def _abridged(texts: list[str]) -> list[str]:
    """The first and the last of many texts that are alike, and how many there are between."""
    if len(texts) <= MOST_ALIKE:
        return texts
    return [texts[0], f"{len(texts) - 2} more", texts[-1]]


def _shortened(value: str) -> str:
    """A value with digests cut to what people compare."""
    return re.sub(r"\b[0-9a-f]{64}\b", lambda digest: digest[0][:SHOWN_DIGITS], value)
