"""One part of a manifest's mixture of behaviour policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from clwm_data.errors import ClwmError, ConflictError, InvalidInputError
from clwm_data.families import TaskFamily
from clwm_data.functions import is_code
from clwm_data.own_policy import policy_mistake, policy_sha256
from clwm_data.pages.numbers import plural
from clwm_data.paths import expand_home
from clwm_data.policy_file import MAKERS, file_sha256
from clwm_data.ranges import format_indices, task_list
from clwm_data.strict import Settings, Text
from clwm_data.suggestions import suggestion
from clwm_data.zoo.shipped import find_checkpoint, find_policies, find_zoo

#: Name of the trained behaviour, see :mod:`clwm_data.zoo`.
LEARNED = "learned"


class BehaviourEntry(Settings):
    """One part of the mixture of behaviour policies that collects a task.

    Attributes:
        policy: ``random`` (uniform actions), ``learned`` (a checkpoint of the family's trained policy),
            another behaviour that the family has, e.g. ``scripted``, or a function of the user's
            (``package.module:function``, see :mod:`clwm_data.behaviours.own`), or what a file holds
            (``{sb3: model.zip}``, ``{run: RUN}``, see :mod:`clwm_data.policy_file`).
        checkpoint: quality of the checkpoint: per cent of the way from the untrained policy to the best one.
        file: of a policy that is ``sb3`` or ``run``.
        adapted: how the agent of a run knows the task: ``zero-shot`` (default) or ``few-shot``.
        deterministic: a policy that was trained acts without its own noise.
        zoo: folder with the learned policies, or the name of further ones that ship with clwm
            (``ant-dir-unturned``); by default those that ship as the family's.
        sha256: digest of the checkpoint's file, or of the function's: must match if given; filled in when a
            manifest is resolved.
        noise: standard deviation of Gaussian noise added to the policy's action, which is then clipped; for a
            trained policy only together with ``deterministic``.
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
    file: Text | None = None
    adapted: Literal["few-shot", "zero-shot"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _policy_of_a_file(cls, values: Any) -> Any:
        """Take ``policy: {sb3: file}`` apart."""
        policy = values.get("policy") if isinstance(values, dict) else None
        if not isinstance(policy, dict):
            return values
        kinds = [kind for kind in MAKERS if kind in policy]
        others = sorted(map(str, set(policy) - {*MAKERS, *(("adapted",) if kinds == ["run"] else ())}))
        if len(kinds) != 1 or others:
            raise ValueError("policy: expected {sb3: FILE} or {run: RUN, adapted: few-shot or zero-shot}")
        adapted = {"adapted": policy["adapted"]} if "adapted" in policy else {}
        return {**values, "policy": kinds[0], "file": policy[kinds[0]], **adapted}

    @field_validator("file", "zoo")
    @classmethod
    def _in_the_home_folder(cls, path: str | None) -> str | None:
        return str(expand_home(path)) if path is not None and path.startswith("~") else path

    @model_serializer(mode="wrap")
    def _without_absent(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what only policies of files have."""
        document: dict[str, Any] = serialise(self)
        return {
            k: value for k, value in document.items() if k not in ("file", "adapted") or value is not None
        }

    @property
    def is_users_own(self) -> bool:
        """The policy is the user's: a function, or what a file holds."""
        return is_code(self.policy) or self.file is not None

    @model_validator(mode="after")
    def _has_one_length(self) -> BehaviourEntry:
        if (self.episodes is None) == (self.transitions is None):
            raise ValueError("give either episodes or transitions")
        return self

    @model_validator(mode="after")
    def _has_a_file(self) -> BehaviourEntry:
        if self.file is not None and self.policy not in MAKERS:
            raise ValueError("file: write policy: {sb3: FILE} or policy: {run: RUN}")
        if self.adapted is not None and self.policy != "run":
            raise ValueError("adapted: only the agent of a run adapts: leave it out")
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
        file = "" if self.file is None else f" {PurePath(self.file).name}"
        adapted = "" if self.adapted is None else f", {self.adapted}"
        return f"{self.policy}{file}{checkpoint}{adapted}{deterministic}{noise}"

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
        if self.file is not None:
            return _mistake_of_a_file(self)
        if self.policy in MAKERS:  # in records of other data it is a name like any other
            return "policy", f"write policy: {{{self.policy}: FILE}}"
        if self.policy != LEARNED:
            own = is_code(self.policy)
            if not own and self.policy not in family.behaviours:
                known = (*family.behaviours, LEARNED)
                meant = suggestion(self.policy, known)
                names = f"{', '.join((*known, 'package.module:function'))}{f': {meant}' if meant else ''}"
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
                f"its policies were trained on {task_list(trained)} alone: "
                f'set `tasks: "{format_indices(trained)}"`, or name others',
            )
        return None

    def resolved(self, family: TaskFamily) -> BehaviourEntry:
        """The same entry with the digest of its checkpoint, or of its function's file.

        Raises:
            ClwmError: there is no such checkpoint or function, or it is not the one of ``sha256``.
        """
        if self.file is not None:
            return self.model_copy(update={"sha256": file_sha256(self.policy, self.file, self.sha256)})
        if is_code(self.policy):
            return self.model_copy(update={"sha256": policy_sha256(self.policy, self.sha256)})
        if self.policy != LEARNED:
            return self
        find_policies(family, self.zoo, self.checkpoint_quality, self.sha256)
        record = find_checkpoint(family, self.zoo, self.checkpoint_quality)
        return self.model_copy(update={"sha256": record.sha256})


def _mistake_of_a_file(entry: BehaviourEntry) -> tuple[str, str] | None:
    """The first key of an entry that does not fit to a file's policy, and why."""
    if entry.checkpoint is not None or entry.zoo is not None:
        key = "zoo" if entry.checkpoint is None else "checkpoint"
        return key, "only a policy that is learned takes it: leave it out"
    if entry.policy == "sb3" and entry.adapted is not None:
        return "adapted", "only the agent of a run adapts: leave it out"
    if entry.noise and not entry.deterministic:
        return "noise", "the policy draws its actions: add deterministic: true, or leave it out"
    try:
        file_sha256(entry.policy, entry.file or "", entry.sha256)
    except ConflictError as error:
        return "sha256", str(error)
    except ClwmError as error:
        return "policy", str(error)
    return None
