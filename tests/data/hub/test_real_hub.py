"""The real Hub, whose Xet storage no small server can stand in for. Only on request:

    CLWM_TEST_HUB_REPO=user/scratch HF_TOKEN=... pytest tests/data/hub/test_real_hub.py

The repository is made (private) if it does not exist; a branch with a name of its own is used and deleted.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from huggingface_hub import HfApi, get_token

from clwm_data.hub.published import find_one
from clwm_data.hub.pull import pull
from clwm_data.hub.push import publish_store
from clwm_data.hub.reference import parse_reference
from clwm_data.opening import open_store
from clwm_data.store.validate import validate

REPOSITORY = os.environ.get("CLWM_TEST_HUB_REPO", "")

pytestmark = pytest.mark.skipif(
    not REPOSITORY or get_token() is None, reason="needs CLWM_TEST_HUB_REPO and a login with write access"
)


def test_push_and_pull(collected: Path, tmp_path: Path) -> None:
    branch = f"clwm-test-{uuid.uuid4().hex[:8]}"
    HfApi().create_repo(REPOSITORY, repo_type="dataset", private=True, exist_ok=True)
    try:
        done = publish_store(collected, REPOSITORY, branch).push()
        assert done.files > 0
        assert publish_store(collected, REPOSITORY, branch).push().files == 0
        published = find_one(parse_reference(f"{REPOSITORY}@{branch}/tiny.zarr"))
        assert published.commit == done.commit
        part = pull(published, tmp_path / "out.zarr", tasks="6")
        assert part.missing_tasks == (0, 12)
        whole = pull(published, tmp_path / "out.zarr")
        assert validate(whole.path) == []
        assert whole.record.content_sha256 == open_store(collected).record.content_sha256
    finally:
        HfApi().delete_branch(REPOSITORY, branch=branch, repo_type="dataset")
