"""Files of others that hold anything: one line that names the file, and no store."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clwm_data.convert.npz import npz_source
from clwm_data.convert.parquet_source import parquet_source
from clwm_data.convert.source import files_below
from clwm_data.convert.target import write_converted
from clwm_data.errors import ClwmError, InvalidInputError

ROWS = 9
FLAT: dict[str, Any] = {
    "observations": np.arange(2.0 * ROWS).reshape(ROWS, 2),
    "actions": np.zeros((ROWS, 1)),
    "rewards": np.zeros(ROWS),
    "terminals": np.arange(ROWS) == ROWS - 1,
}
SEVERAL: dict[str, Any] = {**FLAT, "task": [0] * 5 + [3] * 4, "episode": [0] * 5 + [7] * 4}
TABLE: dict[str, Any] = {"task_index": [0, 3], "task_split": ["train", "id"]}

NPZ: dict[str, tuple[dict[str, Any], str]] = {
    "two counts": ({"discrete_actions": [2, 3]}, "discrete_actions: has shape"),
    "a negative count": ({"discrete_actions": -3}, "discrete_actions: row 0 is -3"),
    "a word": ({"discrete_actions": "x"}, "discrete_actions: holds <U1"),
    "no number": ({"discrete_actions": np.nan}, "discrete_actions: row 0 is nan"),
    "half a task": ({"task": [0.5] * ROWS}, "task: row 0 is 0.5, expected a whole number"),
    "a negative task": ({"task": [-1] * ROWS}, "task: row 0 is -1"),
    "a task of words": ({"task": ["a"] * ROWS}, "task: holds <U1"),
    "an endless task": ({"task": [2**62] * ROWS}, "task: row 0 is 4611686018427387904"),
    "few tasks": ({"task": [0, 0, 0]}, "episode: has shape"),
    "few episodes": ({"episode": [0]}, "episode: has shape"),
    "episodes of words": ({"episode": ["a"] * ROWS}, "episode: holds <U1"),
    "few splits": ({**TABLE, "task_split": ["train"]}, "task_split: has shape"),
    "parameters of words": ({**TABLE, "parameter_m": ["a", "b"]}, "parameter_m: does not hold numbers"),
    "few parameters": ({**TABLE, "parameter_m": [1.0]}, "parameter_m: has shape"),
    "parameters in space": ({**TABLE, "parameter_m": np.zeros((2, 2, 2))}, "parameter_m: does not hold"),
    "a scalar": ({"observations": 3.0}, "observations: has shape"),
    "no rows": ({name: np.asarray(value)[:0] for name, value in SEVERAL.items()}, "holds no transitions"),
    "flags of bytes": ({"terminals": np.zeros(ROWS, "V4")}, "terminals: holds"),
}


@pytest.mark.parametrize("name", NPZ)
def test_a_file_of_several_tasks(name: str, tmp_path: Path) -> None:
    changed, words = NPZ[name]
    np.savez(tmp_path / "a.npz", **{**SEVERAL, **changed})
    with pytest.raises(InvalidInputError) as caught:
        write_converted(npz_source(tmp_path / "a.npz"), tmp_path / "x.zarr", "arm")
    assert words in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_an_archive_that_unpacks_to_thousands_of_times_its_size(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**22,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:  # packs zeros far better
        for name in ("observations", "actions", "rewards"):
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(2**25))
    with pytest.raises(
        InvalidInputError, match=r"a\.npz: observations: claims 33554432 bytes, the file holds"
    ):
        npz_source(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_is_not_left_out_silently(kind: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t1.npz", **FLAT)
    if kind == "link":
        (tmp_path / "t2.npz").symlink_to("nowhere.npz")
    elif hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "t2.npz")
    else:
        pytest.skip("needs pipes")
    with pytest.raises(InvalidInputError, match=r"t2\.npz: is not a file that can be read"):
        files_below(tmp_path, (".npz",))


@pytest.mark.parametrize("text", [b"abc", b"-5", b"9" * 30, b"\xff"])
def test_a_number_of_actions_in_a_schema(text: bytes, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({name: np.asarray(values).tolist() for name, values in SEVERAL.items()})
    pq.write_table(table.replace_schema_metadata({b"clwm.discrete_actions": text}), tmp_path / "a.parquet")
    with pytest.raises(ClwmError, match=r"clwm\.discrete_actions: .* is not a number of actions"):
        parquet_source(tmp_path)


def test_a_parameter_that_changes_within_a_task(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {**SEVERAL, "parameter.mass": [1.0] * 4 + [2.0] * 5}
    table = pa.table({name: np.asarray(values).tolist() for name, values in columns.items()})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match=r"parameter\.mass: differs between the rows of task 0"):
        parquet_source(tmp_path)
