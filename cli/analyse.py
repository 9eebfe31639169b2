"""``clwm analyse``: what a run's representations and world model have learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clwm_data.errors import InvalidInputError
from clwm_data.extras import require
from clwm_data.opening import open_store

from .common import counting_bar, echo_json
from .completion import names, runs
from .finding import find_run, is_own, store_of_run
from .options import checkpoint_option, json_option, list_option, run_store_option
from .settings_options import analysis_options, execution_options

if TYPE_CHECKING:
    from clwm_train.analysis.results import Part
    from clwm_train.settings import AnalysisSettings, Execution


#: Those of ``clwm_train.analysis``, which takes time to import.
PART_NAMES = ("probe", "disentanglement", "open-loop", "off-policy")
#: What a part takes.
TAKES = {
    "probe": "takes parameters that vary between the tasks",
    "disentanglement": "takes tasks that combine several factors",
    "open-loop": "takes a world model",
    "off-policy": "takes stored tasks",
}


@click.command()
@click.argument("run", shell_complete=names(runs))
@list_option("--metrics", "parts", *PART_NAMES, default=PART_NAMES, help="Which to compute")
@analysis_options
@checkpoint_option
@run_store_option
@execution_options("cpu")
@json_option
def analyse(
    run: str,
    parts: tuple[Part, ...],
    settings: AnalysisSettings,
    checkpoint: Path | None,
    store: str | None,
    execution: Execution,
    as_json: bool,
) -> None:
    """Measure what the task representations and the world model of RUN have learned.

    RUN is the folder of a run, the name of one under runs/, or an agent on the Hub (user/repo).

    \b
    probe            R^2, on unseen tasks, of an affine map from z to the task parameters
    disentanglement  DCI and InfoMEC of z, where tasks have several factors (cheetah-ls, walker-ls,
                     finger-ls); needs scikit-learn
    open-loop        errors of the world model, step by step, as it is rolled through stored actions
    off-policy       what critics and policy say about stored transitions, also of held-out tasks

    docs/metrics.md defines every number. The results of a run on this machine are kept in its folder, for
    every checkpoint and all settings side by side.

    \b
    Examples:
      clwm analyse runs/point-robot-spc-s0
      clwm analyse runs/cheetah-ls-spc-s0 --metrics disentanglement --json
      clwm analyse runs/cheetah-vel-spc-s0 --metrics open-loop --horizon 50
    """
    require("torch", "train", "analysing")
    from clwm_train.analysis.results import save_analysis
    from clwm_train.analysis.run import analyse as analyse_run
    from clwm_train.analysis.table import analysis_lines
    from clwm_train.execution import pick_device
    from clwm_train.runs.checkpoint import choose_checkpoint
    from clwm_train.runs.run import open_run
    from clwm_train.settings import describe

    path = find_run(run)
    opened = open_run(path)
    with counting_bar("analysing", "part") as on_progress:
        analysis = analyse_run(
            opened,
            open_store(store_of_run(opened, store)),
            settings,
            parts=parts,
            checkpoint=choose_checkpoint(opened.checkpoints, checkpoint),
            device=pick_device(execution.device),
            warn=lambda message: click.echo(f"clwm: {message}", err=True),
            on_progress=on_progress,
        )
    if not any(part for seed in analysis.seeds for _, part in seed):
        told = "; ".join(f"{part}: {TAKES[part]}" for part in parts)
        raise InvalidInputError(f"{run}: nothing can be measured of what was asked for ({told})")
    if as_json:
        echo_json(analysis.model_dump(mode="json", exclude_none=True))
    else:
        click.echo(f"{run}: {opened.record.method} on {opened.record.store_name}, update {analysis.step:,}")
        click.echo(describe(settings))
        names = [f"seed {number}" for number in opened.record.seeds]
        click.echo("\n".join(analysis_lines(analysis.seeds, names)))
    if is_own(run):  # a downloaded run is not changed
        try:
            save_analysis(opened, analysis)
        except OSError as error:
            click.echo(f"clwm: {path}: the analysis is not kept: {error.strerror or error}", err=True)
