"""``clwm preview``: see what policies and agents do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_data.extras import require
from clwm_data.families import is_family
from clwm_data.families.declared.reading import find_family, is_family_file
from clwm_data.opening import RUNS, open_store
from clwm_data.pages.numbers import plural
from clwm_data.preview import Choice, Clip, check_format, preview_family, preview_store, write_preview
from clwm_data.ranges import parse_indices
from clwm_data.yaml_values import printable

from .common import progress_bar
from .completion import families, names, runs, stores
from .finding import find_run, find_store, is_run, store_of_run
from .numbers import Count, FiniteFloat, Seed
from .options import TargetPath
from .settings_options import PROTOCOL_NAMES

if TYPE_CHECKING:
    from clwm_train.runs.run import Run

#: What can be filmed -> the options that go with it; those without an entry go with everything.
OPTIONS = {
    "family": ("behaviour", "checkpoint", "noise", "seed"),
    "store": ("episode",),
    "run": ("protocol", "checkpoint", "context_size", "noise", "seed", "agent_seed", "store"),
}
Kind = Literal["family", "store", "run"]


@click.command()
@click.argument("source", metavar="FAMILY|STORE|RUN", shell_complete=names(families, stores, runs))
@click.option("--tasks", "--task", "tasks", help="Which tasks, e.g. 0-4,7.  [default: three of each split]")
@click.option(
    "--out",
    type=TargetPath(),
    help="A .gif, .mp4 or .png file.  [default: NAME.gif; of a RUN NAME-PROTOCOL.gif]",
)
@click.option(
    "--behaviour", help="FAMILY: policy that acts: scripted, learned, random.  [default: the first available]"
)
@click.option(
    "--checkpoint",
    help="FAMILY: quality of the learned policy, 0 to 100.  RUN: folder of a checkpoint, or best.  "
    "[default: 100; the latest]",
)
@click.option(
    "--noise",
    type=FiniteFloat(0.0, 10.0),
    help="Noise on the actions: FAMILY: standard deviation; RUN: in standard deviations of the policy.  "
    "[default: 0]",
)
@click.option("--seed", type=Seed(), help="FAMILY, RUN: seed of the episodes.  [default: 0]")
@click.option(
    "--episode", help="STORE: which episode of each task: best, worst or a number.  [default: best]"
)
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOL_NAMES),
    help="RUN: what the agent infers its task from, as in `clwm eval`.  [default: few-shot]",
)
@click.option("--context-size", type=Count(0), help="RUN: transitions in a context.  [default: 600]")
@click.option("--agent-seed", type=Count(0), help="RUN: which of its seeds acts.  [default: the first]")
@click.option("--store", help="RUN: where its data is now, if it has moved.")
def preview(source: str, tasks: str | None, out: Path | None, **options: Any) -> None:
    """Film one episode of each task: of a FAMILY, of a STORE, or acted by the agent of a RUN.

    FAMILY is a name, or a YAML file that declares one; a behaviour policy acts. An episode of a STORE is
    simulated again as it is stored. A RUN is a folder, a name under runs/, or an agent on the Hub
    (user/repo); its agent adapts to each task first. A name that is several of these means the family, then
    the store: give a path, or hf://user/repo, instead.

    A .png shows the last moments; .mp4 needs the extra "video".

    \b
    Examples:
      clwm preview mw-push
      clwm preview cheetah-vel --checkpoint 50
      clwm preview point-robot --behaviour random --out random.png
      clwm preview data/point-robot.zarr --tasks 0,7,39 --episode worst --out worst.mp4
      clwm preview runs/point-robot-spc-s0 --task 7 --protocol zero-shot
    """
    given = {name: value for name, value in options.items() if value is not None}
    kind = _kind(source, given)
    _refuse(source, kind, given)
    films = {"family": _film_family, "store": _film_store, "run": _film_run}
    film = films[kind](source, tasks, out, given)
    write_preview(film.clips, film.target, title=film.title)
    for clip in film.clips:
        if not clip.faithful:
            click.echo(f"clwm: task {clip.task.index} {clip.label}: {UNFAITHFUL[kind]}", err=True)
    click.echo(f"{film.target}: {plural(len(film.clips), 'episode')}")


UNFAITHFUL: dict[Kind, str] = {
    "store": "re-simulated, it leaves the stored path: another version of the simulator, or altered data "
    "(`clwm validate` finds out)",
    "run": "simulated again for the pictures, it leaves the path that was evaluated: episodes of this family "
    "do not repeat",
}


@dataclass(frozen=True)
class _Film:
    """What was filmed, and where it goes."""

    clips: list[Clip]
    target: Path
    title: str


def _kind(source: str, given: Mapping[str, Any]) -> Kind:
    """What a text names; an option that only runs take decides where it could be a store, too."""
    if is_family_file(source) or (is_family(source) and not Path(source).exists()):
        return "family"
    only_runs = set(OPTIONS["run"]) - {name for kind in ("family", "store") for name in OPTIONS[kind]}
    return "run" if is_run(source) or only_runs & set(given) else "store"


def _refuse(source: str, kind: Kind, given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in OPTIONS[kind]:
            option = f"--{name.replace('_', '-')}"
            raise InvalidInputError(f"{source} is a {kind}: {option} does not go with it")


def _film_family(source: str, tasks: str | None, out: Path | None, given: Mapping[str, Any]) -> _Film:
    family = find_family(source)
    chosen = None if tasks is None else parse_indices(tasks, range(len(family.tasks)))
    target = check_format(out or Path(f"{family.name}.gif"))
    with progress_bar(None if chosen is None else len(chosen), "task", "simulating") as bar:
        clips = preview_family(
            family,
            chosen,
            behaviour=given.get("behaviour"),
            checkpoint=_quality(given["checkpoint"]) if "checkpoint" in given else None,
            noise=given.get("noise", 0.0),
            seed=given.get("seed", 0),
            still=target.suffix == ".png",
            on_progress=bar.update,
        )
    return _Film(clips, target, f"{family.name}, {clips[0].label}")


def _film_store(source: str, tasks: str | None, out: Path | None, given: Mapping[str, Any]) -> _Film:
    store = open_store(_find(source))
    chosen = None if tasks is None else parse_indices(tasks, list(store.tasks))
    target = check_format(out or Path(f"{store.name}.gif"))
    choice = _choice(given.get("episode", "best"))
    with progress_bar(None if chosen is None else len(chosen), "task", "re-simulating") as bar:
        still = target.suffix == ".png"
        clips = preview_store(store, chosen, episode=choice, still=still, on_progress=bar.update)
    which = f"episode {choice}" if isinstance(choice, int) else f"{choice} episodes"
    return _Film(clips, target, f"{store.name}, {which}")


def _film_run(source: str, tasks: str | None, out: Path | None, given: Mapping[str, Any]) -> _Film:
    require("torch", "train", "filming an agent")
    from clwm_train.evaluation.footage import film_run
    from clwm_train.runs.checkpoint import choose_checkpoint, read_record
    from clwm_train.runs.run import open_run
    from clwm_train.settings import EvaluationSettings

    run = open_run(find_run(source))
    protocol = given.get("protocol", "few-shot")
    target = check_format(out or Path(f"{run.path.name}-{protocol}.gif"))
    chosen = None if tasks is None else parse_indices(tasks, range(run.task_family.tasks[-1].index + 1))
    settings = EvaluationSettings(
        protocols=(protocol,),
        **{name: given[name] for name in ("context_size", "noise", "seed") if name in given},
    )
    checkpoint = choose_checkpoint(run.checkpoints, given.get("checkpoint"))
    needs_data = protocol == "few-shot" or "store" in given
    with progress_bar(None if chosen is None else len(chosen), "task", "filming") as bar:
        clips = film_run(
            run,
            open_store(store_of_run(run, given.get("store"))) if needs_data else None,
            settings,
            tasks=chosen,
            checkpoint=checkpoint,
            row=_row(run, given.get("agent_seed")),
            still=target.suffix == ".png",
            on_progress=bar.update,
        )
    step = read_record(checkpoint).step
    return _Film(
        clips, target, f"{run.label} on {run.record.store_name}, {plural(step, 'update')}, {protocol}"
    )


def _row(run: Run, seed: int | None) -> int:
    if seed is None:
        return 0
    if seed not in run.record.seeds:
        seeds = ", ".join(map(str, run.record.seeds))
        raise NotFoundError(f"{run.path}: has no seed {seed} (--agent-seed): its seeds are {seeds}")
    return run.record.seeds.index(seed)


def _find(source: str) -> Path:
    try:
        return find_store(source)
    except ClwmError as error:
        raise NotFoundError(
            f"{error}; nor is there a family of that name (`clwm families`), nor a run under {RUNS}/"
        ) from error


def _quality(text: str) -> int:
    if re.fullmatch("[0-9]{1,3}", text) and int(text) <= 100:
        return int(text)
    raise click.BadParameter(
        f"{printable(text)!r} is not a quality in per cent, 0 to 100", param_hint="--checkpoint"
    )


def _choice(text: str) -> Choice:
    if text == "best":
        return "best"
    if text == "worst":
        return "worst"
    if re.fullmatch("[0-9]{1,9}", text):
        return int(text)
    raise click.BadParameter(f"{printable(text)!r} is not best, worst or a number", param_hint="--episode")
