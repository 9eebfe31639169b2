"""The declaration of a family in YAML: its environment and its tasks."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from clwm_data.families.base import NAME, Task
from clwm_data.families.declared.tasks import GridTasks, ListedTask, SampledTasks, listed_tasks
from clwm_data.strict import Finite, StrictModel, Text
from clwm_data.yaml_values import shown

FamilyName = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
#: ``package.module:name``.
REFERENCE = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"
Reference = Annotated[str, StringConstraints(pattern=f"^{REFERENCE}$", max_length=300)]

#: Value of ``apply`` that means :mod:`clwm_data.families.simulation.mujoco_context`.
MUJOCO_CONTEXT = "mujoco-context"


Argument = bool | int | Finite | Text | None


class ProbedFacts(StrictModel):
    """Facts probed from the environment when the family was first used; kept in stores and runs.

    Attributes:
        observation_size: entries of the flattened observation.
        action_size: entries of the flattened action, or number of discrete actions.
        discrete: actions are discrete; networks see them one-hot.
        deterministic: seed and actions determine an episode, bit for bit.
    """

    observation_size: int = Field(ge=1, le=10_000_000)
    action_size: int = Field(ge=1, le=100_000)
    discrete: bool
    deterministic: bool


class FamilyDeclaration(StrictModel):
    """A task family over a Gymnasium environment.

    Attributes:
        name: name of the family; no other family may have it.
        env: id of a registered environment (``Pendulum-v1``), or ``package.module:function``, which returns a
            ``gymnasium.Env``.
        horizon: agent steps after which an episode is truncated.
        tasks: a list of tasks, a grid, or ranges to sample from.
        arguments: keyword arguments that all tasks share: numbers, texts, truth values, ``null``, or lists of
            these.
        apply: how a task's parameters reach the environment: as keyword arguments by default; or
            ``package.module:function``, called with the environment and the parameters, which changes the
            environment or returns another; or ``mujoco-context``, which scales the physics of a MuJoCo model.
        success: key of ``info`` that says whether the task is solved.
        varies: whether tasks differ in their ``dynamics`` or only in their ``reward``.
        summary: one line: what the agent does and what varies.
        probed: filled in by clwm, not written by hand.
    """

    name: FamilyName
    env: Annotated[Text, StringConstraints(min_length=1, max_length=300)]
    horizon: int = Field(ge=1, le=1_000_000)
    tasks: list[ListedTask] | GridTasks | SampledTasks
    arguments: dict[Text, Argument | list[Argument]] = Field(default_factory=dict)
    apply: Reference | Literal["mujoco-context"] | None = None
    success: Text | None = None
    varies: Literal["dynamics", "reward"] = "dynamics"
    summary: Text = ""
    probed: ProbedFacts | None = None

    @field_validator("env")
    @classmethod
    def _is_an_environment(cls, env: str) -> str:
        if env.count(":") > 1 or any(character.isspace() for character in env):
            raise ValueError(
                f"{env!r} is neither a Gymnasium id such as Pendulum-v1 nor package.module:function"
            )
        return env

    @field_validator("name", mode="before")
    @classmethod
    def _is_a_name(cls, name: object) -> object:
        if isinstance(name, str) and not re.fullmatch(NAME, name):
            raise ValueError(f"{shown(name)} cannot be the name of a family: use letters, digits and . _ -")
        return name

    @field_validator("apply", mode="before")
    @classmethod
    def _is_a_function(cls, apply: object) -> object:
        if isinstance(apply, str) and apply != MUJOCO_CONTEXT and not re.fullmatch(REFERENCE, apply):
            raise ValueError(f"expected package.module:function or {MUJOCO_CONTEXT}, found {shown(apply)}")
        return apply

    @field_validator("arguments", mode="before")
    @classmethod
    def _are_values(cls, arguments: object) -> object:
        for name, value in arguments.items() if isinstance(arguments, dict) else ():
            values = value if isinstance(value, list) else [value]
            if not all(each is None or isinstance(each, bool | int | float | str) for each in values):
                raise ValueError(
                    f"{shown(name)} is {shown(value)}, expected a number, a text, a truth value or a list of "
                    "these: a function (env: package.module:function) can make anything else"
                )
        return arguments

    @model_validator(mode="after")
    def _has_tasks(self) -> FamilyDeclaration:
        self.task_list()
        return self

    def task_list(self) -> tuple[Task, ...]:
        """The tasks that the declaration describes.

        Raises:
            ValueError: there are none, no train task, or their parameters have different names.
        """
        return listed_tasks(self.tasks)
