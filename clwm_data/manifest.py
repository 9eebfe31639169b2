"""The manifest: everything that decides what a dataset holds, in one YAML file."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
)

from clwm_data.behaviour_entry import LEARNED, BehaviourEntry
from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_data.families import TaskFamily, get_family, is_family
from clwm_data.families.declared import DeclaredFamily, FamilyDeclaration, declared_family
from clwm_data.families.declared.reading import with_declared_family
from clwm_data.families.registry import working_families
from clwm_data.families.stored import FamilyFacts, facts_of
from clwm_data.functions import is_code
from clwm_data.ranges import parse_indices
from clwm_data.strict import NAME, Settings, Text, YamlDocument, build_model, parse_yaml, read_yaml
from clwm_data.suggestions import suggestion
from clwm_data.trust import check_allowed, remember
from clwm_data.yaml_values import shown
from clwm_data.zoo.shipped import shipped_folder

__all__ = [
    "BUNDLED",
    "LEARNED",
    "REPOSITORY",
    "BehaviourEntry",
    "Manifest",
    "Name",
    "Storage",
    "bundled_manifests",
    "load_manifest",
]

BUNDLED = "clwm_data.manifests"
META_WORLD_PREFIX = "mw-"

#: ``user/name`` as the Hub allows them: no part begins or ends with a dot or a dash.
REPOSITORY = re.compile(r"(?a:\w([\w.-]{0,94}\w)?/\w([\w.-]{0,94}\w)?)")

Name = Annotated[str, StringConstraints(pattern=NAME, max_length=100)]


class Storage(Settings):
    """How arrays are written; never changes the values.

    Attributes:
        compression: of the float arrays. Simulator states hardly compress, so ``none`` is the default; flags
            are always compressed.
    """

    compression: Literal["none", "zstd"] = "none"


class Manifest(Settings):
    """A dataset's recipe: the same manifest gives the same bytes.

    Attributes:
        name: of the dataset; its store is ``<name>.zarr``.
        family: name of the task family; in YAML also the declaration of a family, or the file that holds it.
        declared_family: the declaration of a family that comes neither with clwm nor with a package.
        family_facts: what is known of another family that does not come with clwm; filled in by clwm.
        description: what the dataset is, for people.
        tasks: ``all``, a selection such as ``0-4,7``, a task index, or a list of them.
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
    hub: Text | None = None
    declared_family: FamilyDeclaration | None = None
    family_facts: FamilyFacts | None = None

    #: Whether the user wrote it: code that a manifest in a store names is run only if it is allowed.
    _trusted: bool = PrivateAttr(default=True)

    def __eq__(self, other: object) -> bool:
        """Equal keys; whose manifest it is does not matter."""
        return isinstance(other, Manifest) and self.__dict__ == other.__dict__

    @model_serializer(mode="wrap")
    def _without_absent(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what only families have that do not come with clwm."""
        document: dict[str, Any] = serialise(self)
        for key in ("declared_family", "family_facts"):
            if document.get(key) is None:
                document.pop(key, None)
        return document

    @field_validator("hub")
    @classmethod
    def _is_a_repository(cls, hub: str | None) -> str | None:
        if hub is not None and not (REPOSITORY.fullmatch(hub) and ".." not in hub and "--" not in hub):
            raise ValueError(f"expected user/name of a repository on the Hub, found {shown(hub)}")
        return hub

    @field_validator("tasks", mode="before")
    @classmethod
    def _one_task(cls, tasks: object) -> object:
        return [tasks] if isinstance(tasks, int) and not isinstance(tasks, bool) else tasks

    @property
    def task_family(self) -> TaskFamily:
        """The family object, possibly a declared one.

        Raises:
            NotFoundError: it is not known here.
        """
        if self.declared_family is not None:
            return declared_family(self.declared_family, trusted=self._trusted)
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
        """The same manifest with every task listed and checkpoints pinned, as it is kept in the store.

        Raises:
            ClwmError: a task or a checkpoint that does not exist.
            UnavailableError: it came with data, and names code that nobody has allowed here.
        """
        if not self._trusted:
            check_allowed(_code_of(self.behaviours), f"manifest {self.name}")
        behaviours = [entry.resolved(self.task_family) for entry in self.behaviours]
        known: dict[str, Any] = {"tasks": list(self.task_indices()), "behaviours": behaviours}
        if isinstance(family := self.task_family, DeclaredFamily):
            known["declared_family"] = family.resolved()
        else:
            known["family_facts"] = facts_of(family)
        if self._trusted:
            remember(_code_of(behaviours))
        return self.model_copy(update=known)

    def from_data(self) -> Manifest:
        """The same manifest as one that came with data: see :mod:`clwm_data.trust`."""
        manifest = self.model_copy()
        manifest._trusted = False
        return manifest

    def published(self) -> Manifest:
        """The same manifest without the folders of policies on this machine; digests identify policies."""
        behaviours = [
            entry.model_copy(
                update={
                    key: PurePath(path).name
                    for key in ("zoo", "file")
                    if (path := getattr(entry, key)) is not None
                }
            )
            for entry in self.behaviours
        ]
        return self.model_copy(update={"behaviours": behaviours})

    def same_data_as(self, other: Manifest) -> bool:
        """Whether both collect the same episodes for a task and store them alike; descriptions may differ."""
        mine, theirs = (
            (
                manifest.model_dump(
                    include={"name", "family", "declared_family", "seed", "storage"},
                    exclude={"declared_family": {"summary"}},
                ),
                # A trained policy is identified by its digest, not by its folder.
                [entry.model_dump(exclude={"zoo", "file"}) for entry in manifest.behaviours],
            )
            for manifest in (self, other)
        )
        return mine == theirs


def _code_of(behaviours: Sequence[BehaviourEntry]) -> list[str]:
    """The code that behaviours run: functions, and files that hold pickles, by their digests."""
    return [
        entry.policy if is_code(entry.policy) else f"sb3:{entry.sha256}"
        for entry in behaviours
        if is_code(entry.policy) or (entry.policy == "sb3" and entry.file is not None)
    ]


def load_manifest(name_or_path: str) -> Manifest:
    """Read a manifest from a file, or one that is bundled with clwm by its name.

    Raises:
        ClwmError: no such manifest, or a mistake in it (file, line and key are named).
    """
    document = with_declared_family(_find(name_or_path))
    manifest = build_model(Manifest, document)
    try:
        family = manifest.task_family
        manifest.task_indices()
    except ClwmError as error:
        known = manifest.declared_family is not None or is_family(manifest.family)
        key = "tasks" if known else "family"
        raise InvalidInputError(f"{document.where((key,))}: {key}: {error}") from error
    for index, entry in enumerate(manifest.behaviours):
        if (mistake := entry.mistake(family, manifest.task_indices())) is not None:
            key, why = mistake
            where = document.where(("behaviours", index, key))
            raise InvalidInputError(f"{where}: behaviours[{index}].{key}: {why}")
    return manifest


def bundled_manifests() -> list[str]:
    """Names of the manifests that ship with clwm; some are made from templates."""
    return sorted(_bundled_texts())


def _find(name_or_path: str) -> YamlDocument:
    path = Path(name_or_path)
    if path.is_file() or path.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return read_yaml(path, () if path.is_file() else _bundled_texts())
    texts = _bundled_texts()
    if name_or_path not in texts:
        hint = suggestion(name_or_path, texts, f"bundled: {', '.join(sorted(texts)[:8])}, ...", most=3)
        raise NotFoundError(f"no manifest {name_or_path!r}, neither a file nor bundled: {hint}")
    return parse_yaml(texts[name_or_path], f"{name_or_path}.yaml")


def _bundled_texts() -> dict[str, str]:
    """Manifest name -> YAML text; ``<group>[-<variant>].template.yaml`` gives one per family of a group."""
    # Here, since whoever only reads stores needs neither.
    from clwm_data.families.metaworld.meta_learning import MetaLearning
    from clwm_data.families.point_robot.open_field import OpenFieldFamily

    families, _ = working_families()
    learned = [family for family in families if shipped_folder(family) is not None]
    groups: dict[str, list[TaskFamily]] = {
        "mw": [family for family in families if family.name.startswith(META_WORLD_PREFIX)],
        "ml": [family for family in families if isinstance(family, MetaLearning)],
        "field": [family for family in families if isinstance(family, OpenFieldFamily)],
        "learned": learned,
        "stages": [family for family in learned if _has_quarters(family)],
        "halves": [family for family in learned if not _has_quarters(family)],
    }
    texts: dict[str, str] = {}
    for entry in files(BUNDLED).iterdir():
        if entry.name.endswith(".template.yaml"):
            group, _, variant = entry.name.removesuffix(".template.yaml").partition("-")
            template = string.Template(entry.read_text(encoding="utf-8"))
            for family in groups[group]:
                name = f"{family.name}-{variant}" if variant else family.name
                texts[name] = template.substitute(family=family.name, summary=family.summary)
        elif entry.name.endswith(".yaml"):
            texts.setdefault(entry.name.removesuffix(".yaml"), entry.read_text(encoding="utf-8"))
    return texts


def _has_quarters(family: TaskFamily) -> bool:
    """Whether the family's policies ship at four stages of training, and untrained; else at two."""
    folder = shipped_folder(family)
    return folder is not None and (folder / "025.safetensors").is_file()
