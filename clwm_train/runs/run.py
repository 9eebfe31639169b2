"""A run's folder: what was trained on what, its metrics and its checkpoints.

::

    <run>/
      config.yaml       the resolved configuration (TrainConfig)
      run.yaml          method, seeds, store and its digest, versions (RunRecord)
      metrics.jsonl     one row per seed and log interval
      tensorboard/      the same for TensorBoard
      trace.json        of some updates (Chrome trace), where they were profiled
      checkpoints/step-000004000/   see clwm_train.runs.checkpoint
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, Field

from clwm_data.errors import ClwmError
from clwm_data.families import TaskFamily, get_family
from clwm_data.families.declared import FamilyDeclaration, declared_family
from clwm_data.store import Store
from clwm_data.store.atomic import replacing
from clwm_data.store.format import Origin
from clwm_data.store.provenance import current_provenance
from clwm_data.strict import StrictModel, Text, build_model, read_yaml
from clwm_train.config import TrainConfig

CONFIG, RECORD, METRICS, TENSORBOARD, CHECKPOINTS, TRACE = (
    "config.yaml",
    "run.yaml",
    "metrics.jsonl",
    "tensorboard",
    "checkpoints",
    "trace.json",
)

#: Raised when the networks' parameters change their meaning, which no shape would show.
LAYOUT = 3

Ints = Annotated[tuple[int, ...], Field(strict=False)]


class RunRecord(StrictModel):
    """What a run is, apart from its configuration.

    Attributes:
        layout: of the networks' parameters: ``LAYOUT`` of the version that trained.
        method: name of the method, or path of its file.
        preset: likewise.
        seeds: trained together, S of them.
        store: absolute path of the store when the run began.
        store_name: name of the dataset.
        store_sha256: digest of the store's content.
        family: of tasks.
        observation_size: entries of an observation.
        action_size: entries of an action.
        train_tasks: family indices of the train tasks in the store, ascending.
        created: ISO 8601, UTC.
        command: command line or call.
        packages: versions.
        platform: machine type and operating system.
        origin: where the store was downloaded from, or ``None``.
        label: what the method is called in its experiment, or ``None``.
        declared_family: the family's declaration, where the store brought its own.
    """

    layout: int
    method: Text
    preset: Text
    seeds: Ints
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


@dataclass(frozen=True)
class Run:
    """An existing run.

    Attributes:
        path: its folder.
        config: what is trained.
        record: on what.
    """

    path: Path
    config: TrainConfig
    record: RunRecord

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def task_family(self) -> TaskFamily:
        """The family of the run's tasks, also where the store brought its own declaration.

        Raises:
            NotFoundError: it is not known here.
        """
        declared = self.record.declared_family
        if declared is None:
            return get_family(self.record.family)
        return declared_family(declared, trusted=False)

    @property
    def label(self) -> str:
        """What the method is called in tables and figures."""
        return self.record.label or Path(self.record.method).stem


def resolve_for(family: TaskFamily, config: TrainConfig) -> TrainConfig:
    """The configuration with everything decided that depends on the family."""
    if config.context.next_observation != "auto":
        return config
    context = config.context.model_copy(update={"next_observation": family.dynamics_vary})
    return config.model_copy(update={"context": context})


def create_run(
    path: Path,
    store: Store,
    family: TaskFamily,
    config: TrainConfig,
    *,
    method: str,
    preset: str,
    seeds: tuple[int, ...],
    label: str | None = None,
) -> Run:
    """Make a run's folder.

    Raises:
        ClwmError: the folder exists already.
    """
    if path.exists():
        what = "a run is there already: --resume continues it" if (path / RECORD).exists() else "exists"
        raise ClwmError(f"{path}: {what}; or choose another --out")
    provenance = current_provenance()
    record = RunRecord(
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
        train_tasks=tuple(index for index, task in store.tasks.items() if task.split == "train"),
        created=provenance.created,
        command=provenance.command,
        packages={**provenance.packages, "torch": version("torch")},
        platform=provenance.platform,
        origin=store.origin,
        label=label,
        declared_family=store.manifest.declared_family,
    )
    run = Run(path, config, record)
    path.mkdir(parents=True)
    write_model(path / CONFIG, config)
    write_model(path / RECORD, record)
    return run


def open_run(path: Path) -> Run:
    """An existing run.

    Raises:
        ClwmError: no run there, its files are damaged, or another version of clwm made it.
    """
    if not (path / RECORD).is_file():
        what = "is not a run: it has no run.yaml" if path.exists() else "does not exist"
        raise ClwmError(f"{path}: run {what}; `clwm train` makes one")
    config = build_model(TrainConfig, read_yaml(path / CONFIG))
    document = read_yaml(path / RECORD)
    layout = document.data.get("layout", 1)
    if layout != LAYOUT:
        raise ClwmError(
            f"{path}: was trained by a clwm whose networks differ (layout {layout}, here {LAYOUT}): "
            "use that version, or train again"
        )
    return Run(path, config, build_model(RunRecord, document))


def check_same_data(run: Run, store: Store) -> None:
    """Refuse to go on with other data than the run began with.

    Raises:
        ClwmError: the store's content differs.
    """
    if store.record.content_sha256 != run.record.store_sha256:
        raise ClwmError(
            f"{run.path}: began with other data than {store.path} holds now "
            f"(sha256 {run.record.store_sha256[:12]}, now {store.record.content_sha256[:12]}): "
            f"restore the data, or start a new run"
        )


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model as YAML, atomically."""
    text = yaml.safe_dump(model.model_dump(mode="json"), sort_keys=False)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
