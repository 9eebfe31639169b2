"""A run's folder: configuration, record, metrics and checkpoints.

::

    <run>/
      config.yaml       the resolved configuration (TrainConfig)
      run.yaml          method, seeds, store and its digest, versions (RunRecord)
      metrics.jsonl     one row per seed and log interval
      tensorboard/      the same for TensorBoard, a folder per seed
      trace.json        Chrome trace of some updates, if they were profiled
      checkpoints/step-000004000/   see clwm_train.runs.checkpoint
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from clwm_data.disk import disk_errors
from clwm_data.errors import ClwmError, ConflictError, InvalidInputError, NotFoundError
from clwm_data.families import TaskFamily, get_family, is_family
from clwm_data.families.builtin import BUILTIN
from clwm_data.families.declared import FamilyDeclaration, declared_family
from clwm_data.families.stored import FamilyDescription, StoredFamily
from clwm_data.mistaken import not_there
from clwm_data.paths import target_path
from clwm_data.ranges import format_indices
from clwm_data.store import Store
from clwm_data.store.atomic import remove, replacing
from clwm_data.store.format import Origin
from clwm_data.store.provenance import current_provenance
from clwm_data.store.stored_family import describe_family, longest_episode
from clwm_data.strict import StrictModel, Text, build_model, first_mistake, read_yaml
from clwm_data.yaml_text import dump_yaml
from clwm_train.config import TrainConfig
from clwm_train.runs.differences import differences

CONFIG, RECORD, METRICS, TENSORBOARD, CHECKPOINTS, TRACE = (
    "config.yaml",
    "run.yaml",
    "metrics.jsonl",
    "tensorboard",
    "checkpoints",
    "trace.json",
)

#: Version of the networks' parameters; increased when their meaning changes, which shapes do not show.
LAYOUT = 3

#: Maximum number of seeds of a run: each takes the memory of an agent, even to read a run.
MOST_SEEDS = 1000


def _each_once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    twice = [seed for seed in seeds if seeds.count(seed) > 1]
    if twice:
        raise ValueError(f"names {twice[0]} twice: keep one")
    return seeds


Ints = Annotated[tuple[int, ...], Field(strict=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seeds = Annotated[
    tuple[Seed, ...],
    Field(strict=False, min_length=1, max_length=MOST_SEEDS),
    AfterValidator(_each_once),
]


class DescribedFamily(FamilyDescription):
    """A family as its data show it.

    Attributes:
        longest_episode: number of steps of the longest episode.
    """

    longest_episode: int = Field(ge=1)


class RunRecord(StrictModel):
    """The description of a run, apart from its configuration.

    Attributes:
        layout: version of the networks' parameters: ``LAYOUT`` of the clwm that trained it.
        method: name of the method, or path of its file.
        preset: name of the preset, or path of its file.
        seeds: the S seeds, which are trained together.
        store: absolute path of the store when the run began.
        store_name: name of the dataset.
        store_sha256: digest of the store's content.
        family: name of the task family.
        observation_size: entries of an observation.
        action_size: entries of an action.
        train_tasks: family indices of the train tasks in the store, ascending.
        created: time in ISO 8601, UTC.
        command: command line or call.
        packages: versions of packages.
        platform: machine type and operating system.
        origin: where the store was downloaded from, or ``None``.
        declared_family: the family's declaration, if the store contained one.
        described_family: what the data say of a family that neither comes with clwm nor is declared.
        label: name in tables and figures; ``None``: that of the method.
        compiled: whether the update was compiled when the run was begun, which decides how sums round;
            ``None``: it has not been begun, or by an earlier revision.
    """

    layout: int
    method: Text
    preset: Text
    seeds: Seeds
    store: Text
    store_name: Text
    store_sha256: Text
    family: Text
    observation_size: int
    action_size: int
    train_tasks: Ints
    created: Text
    command: Text
    packages: dict[Text, Text]
    platform: Text
    origin: Origin | None = None
    label: Text | None = None
    declared_family: FamilyDeclaration | None = None
    described_family: DescribedFamily | None = None
    compiled: bool | None = None


@dataclass(frozen=True, repr=False)
class Run:
    """An existing run.

    Attributes:
        path: folder of the run.
        config: configuration of the training.
        record: seeds, store and versions.
    """

    path: Path
    config: TrainConfig
    record: RunRecord

    def __repr__(self) -> str:
        """In one line: a notebook shows what a training returns."""
        seeds = f"seed{'s' if len(self.record.seeds) > 1 else ''} {format_indices(self.record.seeds)}"
        return f"<Run {self.path.name}: {self.label} on {self.record.store_name}; {seeds}; path: {self.path}>"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    def begun(self, *, compiled: bool) -> Run:
        """The run as it is written when its training begins."""
        return replace(self, record=self.record.model_copy(update={"compiled": compiled}))

    @property
    def task_family(self) -> TaskFamily:
        """The family of the run's tasks: declared, installed, or else as its data showed it.

        Raises:
            NotFoundError: the family is not known here.
        """
        record = self.record
        if record.declared_family is not None:
            return declared_family(record.declared_family, trusted=False)
        described = record.described_family
        if described is None or is_family(record.family):
            return get_family(record.family)
        sizes = record.observation_size, record.action_size
        return StoredFamily(record.family, *sizes, described, lambda: described.longest_episode)

    def told_parameters(self) -> NDArray[np.float32] | None:
        """Scaled parameters [tasks, p] of the family's tasks, if the agent is given those of its task.

        Raises:
            NotFoundError: it is given them, and the family is not known here.
        """
        if self.config.context.source != "parameters":
            return None
        return self.task_family.conditioning.vectors

    @property
    def label(self) -> str:
        """Name of the method in tables and figures."""
        return self.record.label or Path(self.record.method).stem


def resolve_for(family: TaskFamily, config: TrainConfig) -> TrainConfig:
    """The configuration with ``auto`` resolved where it depends on the family."""
    if config.context.next_observation != "auto":
        return config
    context = config.context.model_copy(update={"next_observation": family.dynamics_vary})
    return config.model_copy(update={"context": context})


def describe_run(
    path: Path,
    store: Store,
    config: TrainConfig,
    *,
    method: str,
    preset: str,
    seeds: tuple[int, ...],
    label: str | None = None,
) -> Run:
    """A new run, of which nothing has been written yet.

    Raises:
        InvalidInputError: the store holds no train task, or the seeds cannot be used.
    """
    train_tasks = store.split("train")
    if not train_tasks:
        raise InvalidInputError(f"{store.path}: holds no train task: collect tasks of the split train")
    if len(seeds) > MOST_SEEDS:
        raise InvalidInputError(f"{len(seeds):,} seeds are more than {MOST_SEEDS:,} that one run can have")
    family, provenance = store.task_family, current_provenance()
    record = _record(
        layout=LAYOUT,
        method=method,
        preset=preset,
        seeds=seeds,
        store=str(store.path.resolve()),
        store_name=store.name,
        store_sha256=store.record.content_sha256,
        family=family.name,
        observation_size=family.observation_size,
        action_size=family.action_size,
        train_tasks=train_tasks,
        created=provenance.created,
        command=provenance.command,
        packages={**provenance.packages, "torch": version("torch")},
        platform=provenance.platform,
        origin=store.origin,
        label=label,
        declared_family=store.manifest.declared_family,
        described_family=_described(store),
    )
    return Run(path, resolve_for(family, config), record)


def _described(store: Store) -> DescribedFamily | None:
    """What the data say of a family whose environments may be missing where the run is used."""
    if store.manifest.declared_family is not None or store.family in BUILTIN:
        return None
    described = describe_family(store)
    return DescribedFamily(**described.model_dump(), longest_episode=longest_episode(store))


def check_free(run: Run) -> None:
    """Check that the folder of a new run is free; leftovers of a killed :func:`write_run` are allowed.

    Raises:
        ConflictError: the folder holds a run, or something else.
        InvalidInputError: it cannot be a folder.
    """
    path = run.path
    target_path(path)  # the root of the file system, and paths below a file, are refused
    if (path / RECORD).exists():
        changed = differences(open_run(path), run)
        other = f", but it was begun otherwise ({changed[0]})" if changed else ""
        raise ConflictError(
            f"{path}: a run is there already: --resume continues it{other}; or choose another --out (in "
            "Python resume=True, out=...)"
        )
    if path.exists() and not path.is_dir():
        raise ConflictError(f"{path}: is a file: choose another folder for the run")
    others = [entry.name for entry in path.iterdir() if not _is_leftover(entry)] if path.exists() else []
    if others:
        raise ConflictError(
            f"{path}: holds {min(others)} but is not a run: move it away, or choose another folder for the "
            "run"
        )


def _record(**values: Any) -> RunRecord:
    try:
        return RunRecord(**values)
    except ValidationError as error:
        raise InvalidInputError(f"a run cannot be described so: {first_mistake(error)}") from error


def write_run(run: Run) -> Run:
    """Create the folder of a new run, also over the leftovers of a killed call; returns the run.

    Raises:
        ConflictError: the folder holds a run, or something else.
        UnavailableError: it cannot be written.
    """
    check_free(run)
    with disk_errors(run.path, "or choose another folder for the run"):
        # An existing folder may be a link, a mount point or the current folder: it is emptied, not replaced.
        run.path.mkdir(parents=True, exist_ok=True)
        for leftover in run.path.iterdir():
            remove(leftover)
        write_model(run.path / CONFIG, run.config)
        write_model(run.path / RECORD, run.record)
    return run


def keep_config(run: Run) -> None:
    """Write the configuration of an existing run, if it has changed.

    Raises:
        UnavailableError: it cannot be written.
    """
    if open_run(run.path).config != run.config:
        with disk_errors(run.path, "nothing was changed"):
            write_model(run.path / CONFIG, run.config)


def is_unfinished(path: Path) -> bool:
    """Whether a folder is a leftover of a killed :func:`write_run`: a run without any training."""
    return path.is_dir() and not (path / RECORD).exists() and all(map(_is_leftover, path.iterdir()))


def _is_leftover(path: Path) -> bool:
    return path.name == CONFIG or path.name.endswith(".partial")


def open_run(path: Path | str) -> Run:
    """An existing run.

    Raises:
        NotFoundError: there is no run.
        InvalidInputError: it was made by an incompatible version of clwm.
        ClwmError: its files are damaged.
    """
    path = Path(path)
    if not (path / RECORD).is_file():
        raise NotFoundError(not_there(path, "run"))
    with _saying_what_to_do(CONFIG):
        config = build_model(TrainConfig, read_yaml(path / CONFIG))
    with _saying_what_to_do(RECORD):
        document = read_yaml(path / RECORD)
    layout = document.data.get("layout", 1)
    if type(layout) is int and layout != LAYOUT:
        raise InvalidInputError(
            f"{path}: was trained by a clwm whose networks differ (layout {layout}, here {LAYOUT}): "
            "use that version, or train again"
        )
    with _saying_what_to_do(RECORD):
        return Run(path, config, build_model(RunRecord, document))


@contextmanager
def _saying_what_to_do(name: str) -> Iterator[None]:
    """Add to an error of a run's file how to go on."""
    try:
        yield
    except ClwmError as error:
        raise type(error)(f"{error}: put back the {name} of that run, or train again") from error


def discard_unbegun(run: Run) -> None:
    """Remove the folder of a run without any training, so that it does not block the next attempt."""
    files = {path.name for path in run.path.iterdir()} if run.path.exists() else set()
    if files and files <= {CONFIG, RECORD}:
        for name in sorted(files):
            (run.path / name).unlink()
        with suppress(OSError):  # a link or a mount point
            run.path.rmdir()


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model as YAML, atomically."""
    text = dump_yaml(model.model_dump(mode="json"))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
