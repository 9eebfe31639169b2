"""The Parquet files beside a published store, for the Hub's viewer and for ``datasets.load_dataset``.

Their names contain their digests: a commit that adds files changes none that the published card points to, so
readers of the branch see either all of the old ones or all of the new ones.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from clwm_data.disk import disk_errors
from clwm_data.families.base import SPLITS
from clwm_data.paths import SUFFIX, store_file
from clwm_data.store.digest import file_sha256
from clwm_data.store.parquet import require_parquet, write_parquet
from clwm_data.store.reader import Store

PATTERN = re.compile(rf"([^/]+)\.parquet/({'|'.join(SPLITS)})-[0-9]{{5,}}-[0-9a-f]{{12}}\.parquet")


class ParquetFiles:
    """The Parquet files of a store, written to a temporary folder when they are first asked for.

    Args:
        store: a valid store.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, store: Store) -> None:
        require_parquet("publishing Parquet files (--no-parquet leaves them out)")
        self._store = store
        self._files: dict[str, Path] | None = None

    def files(self) -> dict[str, Path]:
        """The files by their paths in the repository.

        Raises:
            DamagedDataError: the store is damaged.
            UnavailableError: the disk is full.
        """
        if self._files is None:
            with disk_errors(self._store.path, "nothing was pushed"):
                folder = Path(tempfile.mkdtemp(prefix="clwm-parquet-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            with disk_errors(folder, "nothing was pushed"):
                written = [file for files in write_parquet(self._store, folder).values() for file in files]
            target = f"{_stem(self._store.name)}.parquet"
            self._files = {f"{target}/{file.stem}-{file_sha256(file)[:12]}.parquet": file for file in written}
        return self._files


def parquet_of(name: str, paths: Iterable[str]) -> list[str]:
    """Paths, among those of a repository, of the Parquet files that pushes added for a store."""
    return sorted(
        path for path in paths if (match := PATTERN.fullmatch(path)) is not None and match[1] == _stem(name)
    )


def configuration(name: str, paths: Collection[str]) -> dict[str, Any]:
    """The entry of a card's ``configs`` that lists the Parquet files of a store, by split."""
    splits = {split: [path for path in sorted(paths) if f"/{split}-" in path] for split in SPLITS}
    return {
        "config_name": name,
        "data_files": [{"split": split, "path": files} for split, files in splits.items() if files],
    }


def _stem(name: str) -> str:
    return store_file(name).removesuffix(SUFFIX)
