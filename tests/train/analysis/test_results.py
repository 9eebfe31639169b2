"""Analyses of earlier versions of clwm, which kept one per run."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clwm_data.errors import DamagedDataError
from clwm_train.analysis.findings import OffPolicy, OpenLoop, SeedAnalysis
from clwm_train.analysis.results import Analysis, find_analysis, read_analyses, read_analysis, save_analysis
from clwm_train.runs.run import Run
from clwm_train.settings import AnalysisSettings
from tests.train.invented_runs import invent_run

SHA256 = "a" * 64

#: As clwm wrote it before evaluations and analyses were kept side by side.
EARLIER: dict[str, Any] = {
    "checkpoint": "step-000000008",
    "contexts": 16,
    "context_size": 32,
    "horizon": 5,
    "seed": 3,
    "store_sha256": SHA256,
    "seeds": [
        {"probe": {"id": {"angle": 0.75}}, "open_loop": {"id": {"code": [0.1, 0.2], "reward": [0.3, 0.4]}}}
    ],
}
SETTINGS = AnalysisSettings(contexts=16, context_size=32, horizon=5, seed=3)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = invent_run(tmp_path / "run", "point-robot", "SPC", 0.8, seeds=[0])
    shutil.rmtree(run.path / "analyses")
    return run


def test_an_analysis_of_an_earlier_version_is_read(run: Run) -> None:
    (run.path / "analysis.json").write_text(json.dumps(EARLIER))
    (analysis,) = read_analyses(run)
    assert analysis == read_analysis(run) == find_analysis(run, "step-000000008", SETTINGS, SHA256)
    assert (analysis.step, analysis.settings) == (8, SETTINGS)
    assert analysis.seeds[0].probe == {"id": {"angle": 0.75}}


def test_newer_ones_come_beside_it_and_complete_it(run: Run) -> None:
    (run.path / "analysis.json").write_text(json.dumps(EARLIER))
    new = Analysis(
        checkpoint="step-000000008",
        step=8,
        store_sha256=SHA256,
        settings=SETTINGS,
        seeds=[SeedAnalysis(probe={"id": {"angle": 0.5}})],
    )
    save_analysis(run, new)
    (analysis,) = read_analyses(run)
    assert analysis.seeds[0].probe == {"id": {"angle": 0.5}}
    assert analysis.seeds[0].open_loop is not None
    save_analysis(run, new.model_copy(update={"settings": AnalysisSettings()}))
    assert [one.settings for one in read_analyses(run)] == [AnalysisSettings(), SETTINGS]
    assert json.loads((run.path / "analysis.json").read_text()) == EARLIER


def test_parts_that_are_kept_at_the_same_time_are_all_kept(run: Run) -> None:
    """As by several `clwm analyse --metrics ...` at once."""
    whole = Analysis(
        checkpoint="step-000000008", step=8, store_sha256=SHA256, settings=SETTINGS, seeds=[SeedAnalysis()]
    )
    parts: list[SeedAnalysis] = [
        SeedAnalysis(probe={"id": {"angle": 0.5}}),
        SeedAnalysis(open_loop={"id": OpenLoop(code=[0.1], reward=[0.2])}),
        SeedAnalysis(off_policy={"id": OffPolicy(action_error=0.3)}),
    ]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(lambda part: save_analysis(run, whole.model_copy(update={"seeds": [part]})), parts * 5))
    (analysis,) = read_analyses(run)
    (seed,) = analysis.seeds
    assert None not in (seed.probe, seed.open_loop, seed.off_policy)
    assert [file.name for file in (run.path / "analyses").iterdir()] == [analysis.name]


def test_one_under_the_name_of_another_is_refused(run: Run) -> None:
    seeds = [SeedAnalysis(probe={"id": {"angle": 0.5}})]
    file = save_analysis(
        run,
        Analysis(checkpoint="step-000000008", step=8, store_sha256=SHA256, settings=SETTINGS, seeds=seeds),
    )
    text = file.read_text()
    for old, new, words in (
        ('"horizon": 5', '"horizon": 6', "not those that the file is named after"),
        ('"step": 8', '"step": 9', "is not that of step 9"),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        with pytest.raises(DamagedDataError, match=f"{words}.*: delete it and run `clwm analyse` again"):
            read_analyses(run)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '"x"',
        "not JSON",
        json.dumps({**EARLIER, "checkpoint": "best"}),
        json.dumps({**EARLIER, "checkpoint": 8}),
        json.dumps({**EARLIER, "contexts": -1}),
        json.dumps({**EARLIER, "strange": 1}),
        json.dumps({**EARLIER, "seeds": EARLIER["seeds"] * 2}),
        json.dumps({**EARLIER, "seeds": []}),
    ],
)
def test_a_damaged_one_is_one_line(run: Run, text: str) -> None:
    (run.path / "analysis.json").write_text(text)
    with pytest.raises(DamagedDataError, match=r"analysis\.json: .*: delete it and run `clwm a") as caught:
        read_analyses(run)
    assert "\n" not in str(caught.value)


def test_an_analysis_is_shown_as_a_table(run: Run) -> None:
    seed = SeedAnalysis(
        probe={"id": {"angle": 0.75}},
        open_loop={"ood": OpenLoop(code=[0.125, 0.25], reward=[0.5, 1.5])},
        off_policy={"id": OffPolicy(value=2.0, action_error=0.0625)},
    )
    other = seed.model_copy(update={"probe": {"id": {"angle": -0.5}}})
    shown = repr(
        Analysis(
            checkpoint="step-000000008",
            step=8,
            store_sha256=SHA256,
            settings=SETTINGS,
            seeds=[seed, other],
        )
    )
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == "Analysis of update 8"
    assert lines[1].startswith("contexts 16; context size 32")
    assert lines[2] == "metric of seed 1 of 2 seed 2 of 2"
    assert "probe R^2 angle, id 0.750 -0.500" in lines
    assert "code error ood, after 2 steps 0.250 0.250" in lines
    assert "reward error ood, after 1 step 0.500 0.500" in lines
    assert "critics: data's actions id 2.000 2.000" in lines
    assert not [line for line in lines if "policy's actions" in line]
