"""Reading untrusted YAML 1.2, and writing YAML that every parser reads alike.

PyYAML is imported at use: whatever opens a store imports this module, and seldom needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from clwm_data.bounded import open_file
from clwm_data.errors import InvalidInputError, NotFoundError
from clwm_data.suggestions import close_names
from clwm_data.yaml_values import KINDS, MAX_YAML_BYTES, YamlDocument

#: Files whose names are compared with that of one that does not exist.
MOST_FILES = 1000


def parse_yaml(text: str, source: str) -> YamlDocument:
    """Parse YAML that holds one mapping.

    Raises:
        InvalidInputError: not YAML, not a mapping, a duplicate key, or larger than the limits.
    """
    from clwm_data.yaml_library import YamlBuilder

    builder = YamlBuilder(source)
    data = builder.read(text)
    if not isinstance(data, dict):
        raise InvalidInputError(
            f"{source}: expected keys with values at the top level, found {KINDS.get(type(data), 'a value')}"
        )
    return YamlDocument(source, data, builder.lines)


def parse_yaml_value(text: str, source: str) -> Any:
    """Parse any YAML value, such as that of an option.

    Raises:
        InvalidInputError: as :func:`parse_yaml`.
    """
    from clwm_data.yaml_library import YamlBuilder

    return YamlBuilder(source).read(text)


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
    except IsADirectoryError as error:
        inside = _files_beside(path / "any")
        example = f", such as {min(inside.values())}" if inside else ""
        raise InvalidInputError(f"{path}: is a folder: name a file in it{example}") from error
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
    import yaml

    from clwm_data.yaml_library import YamlDumper

    return str(yaml.dump(value, Dumper=YamlDumper, **{"sort_keys": False, **options}))
