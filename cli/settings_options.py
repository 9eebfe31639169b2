"""Options that several verbs share, collected into the settings that they describe.

Each decorator here adds options to a command, and passes it one argument: the model built from their values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from clwm_data.families import SPLITS

from .numbers import MOST_PROCESSES, Count, FiniteFloat, Seed
from .options import Decorator, list_option

if TYPE_CHECKING:
    from pydantic import BaseModel

    from clwm_train.settings import AnalysisSettings, EvaluationSettings, Execution

#: Those of ``clwm_train.settings``, which takes time to import.
PROTOCOL_NAMES = ("few-shot", "online-context", "non-prior", "zero-shot")
_DEVICE = "cpu, cuda, cuda:1, ...; auto: a GPU if there is one."
_THREADS = "CPU threads of a run.  [default: 1 if networks are small]"

_COMPILE = (
    "Compile the update first (on CPU: a minute or two, with g++; then kept); quicker from then on.  "
    "[default: as the run was begun; a new one from {} on, if there is a compiler]"
)

#: Name of an option -> its flags and its settings.
_EXECUTION: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "threads": (("--threads",), {"type": Count(most=MOST_PROCESSES), "help": _THREADS}),
    "compile": (
        ("--compile/--no-compile", "compile"),
        {
            "default": None,
            "help": _COMPILE.format("10,000 updates"),
        },
    ),
    "memory": (
        ("--memory",),
        {
            "type": click.Choice(["auto", "ram", "mmap"]),
            "default": "auto",
            "show_default": True,
            "help": "ram: load the data; mmap: map it from files, decoded once into CLWM_CACHE "
            "(~/.cache/clwm); auto: mmap where it does not fit into memory.",
        },
    ),
}


def compile_option(worthwhile: str) -> Decorator:
    """``--compile/--no-compile`` alone, where runs are compiled from so much on."""
    flags, settings = _EXECUTION["compile"]
    return click.option(*flags, **{**settings, "help": _COMPILE.format(worthwhile)})


def execution_options(device: str, *names: str, **texts: str) -> Decorator:
    """``--device`` and other options, passed as ``execution``.

    Args:
        device: default of ``--device``.
        names: the other options: ``threads``, ``compile``, ``memory``.
        texts: help texts that replace the usual ones, by option.
    """
    options: list[Decorator] = [click.option("--device", default=device, show_default=True, help=_DEVICE)]
    for name in names:
        flags, settings = _EXECUTION[name]
        options.append(click.option(*flags, **{**settings, "help": texts.get(name, settings["help"])}))
    return _gathered("execution", options, _execution_settings)


def _execution_settings(values: dict[str, Any]) -> Execution:
    from clwm_train.settings import Execution

    execution: Execution = _built(Execution, values)
    return execution


_EVALUATION = (
    list_option(
        "--protocol",
        "protocols",
        *PROTOCOL_NAMES,
        default=("few-shot", "zero-shot"),
        help=f"Where contexts come from: {', '.join(PROTOCOL_NAMES)}",
    ),
    list_option("--split", "splits", *SPLITS, default=SPLITS, help="Which tasks, by their split"),
    click.option("--episodes", type=Count(), default=3, show_default=True, help="Episodes per task."),
    click.option(
        "--context-size",
        type=Count(0),
        default=600,
        show_default=True,
        help="Transitions in a context.",
    ),
    click.option(
        "--context-behaviour",
        metavar="NAME",
        help="Few-shot contexts only from episodes of this behaviour, e.g. random or learned-25; all: each "
        "behaviour of the data in turn, few-shot only.  [default: from all of a task's data]",
    ),
    click.option(
        "--prior",
        type=click.Choice(["zero", "mean"]),
        default="zero",
        show_default=True,
        help="Representation of a task before any transition: 0 (published), or the train tasks' mean.",
    ),
    click.option(
        "--prior-weight",
        type=FiniteFloat(0.0),
        default=0.0,
        show_default=True,
        help="How many transitions the prior counts as; 0: the first one replaces it.",
    ),
    click.option(
        "--inference",
        type=click.Choice(["encoder", "model", "model-mean", "model-sample"]),
        default="encoder",
        show_default=True,
        help="What infers a task from the agent's own transitions: the context encoder (published), or the "
        "world model's errors: the best candidate for z, the mean of their posterior, or a sample of it.",
    ),
    click.option(
        "--noise",
        type=FiniteFloat(0.0),
        default=0.0,
        show_default=True,
        help="Noise of the policy's actions, in its standard deviations; 0: its mean action (published).",
    ),
    click.option(
        "--planner",
        type=click.Choice(["none", "mppi"]),
        default="none",
        show_default=True,
        help="What acts: the policy, or MPPI with the world model.",
    ),
    click.option(
        "--planner-set",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set a constant of MPPI, e.g. samples=128; repeatable.",
    ),
    click.option("--seed", type=Seed(), default=0, show_default=True, help="Seed of contexts and episodes."),
    click.option(
        "--env",
        metavar="MODULE:FUNCTION",
        help="Function that makes the environments.  [default: the family's own]",
    ),
)


def _evaluation_settings(values: dict[str, Any]) -> EvaluationSettings:
    from clwm_data.strict import YamlDocument, build_model
    from clwm_train.methods.method_file import merge
    from clwm_train.methods.resolve import parse_override
    from clwm_train.settings import EvaluationSettings, PlannerConfig

    overrides = values.pop("planner_set")
    planner = None
    if values["planner"] == "mppi":
        data: dict[str, Any] = {}
        for override in overrides:
            data = merge(data, parse_override(override, "--planner-set", "samples=128"))
        planner = build_model(PlannerConfig, YamlDocument("--planner-set", data, {}))
    elif overrides:
        raise click.UsageError("--planner-set needs --planner mppi")
    values["planner"] = planner
    settings: EvaluationSettings = _built(EvaluationSettings, values)
    return settings


_ANALYSIS = (
    click.option(
        "--contexts",
        type=Count(2),
        default=32,
        show_default=True,
        help="Contexts drawn from every task.",
    ),
    click.option(
        "--context-size",
        type=Count(),
        default=64,
        show_default=True,
        help="Transitions in each context.",
    ),
    click.option(
        "--horizon",
        type=Count(),
        default=20,
        show_default=True,
        help="Steps of the open-loop prediction.",
    ),
    click.option("--seed", type=Seed(), default=0, show_default=True, help="Seed of contexts and windows."),
)


def _analysis_settings(values: dict[str, Any]) -> AnalysisSettings:
    from clwm_train.settings import AnalysisSettings

    settings: AnalysisSettings = _built(AnalysisSettings, values)
    return settings


def _built(model: type[BaseModel], values: dict[str, Any]) -> Any:
    """Build a model; values that are invalid together are a usage error."""
    from pydantic import ValidationError

    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = str(first.get("ctx", {}).get("error", first["msg"]))
        where = ".".join(map(str, first["loc"])).replace("_", "-")
        raise click.UsageError(f"--{where}: {message}" if where else message) from error


def _gathered(target: str, options: Sequence[Decorator], build: Callable[[dict[str, Any]], Any]) -> Decorator:
    """A decorator that adds options, and passes the command ``target``, built from their values by name."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def gathered(*arguments: Any, **values: Any) -> Any:
            values[target] = build({name: values.pop(name) for name in names})
            return command(*arguments, **values)

        before = len(getattr(command, "__click_params__", ()))
        decorated: Callable[..., Any] = gathered
        for option in reversed(options):
            decorated = option(decorated)
        parameters: list[click.Parameter] = decorated.__click_params__  # type: ignore[attr-defined]
        names = [parameter.name for parameter in parameters[before:]]
        return decorated

    return decorate


#: All settings of an evaluation, passed as ``settings``.
evaluation_options = _gathered("settings", _EVALUATION, _evaluation_settings)
#: All settings of an analysis, passed as ``settings``.
analysis_options = _gathered("settings", _ANALYSIS, _analysis_settings)
