"""``clwm preview``: see what the agents do."""

from __future__ import annotations

from pathlib import Path

import click

from clwm_data.errors import ClwmError, InvalidInputError, NotFoundError
from clwm_data.families import family_names
from clwm_data.families.declared.reading import find_family, is_family_file
from clwm_data.opening import open_store
from clwm_data.pages.numbers import plural
from clwm_data.preview import Choice, Clip, check_format, preview_family, preview_store, write_preview
from clwm_data.ranges import parse_indices

from .common import progress_bar
from .finding import find_store


@click.command()
@click.argument("source", metavar="FAMILY|STORE")
@click.option("--tasks", help="Which tasks, e.g. 0-4,7.  [default: three of each split]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A .gif, .mp4 or .png file.  [default: NAME.gif]"
)
@click.option(
    "--behaviour", help="FAMILY: policy that acts: scripted, learned, random.  [default: the first available]"
)
@click.option(
    "--checkpoint", type=click.IntRange(0, 100), help="FAMILY: quality of the learned policy.  [default: 100]"
)
@click.option(
    "--noise",
    type=click.FloatRange(0.0, 10.0),
    help="FAMILY: standard deviation of the noise on actions in [-1, 1].  [default: 0]",
)
@click.option("--seed", type=click.IntRange(0), help="FAMILY: seed of the episodes.  [default: 0]")
@click.option(
    "--episode", help="STORE: which episode of each task: best, worst or a number.  [default: best]"
)
def preview(
    source: str,
    tasks: str | None,
    out: Path | None,
    behaviour: str | None,
    checkpoint: int | None,
    noise: float | None,
    seed: int | None,
    episode: str | None,
) -> None:
    """Film an episode of each task of a FAMILY, or one that a STORE holds, re-simulated.

    FAMILY is a name, or a YAML file that declares one.
    A name that is both means the family; give the path of the store instead. A .png shows the last frames.

    \b
    Examples:
      clwm preview mw-push
      clwm preview cheetah-vel --checkpoint 50
      clwm preview point-robot --behaviour random --out random.png
      clwm preview data/point-robot.zarr --tasks 0,7,39 --episode worst --out worst.mp4
    """
    path = Path(source)
    if is_family_file(source) or (source in family_names() and not path.exists()):
        _refuse(source, "a family", {"--episode": episode})
        family = find_family(source)
        chosen = None if tasks is None else parse_indices(tasks, range(len(family.tasks)))
        target = check_format(out or Path(f"{family.name}.gif"))
        with progress_bar(None if chosen is None else len(chosen), "task", "simulating") as bar:
            clips = preview_family(
                family,
                chosen,
                behaviour=behaviour,
                checkpoint=checkpoint,
                noise=noise or 0.0,
                seed=seed or 0,
                still=target.suffix == ".png",
                on_progress=bar.update,
            )
        title = f"{family.name}, {clips[0].label}"
    else:
        _refuse(
            source,
            "a store",
            {"--behaviour": behaviour, "--checkpoint": checkpoint, "--noise": noise, "--seed": seed},
        )
        store = open_store(_find(source))
        chosen = None if tasks is None else parse_indices(tasks, list(store.tasks))
        target = check_format(out or Path(f"{store.name}.gif"))
        choice = _choice(episode or "best")
        with progress_bar(None if chosen is None else len(chosen), "task", "re-simulating") as bar:
            still = target.suffix == ".png"
            clips = preview_store(store, chosen, episode=choice, still=still, on_progress=bar.update)
        title = f"{store.name}, {f'episode {choice}' if isinstance(choice, int) else f'{choice} episodes'}"
    write_preview(clips, target, title=title)
    _report(clips, target)


def _report(clips: list[Clip], target: Path) -> None:
    for clip in clips:
        if not clip.faithful:
            click.echo(
                f"clwm: task {clip.task.index} {clip.label}: re-simulated, it leaves the stored path: "
                "another version of the simulator, or altered data (`clwm validate` finds out)",
                err=True,
            )
    click.echo(f"{target}: {plural(len(clips), 'episode')}")


def _find(source: str) -> Path:
    try:
        return find_store(source)
    except ClwmError as error:
        raise NotFoundError(f"{error}; nor is there a family of that name (`clwm families`)") from error


def _choice(text: str) -> Choice:
    if text == "best":
        return "best"
    if text == "worst":
        return "worst"
    if text.isdecimal():
        return int(text)
    raise click.BadParameter(f"{text!r} is not best, worst or a number", param_hint="--episode")


def _refuse(source: str, kind: str, options: dict[str, object]) -> None:
    for option, value in options.items():
        if value is not None:
            raise InvalidInputError(f"{source} is {kind}: {option} does not go with it")
