"""Downloading a file of a repository: one request, hashed as it arrives.

The Hub's own client asks for a file's facts first, takes three locks and keeps notes beside it, which takes
three times the processor time. It is used where its Xet protocol is wanted.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import huggingface_hub
from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from clwm_data.hub.client import IncompleteError, call
from clwm_data.hub.reference import HubReference
from clwm_data.store.digest import file_sha256

#: Ending of the name of a file that has not arrived whole.
PARTIAL = ".partial"


def download_file(
    reference: HubReference, commit: str, path: str, size: int, target: Path, aside: Path
) -> str:
    """Download a file; one that an earlier call left incomplete beside ``target`` is continued.

    Args:
        reference: the repository.
        commit: of the repository.
        path: of the file in it.
        size: of the file, as the repository states it. Nothing beyond it is read.
        target: where to put it; its folder must exist.
        aside: folder for what the Hub's own client keeps, on the same file system.

    Returns:
        The SHA-256 of what arrived.

    Raises:
        ClwmError: it cannot be downloaded.
    """

    def download() -> str:
        if huggingface_hub.constants.HF_HUB_DISABLE_XET:
            return _stream(reference, commit, path, size, target)
        arrived = huggingface_hub.hf_hub_download(
            reference.repository,
            path,
            revision=commit,
            repo_type=reference.kind,
            local_dir=aside,
            force_download=True,
            library_name="clwm",
        )
        Path(arrived).replace(target)
        return file_sha256(target)

    return call(f"{reference}/{path}", download)


def _stream(reference: HubReference, commit: str, path: str, size: int, target: Path) -> str:
    partial = target.with_name(f"{target.name}{PARTIAL}")
    url = hf_hub_url(reference.repository, path, repo_type=reference.kind, revision=commit)
    headers = {**build_hf_headers(library_name="clwm"), "Accept-Encoding": "identity"}
    with partial.open("a+b") as file:
        begun = file.tell()
        if begun >= size:  # of another version
            begun = file.truncate(0)
        if begun:
            headers["Range"] = f"bytes={begun}-"
        with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            if begun and response.status_code != 206:  # all of it comes
                begun = file.truncate(0)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256") if begun else hashlib.sha256()
            for block in response.iter_bytes():
                begun += len(block)
                if begun > size:
                    block = block[: size - begun]
                digest.update(block)
                file.write(block)
                if begun > size:
                    break
    if begun < size:
        raise IncompleteError(f"{begun} of {size} bytes arrived")
    partial.replace(target)
    return digest.hexdigest()
