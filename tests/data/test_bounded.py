"""Files without an end."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from clwm_data.bounded import read_bounded, read_csv
from clwm_data.convert.tables import read_parameters
from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_data.references.table import read_reference_file
from clwm_data.yaml_text import read_yaml

ENDLESS = Path("/dev/zero")


@pytest.mark.skipif(not ENDLESS.exists(), reason="needs an endless file")
def test_an_endless_file_is_one_line(tmp_path: Path) -> None:
    link = tmp_path / "table.csv"
    link.symlink_to(ENDLESS)
    for read in (read_csv, read_parameters, read_reference_file):
        with pytest.raises(NotFoundError, match=rf"{link}: cannot be read: not a regular file$"):
            read(link)


def test_a_limit_is_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bounded(tmp_path / "x", 5) == b"12345"
    with pytest.raises(InvalidInputError, match="has more than 4 bytes"):
        read_bounded(tmp_path / "x", 4)
    with (tmp_path / "hole").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(InvalidInputError, match="has more than"):
        read_bounded(tmp_path / "hole", 2**39)


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    tracemalloc.start()
    assert read_bounded(tmp_path / "x", 2**28) == b"12345"
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs files that state no size")
def test_a_file_that_states_no_size_is_read_whole() -> None:
    whole = read_bounded(Path("/proc/self/limits"))
    assert whole == Path("/proc/self/limits").read_bytes() != b""
    with pytest.raises(InvalidInputError, match="has more than 10 bytes"):
        read_bounded(Path("/proc/self/limits"), 10)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0", b'"', b"a,b\r\n" * 3, b""])
def test_any_bytes_are_a_table_or_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    for read in (read_parameters, read_reference_file):
        with pytest.raises(ClwmError, match=r"x\.csv: ") as caught:
            read(tmp_path / "x.csv")
        assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(NotFoundError, match="cannot be read"):
            read_csv(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(OSError, match="not a regular file"):
        read_bounded(tmp_path / "x.yaml")
    with pytest.raises(InvalidInputError, match=r"x\.yaml: cannot be read: not a regular file$"):
        read_yaml(tmp_path / "x.yaml")
