"""The manifest: everything that decides what a dataset holds, in one YAML file."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_data.families import TaskFamily, family_names, get_family
from clwm_data.families.declared import DeclaredFamily, FamilyDeclaration, declared_family
from clwm_data.families.declared.reading import with_declared_family
from clwm_data.families.metaworld.meta_learning import MetaLearning
from clwm_data.families.point_robot.open_field import OpenFieldFamily
from clwm_data.families.registry import working_families
from clwm_data.families.stored import FamilyFacts, facts_of
from clwm_data.functions import is_code
from clwm_data.own_policy import policy_mistake, policy_sha256
from clwm_data.pages.numbers import plural
from clwm_data.ranges import format_indices, parse_indices
from clwm_data.strict import StrictModel, Text, YamlDocument, build_model, parse_yaml, read_yaml
from clwm_data.yaml_text import shown
from clwm_data.zoo.shipped import find_checkpoint, find_policies, find_zoo, shipped_folder

BUNDLED = "clwm_data.manifests"
META_WORLD_PREFIX = "mw-"
#: Name of the trained behaviour, see :mod:`clwm_data.zoo`.
LEARNED = "learned"

#: ``user/name`` as the Hub allows them: no part begins or ends with a dot or a dash.
REPOSITORY = re.compile(r"(?a:\w([\w.-]{0,94}\w)?/\w([\w.-]{0,94}\w)?)")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class BehaviourEntry(StrictModel):
    """One part of the mixture of behaviour policies that collects a task.

    Attributes:
        policy: ``random`` (uniform actions), ``learned`` (a checkpoint of the family's trained policy),
            another behaviour that the family has, e.g. ``scripted``, or a function of the user's
            (``package.module:function``, see :mod:`clwm_data.behaviours.own`).
        checkpoint: quality of the checkpoint: per cent of the way from the untrained policy to the best one.
        deterministic: a learned policy acts without its own noise.
        zoo: folder with the learned policies; by default those that ship with clwm.
        sha256: digest of the checkpoint's file, or of the function's: must match if given; filled in when a
            manifest is resolved.
        noise: standard deviation of Gaussian noise added to the policy's action, which is then clipped; for a
            learned policy only together with ``deterministic``.
        episodes: episodes per task.
        transitions: instead of ``episodes``: as many episodes as it takes to reach this many transitions.
    """

    policy: Text
    checkpoint: int | None = Field(default=None, ge=0, le=100)
    deterministic: bool = False
    zoo: Text | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    noise: float = Field(default=0.0, ge=0.0, le=10.0)
    episodes: int | None = Field(default=None, ge=1, le=1_000_000)
    transitions: int | None = Field(default=None, ge=1, le=100_000_000)

    @model_validator(mode="after")
    def _has_one_length(self) -> BehaviourEntry:
        if (self.episodes is None) == (self.transitions is None):
            raise ValueError("give either episodes or transitions")
        return self

    @property
    def most_episodes(self) -> int:
        """Largest number of episodes that can be needed: each has at least one transition."""
        return self.episodes or self.transitions or 0

    @property
    def label(self) -> str:
        """The behaviour in a few words: ``learned 50 %``, ``scripted, noise 0.3``."""
        checkpoint = "" if self.checkpoint is None else f" {self.checkpoint} %"
        deterministic = ", deterministic" if self.deterministic else ""
        noise = f", noise {self.noise:g}" if self.noise else ""
        return f"{self.policy}{checkpoint}{deterministic}{noise}"

    @property
    def amount(self) -> str:
        """How much it collects of a task: ``20 episodes``, ``200,000 transitions``."""
        if self.transitions is not None:
            return plural(self.transitions, "transition")
        return plural(self.episodes or 0, "episode")

    @property
    def summary(self) -> str:
        """Amount and label: ``20 episodes by scripted, noise 0.3``."""
        return f"{self.amount} by {self.label}"

    def counted(self, episodes: int) -> BehaviourEntry:
        """The same behaviour with this number of episodes."""
        return self.model_copy(update={"episodes": episodes, "transitions": None})

    @property
    def checkpoint_quality(self) -> int:
        """The checkpoint of a learned policy.

        Raises:
            InvalidInputError: it was left out.
        """
        if self.checkpoint is None:
            raise InvalidInputError("a learned policy needs the key checkpoint, e.g. 100 for the best")
        return self.checkpoint

    def mistake(self, family: TaskFamily, tasks: Sequence[int]) -> tuple[str, str] | None:
        """The first key whose value is not valid for these tasks, and why; ``None`` if all are."""
        if self.policy != LEARNED:
            own = is_code(self.policy)
            if not own and self.policy not in family.behaviours:
                names = ", ".join((*family.behaviours, LEARNED, "package.module:function"))
                return "policy", f"family {family.name} has no behaviour {self.policy!r}; it has: {names}"
            for key in ("checkpoint", "deterministic", "zoo", *(() if own else ("sha256",))):
                if getattr(self, key) != BehaviourEntry.model_fields[key].default:
                    return key, f"only a policy that is {LEARNED} takes it: leave it out"
            if self.policy == "random" and self.noise:
                return "noise", "random actions take no noise: leave it out"
            return policy_mistake(self.policy, self.sha256, self.noise) if own else None
        if self.noise and not self.deterministic:
            return (
                "noise",
                "a learned policy draws its actions: add deterministic: true, or leave it out",
            )
        try:
            self.resolved(family)
        except ClwmError as error:
            return "policy" if self.checkpoint is None else "checkpoint", str(error)
        trained = find_zoo(family, self.zoo)[1].tasks
        if not set(tasks) <= set(trained):
            return (
                "zoo",
                f"its policies were trained on the tasks {format_indices(trained)} alone: "
                f'set `tasks: "{format_indices(trained)}"`, or name others',
            )
        return None

    def resolved(self, family: TaskFamily) -> BehaviourEntry:
        """The same entry with the digest of its checkpoint, or of its function's file.

        Raises:
            ClwmError: there is no such checkpoint or function, or it is not the one of ``sha256``.
        """
        if is_code(self.policy):
            return self.model_copy(update={"sha256": policy_sha256(self.policy, self.sha256)})
        if self.policy != LEARNED:
            return self
        find_policies(family, self.zoo, self.checkpoint_quality, self.sha256)
        record = find_checkpoint(family, self.zoo, self.checkpoint_quality)
        return self.model_copy(update={"sha256": record.sha256})


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
        """The family object; code that a declared family names is trusted (unlike that of a ``Store``).

        Raises:
            ClwmError: it is not known here.
        """
        if self.declared_family is not None:
            return declared_family(self.declared_family, trusted=True)
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
        """
        behaviours = [entry.resolved(self.task_family) for entry in self.behaviours]
        known: dict[str, Any] = {"tasks": list(self.task_indices()), "behaviours": behaviours}
        if isinstance(family := self.task_family, DeclaredFamily):
            known["declared_family"] = family.resolved()
        else:
            known["family_facts"] = facts_of(family)
        return self.model_copy(update=known)

    def published(self) -> Manifest:
        """The same manifest without the folders of policies on this machine; digests identify policies."""
        behaviours = [
            entry if entry.zoo is None else entry.model_copy(update={"zoo": PurePath(entry.zoo).name})
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
                # A checkpoint is identified by its digest, not by its folder.
                [entry.model_dump(exclude={"zoo"}) for entry in manifest.behaviours],
            )
            for manifest in (self, other)
        )
        return mine == theirs


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
        known = manifest.declared_family is not None or manifest.family in family_names()
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
        return read_yaml(path)
    texts = _bundled_texts()
    if name_or_path not in texts:
        close = difflib.get_close_matches(name_or_path, texts, n=3)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"bundled: {', '.join(sorted(texts)[:8])}, ..."
        )
        raise NotFoundError(f"no manifest {name_or_path!r}, neither a file nor bundled: {hint}")
    return parse_yaml(texts[name_or_path], f"{name_or_path}.yaml")


def _bundled_texts() -> dict[str, str]:
    """Manifest name -> YAML text; ``<group>[-<variant>].template.yaml`` gives one per family of a group."""
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
