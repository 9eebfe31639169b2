"""The results of analyses, stored with the run: one file per checkpoint, settings and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from clwm_data.bounded import read_bounded
from clwm_data.errors import ClwmError, DamagedDataError
from clwm_data.locks import exclusive
from clwm_data.pages.numbers import plural
from clwm_data.store.atomic import write_json
from clwm_data.store.root import parse_json
from clwm_data.strict import StrictModel, Text, first_mistake
from clwm_train.analysis.findings import SeedAnalysis
from clwm_train.analysis.table import analysis_lines
from clwm_train.runs.checkpoint import BEST, checkpoint_name
from clwm_train.runs.run import Run
from clwm_train.settings import (
    DEFAULT_ANALYSIS,
    AnalysisSettings,
    check_result_name,
    describe,
    result_name,
)

#: Folder of a run.
ANALYSES = "analyses"
#: The file of the only analysis in earlier versions of clwm.
EARLIER = "analysis.json"

REMEDY = "delete it and run `clwm analyse` again"
#: Seconds to wait for another process that keeps an analysis.
PATIENCE = 60.0

Part = Literal["probe", "disentanglement", "open-loop", "off-policy"]
PARTS: tuple[Part, ...] = get_args(Part)


class Analysis(StrictModel):
    """An analysis of a checkpoint.

    Attributes:
        checkpoint: name of the checkpoint at that update, also for the best one, which another may replace.
        step: update of the checkpoint.
        store_sha256: digest of the content of the store.
        settings: settings of the analysis.
        seeds: analysis of each seed of the run.
    """

    checkpoint: Text
    step: int = Field(ge=0)
    store_sha256: Text
    settings: AnalysisSettings
    seeds: Annotated[list[SeedAnalysis], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.checkpoint not in (BEST, checkpoint_name(self.step)):
            raise ValueError(f"checkpoint {self.checkpoint} is not that of step {self.step}")
        return self

    def __repr__(self) -> str:
        names = [f"seed {number + 1} of {len(self.seeds)}" for number in range(len(self.seeds))]
        lines = [f"Analysis of update {self.step:,}", describe(self.settings)]
        return "\n".join([*lines, *analysis_lines(self.seeds, names)])

    def __str__(self) -> str:
        return repr(self)

    @property
    def name(self) -> str:
        """Name of its file: the same for the same checkpoint, settings and data."""
        return result_name(self.checkpoint, self.settings, self.store_sha256)


def save_analysis(run: Run, analysis: Analysis) -> Path:
    """Store an analysis in the run's folder; other parts of an earlier one of the same name are kept.

    Returns:
        the file.

    Raises:
        OSError: it cannot be written.
        ConflictError: another process does not finish writing it.
    """
    file = run.path / ANALYSES / analysis.name
    busy = f"{file}: another process does not finish writing it: wait until it ends"
    with exclusive(file.with_name(f".{file.name}.lock"), busy, seconds=PATIENCE, remove=True):
        for before in read_analyses(run):
            if before.name == analysis.name:
                merged = [
                    new.model_copy(update={name: old for name, old in earlier if getattr(new, name) is None})
                    for earlier, new in zip(before.seeds, analysis.seeds, strict=True)
                ]
                analysis = analysis.model_copy(update={"seeds": merged})
        write_json(file, analysis.model_dump(mode="json", exclude_none=True))
    return file


def read_analyses(run: Run) -> list[Analysis]:
    """All analyses in the run's folder, those of earlier versions too: the latest checkpoint first, then the
    default settings first.

    Raises:
        DamagedDataError: a file is damaged.
    """
    earlier = run.path / EARLIER
    files = [*([earlier] if earlier.is_file() else []), *sorted((run.path / ANALYSES).glob("*.json"))]
    named = {analysis.name: analysis for analysis in (_read(file, run) for file in files)}
    usual = DEFAULT_ANALYSIS
    return sorted(named.values(), key=lambda one: (-one.step, one.settings != usual, one.name))


def read_analysis(run: Run, settings: AnalysisSettings | None = None) -> Analysis | None:
    """The first of :func:`read_analyses`, with these settings if any are given; ``None`` if there is none."""
    return next((one for one in read_analyses(run) if settings in (None, one.settings)), None)


def find_analysis(
    run: Run, checkpoint: str, settings: AnalysisSettings, store_sha256: str
) -> Analysis | None:
    """The analysis of a checkpoint with these settings and data, or ``None`` if there is none."""
    for analysis in read_analyses(run):
        if (analysis.checkpoint, analysis.settings, analysis.store_sha256) == (
            checkpoint,
            settings,
            store_sha256,
        ):
            return analysis
    return None


def _read(file: Path, run: Run) -> Analysis:
    try:
        document = parse_json(read_bounded(file), str(file))
    except ClwmError as error:
        raise DamagedDataError(f"{error}: {REMEDY}") from error
    try:
        analysis = Analysis.model_validate(_upgraded(document) if file.name == EARLIER else document)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = first_mistake(error) if isinstance(error, ValidationError) else "is not an analysis"
        raise DamagedDataError(f"{file}: {what}: {REMEDY}") from error
    if analysis.checkpoint == BEST:  # as it was stored before
        analysis = analysis.model_copy(update={"checkpoint": checkpoint_name(analysis.step)})
    if len(analysis.seeds) != len(run.record.seeds):
        raise DamagedDataError(
            f"{file}: holds results of {plural(len(analysis.seeds), 'seed')}, the run has "
            f"{len(run.record.seeds)}: {REMEDY}"
        )
    check_result_name(file, analysis.name, REMEDY)
    return analysis


def _upgraded(document: Any) -> dict[str, Any]:
    """Convert an ``EARLIER`` document, whose settings were beside the results."""
    outside = {"checkpoint", "store_sha256", "seeds"}
    return {
        **{key: document[key] for key in outside},
        "step": int(document["checkpoint"].removeprefix("step-")),
        "settings": {key: value for key, value in document.items() if key not in outside},
    }
