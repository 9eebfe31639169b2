"""The manifest: everything that decides what a dataset holds, in one YAML file."""

from __future__ import annotations

import difflib
import string
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from clwm_data.errors import ClwmError
from clwm_data.families import TaskFamily, family_names, get_family
from clwm_data.ranges import parse_indices
from clwm_data.strict import StrictModel, Text, YamlDocument, build_model, parse_yaml, read_yaml

BUNDLED = "clwm_data.manifests"
META_WORLD_PREFIX = "mw-"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class BehaviourEntry(StrictModel):
    """One part of the mixture of behaviour policies that collects a task.

    Attributes:
        policy: ``random`` (uniform actions) or another behaviour that the family has, e.g. ``scripted``.
        noise: standard deviation of Gaussian noise added to the policy's action, which is then clipped.
        episodes: episodes per task.
    """

    policy: Text
    noise: float = Field(default=0.0, ge=0.0, le=10.0)
    episodes: int = Field(ge=1, le=1_000_000)


class Storage(StrictModel):
    """How arrays are written; never changes the values.

    Attributes:
        compression: of the float arrays. Simulator states hardly compress, so ``none`` is the default; flags
            are always compressed.
    """

    compression: Literal["none", "zstd"] = "none"


class Manifest(StrictModel):
    """A dataset's recipe: the same manifest gives the same bytes.

    Attributes:
        name: of the dataset; its store is ``<name>.zarr``.
        family: task family.
        description: what the dataset is, for people.
        tasks: ``all``, a selection such as ``0-4,7``, or a list of task indices.
        behaviours: mixture of behaviour policies; every task is collected by all of it.
        seed: every episode's seed derives from it, the family, the task and the episode's number.
        storage: how arrays are written.
        licence: SPDX identifier of the dataset's licence.
        authors: people to credit.
        hub: Hugging Face Hub repository ``user/name`` that publishes it.
    """

    name: Name
    family: Name
    description: Text = ""
    tasks: Text | list[Annotated[int, Field(ge=0)]] = "all"
    behaviours: list[BehaviourEntry] = Field(min_length=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    storage: Storage = Storage()
    licence: Text | None = None
    authors: list[Text] = Field(default_factory=list)
    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")

    @property
    def task_family(self) -> TaskFamily:
        """The family object.

        Raises:
            ClwmError: it is not known here.
        """
        return get_family(self.family)

    def task_indices(self) -> tuple[int, ...]:
        """Indices of the manifest's tasks, ascending.

        Raises:
            ClwmError: a task that the family does not have.
        """
        if isinstance(self.tasks, list):
            return tuple(sorted({self.task_family.task(index).index for index in self.tasks}))
        return parse_indices(self.tasks, range(len(self.task_family.tasks)))

    def resolved(self) -> Manifest:
        """The same manifest with every task listed, as it is kept in the store."""
        return self.model_copy(update={"tasks": list(self.task_indices())})

    def same_data_as(self, other: Manifest) -> bool:
        """Whether both collect the same episodes for a task and store them alike; texts may differ."""
        keys = {"name", "family", "behaviours", "seed", "storage"}
        return self.model_dump(include=keys) == other.model_dump(include=keys)


def load_manifest(name_or_path: str) -> Manifest:
    """Read a manifest from a file, or one that is bundled with clwm by its name.

    Raises:
        ClwmError: no such manifest, or a mistake in it (file, line and key are named).
    """
    document = _find(name_or_path)
    manifest = build_model(Manifest, document)
    try:
        family = manifest.task_family
        manifest.task_indices()
    except ClwmError as error:
        key = "tasks" if manifest.family in family_names() else "family"
        raise ClwmError(f"{document.where((key,))}: {key}: {error}") from error
    for index, entry in enumerate(manifest.behaviours):
        if entry.policy not in family.behaviours:
            raise ClwmError(
                f"{document.where(('behaviours', index, 'policy'))}: behaviours[{index}].policy: family "
                f"{family.name} has no behaviour {entry.policy!r}; it has: {', '.join(family.behaviours)}"
            )
        if entry.policy == "random" and entry.noise:
            raise ClwmError(
                f"{document.where(('behaviours', index, 'noise'))}: behaviours[{index}].noise: "
                "random actions take no noise: remove the key"
            )
    return manifest


def bundled_manifests() -> list[str]:
    """Names of the manifests that ship with clwm; the Meta-World families share templates (see there)."""
    return sorted(_bundled_texts())


def _find(name_or_path: str) -> YamlDocument:
    path = Path(name_or_path)
    if path.is_file() or path.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return read_yaml(path)
    texts = _bundled_texts()
    if name_or_path not in texts:
        close = difflib.get_close_matches(name_or_path, texts, n=3)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"bundled: {', '.join(sorted(texts)[:8])}, ..."
        )
        raise ClwmError(f"no manifest {name_or_path!r}, neither a file nor bundled: {hint}")
    return parse_yaml(texts[name_or_path], f"{name_or_path}.yaml")


def _bundled_texts() -> dict[str, str]:
    """Manifest name -> YAML text; ``mw<variant>.template.yaml`` gives one per Meta-World task."""
    texts: dict[str, str] = {}
    for entry in files(BUNDLED).iterdir():
        if entry.name.endswith(".template.yaml"):
            variant = entry.name.removesuffix(".template.yaml").removeprefix("mw")
            template = string.Template(entry.read_text(encoding="utf-8"))
            for family in family_names():
                if family.startswith(META_WORLD_PREFIX):
                    texts[family + variant] = template.substitute(family=family)
        elif entry.name.endswith(".yaml"):
            texts[entry.name.removesuffix(".yaml")] = entry.read_text(encoding="utf-8")
    return texts
