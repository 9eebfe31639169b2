"""Checkpoints: folders that are either whole or absent.

::

    checkpoints/step-000004000/
      agent.safetensors      what evaluation needs: networks and scaling
      learner.safetensors    the rest: state of objectives and optimisers, sums of the current log interval
      checkpoint.yaml        updates done, seeds, configuration, digests of data and of the other files
    checkpoints/best/        the best agent in the evaluations while training (no learner.safetensors)

The first axis of every tensor is that of the seeds.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from clwm_data.bounded import read_bounded
from clwm_data.disk import disk_errors
from clwm_data.errors import ClwmError, DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.memory import available_memory
from clwm_data.store.atomic import remove, replace_folder
from clwm_data.strict import StrictModel, Text, build_model, read_yaml
from clwm_data.suggestions import suggestion
from clwm_data.yaml_values import printable
from clwm_train.config.train import RESUMABLE_KEYS
from clwm_train.runs.differences import changed_keys
from clwm_train.runs.run import CONFIG, RECORD, Run, write_model

AGENT, LEARNER, INDEX = "agent.safetensors", "learner.safetensors", "checkpoint.yaml"
#: Folder of the best agent in the evaluations while training.
BEST = "best"

REMEDY = "delete the checkpoint's folder, and the one before it is used"
REMEDY_BEST = "delete the folder, and name another checkpoint"

State = dict[str, Tensor]


class CheckpointRecord(StrictModel):
    """The content of ``checkpoint.yaml``.

    Attributes:
        step: updates done.
        seeds: seeds in the order of the tensors' first axis.
        files: SHA-256 of each of the checkpoint's other files.
        score: metric that the best agent was chosen by, and its value; ``None`` in other checkpoints.
        store_sha256: digest of the content of the store that it was trained on; ``None``: by an earlier
            revision.
        config: configuration that it was trained with; ``None``: by an earlier revision.
    """

    step: int = Field(ge=0)
    seeds: list[int]
    files: dict[Text, Text]
    score: dict[Text, float] | None = None
    store_sha256: Text | None = None
    config: dict[Text, Any] | None = None


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, sound or damaged, oldest first, without that of the best agent.

    Raises:
        DamagedDataError: ``folder`` is not a folder.
    """
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise DamagedDataError(f"{folder}: is not a folder: move it away, or put the checkpoints back")
    paths = [path for path in folder.glob("step-*") if re.fullmatch(r"step-[0-9]+", path.name)]
    return sorted(paths, key=lambda path: int(path.name.removeprefix("step-")))


def checkpoint_name(step: int) -> str:
    """Name of the checkpoint at an update: ``step-000004000``."""
    return f"step-{step:09d}"


def checkpoint_folder(folder: Path, step: int) -> Path:
    """The folder of the checkpoint at an update, whether or not it exists."""
    return folder / checkpoint_name(step)


def latest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint.

    Raises:
        NotFoundError: there is none yet.
    """
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        raise NotFoundError(f"{folder}: holds no checkpoint yet: train the run first")
    return checkpoints[-1]


def choose_checkpoint(folder: Path, choice: str | Path | int | None) -> Path:
    """A chosen checkpoint of a run, or the newest.

    Args:
        folder: folder of the run's checkpoints.
        choice: name (``step-000004000``), updates (4000) or path of a checkpoint in ``folder``; ``best``;
            ``None``: the newest.

    Raises:
        NotFoundError: there is no checkpoint yet, or no such one.
        DamagedDataError: it has no index.
        InvalidInputError: the checkpoint belongs to another run.
    """
    if choice is None:
        return latest_checkpoint(folder)
    choice = str(choice)
    name = f"step-{int(choice):09d}" if re.fullmatch(r"[0-9]{1,18}", choice) else choice
    for path in (folder / name, Path(choice)):
        if (path / INDEX).is_file():
            if path.resolve().parent != folder.resolve():
                raise InvalidInputError(
                    f"{choice}: is not a checkpoint of {folder.parent}: name one of its own"
                )
            return path
    paths = [*list_checkpoints(folder), *folder.glob(BEST)]
    damaged = next((path for path in paths if path in (folder / name, Path(choice))), None)
    if damaged is not None:
        raise DamagedDataError(f"{damaged}: has no {INDEX}: {_remedy(damaged)}")
    known = [path.name for path in paths]
    hint = suggestion(choice, known)
    raise NotFoundError(
        f"{choice}: no such checkpoint of {folder.parent}; it has {', '.join(known) or 'none'}"
        f"{f': {hint}' if hint else ''}"
    )


def save_checkpoint(
    run: Run, step: int, *, agent: Mapping[str, Tensor], learner: Mapping[str, Tensor]
) -> Path:
    """Write a checkpoint, then remove the oldest ones beyond those that the run keeps.

    The one at the last update of the run's configuration is kept: later ones do not replace it.

    Args:
        run: the run.
        step: updates done.
        agent: tensors that acting needs.
        learner: all other tensors that training needs.

    Returns:
        the checkpoint's folder.

    Raises:
        UnavailableError: it cannot be written; existing checkpoints are unchanged.
    """
    folder = run.checkpoints
    target = checkpoint_folder(folder, step)
    _write(run, target, {AGENT: agent, LEARNER: learner}, step=step)
    kept = {
        *list_checkpoints(folder)[-run.config.keep_checkpoints :],
        checkpoint_folder(folder, run.config.steps),
    }
    for old in list_checkpoints(folder):
        if old not in kept:
            remove(old)
    return target


def save_best(run: Run, step: int, *, agent: Mapping[str, Tensor], score: dict[str, float]) -> Path:
    """Write the best agent so far; it replaces the previous one.

    Raises:
        UnavailableError: it cannot be written.
    """
    target = run.checkpoints / BEST
    _write(run, target, {AGENT: agent}, step=step, score=score)
    return target


def _write(run: Run, target: Path, files: Mapping[str, Mapping[str, Tensor]], **record: Any) -> None:
    record |= {
        "seeds": list(run.record.seeds),
        "store_sha256": run.record.store_sha256,
        "config": run.config.model_dump(mode="json"),
    }
    temporary = target.with_name(f"{target.name}.partial")
    try:
        with disk_errors(target, "earlier checkpoints are intact, and --resume goes on from the latest"):
            target.parent.mkdir(parents=True, exist_ok=True)
            for leftover in target.parent.glob("*.partial"):
                remove(leftover)
            temporary.mkdir()
            digests = {}
            for name, tensors in files.items():
                data = save({key: value.detach().contiguous() for key, value in tensors.items()})
                digests[name] = hashlib.sha256(data).hexdigest()
                (temporary / name).write_bytes(data)
            write_model(temporary / INDEX, CheckpointRecord(**record, files=digests))
            replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_record(checkpoint: Path, run: Run | None = None) -> CheckpointRecord:
    """The record of a checkpoint.

    Args:
        checkpoint: folder of the checkpoint.
        run: the run that it must belong to, as its files describe it now, if given.

    Raises:
        DamagedDataError: its index is missing or damaged, or belongs to another checkpoint.
        InvalidInputError: it was trained otherwise than the run's files say.
    """
    path = checkpoint / INDEX
    try:
        record = build_model(CheckpointRecord, read_yaml(path))
    except ClwmError as error:
        raise DamagedDataError(f"{error}: {_remedy(checkpoint)}") from error
    if checkpoint.name != BEST and checkpoint.name != f"step-{record.step:09d}":
        raise DamagedDataError(f"{path}: says step {record.step}, which is not its folder's: {REMEDY}")
    if run is not None:
        _check_description(checkpoint, record, run)
    return record


def _remedy(checkpoint: Path) -> str:
    return REMEDY_BEST if checkpoint.name == BEST else REMEDY


def _check_description(checkpoint: Path, record: CheckpointRecord, run: Run) -> None:
    """Refuse a checkpoint that was trained otherwise than ``config.yaml`` and ``run.yaml`` say."""
    said = run.record.model_dump(mode="json", include={"seeds", "store_sha256"})
    before = {"seeds": record.seeds, "store_sha256": record.store_sha256 or said["store_sha256"]}
    config = run.config.model_dump(mode="json", exclude={"steps", *RESUMABLE_KEYS})
    for name, trained, now in ((RECORD, before, said), (CONFIG, record.config or {}, config)):
        # Keys that only one of them has are of another revision of clwm.
        for key, old, new in changed_keys(trained, now, both=True):
            raise InvalidInputError(
                f"{run.path / name}: says {key} {printable(str(new))}, but {checkpoint.name} was trained "
                f"with {printable(str(old))}: put back the {name} of that run, or the checkpoint's {INDEX}"
            )


def read_tensors(path: Path, device: torch.device | str = "cpu") -> State:
    """The tensors of one file of a checkpoint, after comparing its bytes with their digest.

    Raises:
        DamagedDataError: the file, or the checkpoint's index, is missing or damaged.
    """
    digests = read_record(path.parent).files
    try:
        data = read_bounded(path, available_memory())
        if hashlib.sha256(data).hexdigest() != digests.get(path.name):
            raise DamagedDataError(
                f"{path}: is damaged: its SHA-256 is not that of {INDEX}: {_remedy(path.parent)}"
            )
        return {name: tensor.to(device) for name, tensor in load(data).items()}
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedDataError(f"{path}: cannot be read: {reason}: {_remedy(path.parent)}") from error


def check_shapes(path: Path, state: State, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the names and shapes of a file's tensors with the expected ones.

    Raises:
        InvalidInputError: they differ.
    """
    for name in sorted({*state, *expected}):
        shape = tuple(state[name].shape) if name in state else None
        if shape != expected.get(name):
            what = f"{name} has shape {shape}, expected {expected.get(name)}"
            raise InvalidInputError(
                f"{path}: does not fit config.yaml: {what}: put back the config.yaml of that run"
            )


def load_module(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Fill a module from a checkpoint's tensors.

    Raises:
        InvalidInputError: the tensors do not fit the configuration.
    """
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise InvalidInputError(
            f"{source}: does not fit config.yaml: {first}: put back the config.yaml of that run"
        ) from error
