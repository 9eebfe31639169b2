"""The files of a published store, each checked against its published digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clwm_data.errors import DamagedDataError
from clwm_data.hub.download import download_file
from clwm_data.hub.published import PublishedStore
from clwm_data.store.cached import ExpectedFile, recorded_files
from clwm_data.store.root import MAX_METADATA_BYTES

#: How often a file is downloaded that does not arrive as published.
ATTEMPTS = 2


@dataclass(frozen=True)
class HubSource:
    """Files of a store in a dataset repository."""

    published: PublishedStore

    def __str__(self) -> str:
        return str(self.published)

    def files(self, index: int) -> dict[str, ExpectedFile]:
        """The files that the root lists, compared with the repository.

        Raises:
            DamagedDataError: the repository lacks a file, or has it in another size than the store says.
        """
        published, prefix = self.published, self.published.task_path(index)
        files = recorded_files(published.root, index, str(published))
        for path, file in files.items():
            size = published.sizes.get(f"{prefix}/{path}")
            if size is None:
                raise DamagedDataError(f"{published}/{prefix}/{path}: is missing: its upload is not complete")
            if file.bytes is None and size > MAX_METADATA_BYTES:
                raise DamagedDataError(f"{published}/{prefix}/{path}: has {size} bytes: it is not metadata")
            if file.bytes not in (None, size):
                raise DamagedDataError(
                    f"{published}/{prefix}/{path}: has {size} bytes, the store says {file.bytes}: another "
                    "upload is under way, or the repository was altered"
                )
        return files

    def download(self, path: str, expected: ExpectedFile, target: Path) -> None:
        """Download a file.

        Raises:
            DamagedDataError: it does not arrive as published.
            UnavailableError: it cannot be downloaded.
        """
        published = self.published
        staging = target.parents[path.count("/") - 1] / "hub"  # beside the folder of the task
        for _ in range(ATTEMPTS):
            digest = download_file(
                published.reference,
                published.commit,
                f"{published.folder}/{path}",
                published.sizes[path],
                target,
                staging,
            )
            if digest == expected.sha256:
                return
        target.unlink()
        raise DamagedDataError(
            f"{published}/{path}: what arrives does not have the published digest: the repository or the "
            "connection alters it"
        )
