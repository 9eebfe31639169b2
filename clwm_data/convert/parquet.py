"""To Parquet: one row per transition, in files per split that ``datasets.load_dataset`` finds."""

from __future__ import annotations

from pathlib import Path

from clwm_data.edit.building import building
from clwm_data.opening import open_store
from clwm_data.progress import ProgressCallback
from clwm_data.store.parquet import write_parquet
from clwm_data.store.reader import Store

#: Folder in which `datasets` assigns files to splits by the beginning of their names.
DATA = "data"


def to_parquet(
    source: Path | str | Store, target: Path | str, *, on_progress: ProgressCallback | None = None
) -> list[Path]:
    """Write a store as ``data/train-00000-of-00001.parquet`` and so on.

    The columns are those of :func:`~clwm_data.store.parquet.write_parquet`. The observation after an
    episode's last step, seeds and simulator states are lost.

    Args:
        source: the store.
        target: folder of the files, which must not exist yet.
        on_progress: called after each task.

    Raises:
        NotFoundError: no such store.
        ConflictError: ``target`` exists already.
        DamagedDataError: the store is damaged.
        UnavailableError: the disk is full.
        MissingExtraError: pyarrow is not installed.
    """
    store, names = open_store(source), []
    with building(target) as aside:
        folder = aside / DATA
        folder.mkdir(parents=True)
        for files in write_parquet(store, folder, on_progress=on_progress).values():
            for file in files:
                name = f"{file.stem}-of-{len(files):05d}.parquet"
                names.append(file.rename(folder / name).name)
    return [Path(target) / DATA / name for name in names]
