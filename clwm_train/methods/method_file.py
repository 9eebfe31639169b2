"""Method and preset files: finding them, and composing one from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.paths import expand_home
from clwm_data.strict import StrictModel, Text, YamlDocument, build_model, read_yaml
from clwm_data.suggestions import suggestion

#: How many methods may extend one another.
MOST_LEVELS = 20

FOLDERS = {"methods": Path(__file__).parent, "presets": Path(__file__).parent / "presets"}


class MethodHeader(StrictModel):
    """Keys of a method's or a preset's file that are not part of the configuration.

    Attributes:
        extends: methods, or presets, (bundled names, or paths of YAML files relative to this one) to start
            from; later ones take precedence, key by key. One name or a list.
        reference: the paper.
    """

    extends: Text | Annotated[tuple[Text, ...], Field(strict=False)] = ()
    reference: Text | None = None

    @property
    def bases(self) -> tuple[str, ...]:
        """What this one extends."""
        return (self.extends,) if isinstance(self.extends, str) else self.extends


@dataclass(frozen=True)
class Method:
    """The file of a method, or of a preset, with everything that it extends.

    Attributes:
        document: configuration without the header's keys; it remembers the file of each.
        reference: the paper.
    """

    document: YamlDocument
    reference: str | None


def names(kind: str) -> list[str]:
    """Bundled ``methods`` or ``presets``, by name."""
    return sorted(path.stem for path in FOLDERS[kind].glob("*.yaml"))


def is_path(name: str) -> bool:
    """Whether a method or a preset is named by the path of its file."""
    return name.endswith((".yaml", ".yml"))


def find(kind: str, name: str, beside: Path | None = None) -> Path:
    """The file of a bundled method or preset, or the one at a path (relative to ``beside``, if given).

    Raises:
        NotFoundError: there is none.
    """
    path = FOLDERS[kind] / f"{name}.yaml"
    if is_path(name):
        path = expand_home(name) if beside is None else beside / expand_home(name)
    if path.is_file():
        return path
    known = names(kind)
    hint = suggestion(name, known, f"there are: {', '.join(known)}, or the path of a YAML file")
    raise NotFoundError(f"no {kind.removesuffix('s')} is called {name!r}: {hint}")


def read_method(name: str) -> Method:
    """A method by bundled name or path.

    Raises:
        NotFoundError: there is no such method.
        InvalidInputError: a mistake in its header, or methods that extend each other in a circle.
    """
    return _read("methods", find("methods", name), (), {})


def read_preset(name: str) -> YamlDocument:
    """A preset by bundled name or path, with everything that it extends.

    Raises:
        NotFoundError: there is no such preset.
        InvalidInputError: a mistake in its header, or presets that extend each other in a circle.
    """
    return _read("presets", find("presets", name), (), {}).document


def over(base: YamlDocument, document: YamlDocument, data: dict[str, Any]) -> YamlDocument:
    """A document that names ``data``, which was merged from those of two, and finds each key where it is."""
    sources = {path: base.sources.get(path, base.source) for path in base.lines}
    sources |= {path: document.sources.get(path, document.source) for path in document.lines}
    return YamlDocument(document.source, data, {**base.lines, **document.lines}, sources)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge nested mappings key by key; if both have a value, that of ``over`` takes precedence."""
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[key] = merge(before, value) if both else value  # type: ignore[arg-type]
    return merged


def _read(kind: str, path: Path, inside: Sequence[Path], known: dict[Path, Method]) -> Method:
    """A method or a preset and what it extends; ``known`` are those read before: many may extend the same."""
    place = path.resolve()  # the same file may be reached by many paths
    if place in inside:
        circle = " -> ".join(each.stem for each in (*inside, place))
        raise InvalidInputError(f"{path}: {kind} extend each other in a circle: {circle}")
    if len(inside) > MOST_LEVELS:
        raise InvalidInputError(f"{path}: more than {MOST_LEVELS} {kind} extend one another")
    if place in known:
        return known[place]
    document = read_yaml(path)
    keys = set(MethodHeader.model_fields)
    own = {key: value for key, value in document.data.items() if key in keys}
    header = build_model(MethodHeader, YamlDocument(document.source, own, document.lines))
    whole = YamlDocument(document.source, {}, {})
    reference = None
    for name in header.bases:
        base = _read(kind, find(kind, name, path.parent), (*inside, place), known)
        whole = over(whole, base.document, merge(whole.data, base.document.data))
        reference = base.reference or reference
    own = {key: value for key, value in document.data.items() if key not in keys}
    known[place] = Method(over(whole, document, merge(whole.data, own)), header.reference or reference)
    return known[place]
