"""Policies that files hold: models of Stable-Baselines3, and agents that clwm trained.

A manifest names one as ``policy: {sb3: model.zip}`` or ``policy: {run: RUN}``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from clwm_data.bounded import open_file
from clwm_data.errors import ConflictError, NotFoundError

#: Kind of a policy -> what makes the behaviour, from (family, task, entry).
MAKERS: Mapping[str, str] = {
    "sb3": "clwm_data.behaviours.sb3:Sb3Behaviour",
    "run": "clwm_train.agent_behaviour:AgentBehaviour",
}
#: What of a run decides how its agent acts.
RUN_FILES = ("config.yaml", "run.yaml")


def file_sha256(policy: str, file: str, expected: str | None) -> str:
    """Digest of a policy's file; of a run, of its configuration and its latest agent.

    Raises:
        NotFoundError: there is no such file or run.
        ConflictError: it is not the expected one.
    """
    path = Path(file)
    if policy == "run":
        agents = sorted(path.glob("checkpoints/step-*/agent.safetensors"))
        files = [*(path / name for name in RUN_FILES), *agents[-1:]]
        if not agents or not all(part.is_file() for part in files):
            raise NotFoundError(f"{path}: is not the folder of a trained run (`clwm train` makes one)")
        digests = [_digest(part) for part in files]
        sha256 = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    elif path.is_file():
        sha256 = _digest(path)
    else:
        raise NotFoundError(f"{path}: there is no such file")
    if expected is not None and sha256 != expected:
        raise ConflictError(f"{path}: has the sha256 {sha256}, expected {expected}")
    return sha256


def _digest(file: Path) -> str:
    with open_file(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
