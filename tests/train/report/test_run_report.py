from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from clwm_cli.main import main

from clwm_data.errors import ClwmError, InvalidInputError
from clwm_data.families import get_family
from clwm_train.analysis.results import read_analyses
from clwm_train.evaluation.results import read_evaluations, save_evaluation
from clwm_train.metrics.aggregate import Interval, aggregate, iqm, mean
from clwm_train.report.choosing import choose_evaluations
from clwm_train.report.datasets import datasets_figure
from clwm_train.report.page import find_runs, write_run_report
from clwm_train.report.scores import Score, compare, gather_scores, results_csv, results_table
from clwm_train.report.scores import shown as interval_text
from clwm_train.runs.run import Run, open_run
from tests.train.invented_runs import invent_run

SIMNORM = ("world_model.latent=simnorm", "world_model.consistency=mse")
FIGURES = {
    "formulations",
    "aggregates",
    "profiles",
    "improvement",
    "datasets",
    "open-loop",
    "disentanglement",
    "probe",
    "representation",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods on two families; the third method lacks one of them, the second splits its seeds."""
    folder = tmp_path_factory.mktemp("invented") / "study"
    invent_run(folder, "cheetah-vel", "spc", 0.95, created="2026-01-01T00:00:01Z")
    invent_run(folder, "point-robot", "spc", 0.9, created="2026-01-01T00:00:02Z")
    for seed in (0, 1):
        invent_run(
            folder,
            "cheetah-vel",
            "<b>sim",
            0.8,
            overrides=SIMNORM,
            seeds=[seed],
            created="2026-01-01T00:00:03Z",
        )
    invent_run(folder, "point-robot", "<b>sim", 0.8, overrides=SIMNORM, created="2026-01-01T00:00:04Z")
    invent_run(folder, "cheetah-vel", "focal", 0.6, method="focal", created="2026-01-01T00:00:05Z")
    return folder


def scores_of(runs: Sequence[Run]) -> list[Score]:
    return gather_scores(choose_evaluations(runs).evaluations)


def test_scores_are_the_evaluations(runs: Path) -> None:
    scores = scores_of(find_runs([runs]))
    assert len(scores) == (2 + 2 + 1) * 2 * 3  # methods on datasets, protocols, splits
    chosen = [s for s in scores if (s.method, s.dataset, s.protocol) == ("<b>sim", "cheetah-vel", "few-shot")]
    score = next(s for s in chosen if s.split == "id")
    assert score.seeds == (0, 1)
    family = get_family("cheetah-vel")
    for row, seed in enumerate(score.seeds):
        (evaluation,) = read_evaluations(open_run(runs / f"cheetah-vel-<b>sim-s{seed}"))
        tasks = evaluation.results[0]["few-shot"]["id"].tasks
        assert score.tasks == tuple(map(int, tasks)) == family.split("id")
        assert score.returns[row].tolist() == list(tasks.values())
        random, expert = family.reference_returns(score.tasks[0])
        assert score.normalised is not None
        expected = (tasks[str(score.tasks[0])] - random) / (expert - random)
        assert score.normalised[row, 0] == pytest.approx(expected)
    table = results_table([score])[0]
    found = aggregate(score.normalised, iqm)
    assert table[5] == f"{found.point:.3f} [{found.low:.3f}, {found.high:.3f}]"
    numbers = results_csv([score])[0]
    assert numbers[4] == aggregate(score.returns, mean).point
    assert numbers[7:10] == (found.point, found.low, found.high)
    assert numbers[10:13] == (None, None, None)


def test_negative_numbers_have_a_minus_sign() -> None:
    assert interval_text(Interval(-1234.56, -2000.0, -0.04), 1) == "\u22121,234.6 [\u22122,000.0, 0.0]"
    assert interval_text(Interval(-0.5, None, None), 2) == "\u22120.50"
    assert interval_text(None, 1) == "-"


def test_methods_are_compared_on_common_datasets_and_seeds(runs: Path) -> None:
    scores = scores_of(find_runs([runs]))
    part = ("few-shot", "id")
    all_three = compare(scores, ["spc", "<b>sim", "focal"], [part])
    assert all_three.datasets == ("cheetah-vel",)
    assert {name: np.shape(pooled.scores) for name, pooled in all_three.parts[part].items()} == {
        "spc": (3, 10),
        "<b>sim": (2, 10),
        "focal": (3, 10),
    }
    two = compare(scores, ["spc", "<b>sim"], [part])
    assert set(two.datasets) == {"cheetah-vel", "point-robot"}
    assert {name: np.shape(pooled.scores) for name, pooled in two.parts[part].items()} == {
        "spc": (3, 20),
        "<b>sim": (2, 20),
    }
    one_seed = next(
        s for s in scores if (s.method, s.dataset, s.protocol, s.split) == ("<b>sim", "cheetah-vel", *part)
    )
    assert one_seed.normalised is not None
    pooled = two.parts[part]["<b>sim"]
    np.testing.assert_array_equal(np.asarray(pooled.scores)[:, :10], one_seed.normalised)
    assert list(pooled.groups) == [0] * 10 + [1] * 10  # the agents of each dataset are drawn whole


def test_a_method_without_a_common_seed_is_told(tmp_path: Path) -> None:
    """As the oldest one it took the probabilities of improvement with it, without a word."""
    for family, seed in (("point-robot", 5), ("cheetah-vel", 0)):
        invent_run(tmp_path, family, "a", 0.5, seeds=[seed])
        for label in ("b", "c"):
            invent_run(tmp_path, family, label, 0.9, seeds=[0, 1], created="2026-02-01T00:00:00Z")
    page, *_ = write_run_report(find_runs([tmp_path]), tmp_path / "x.html")
    told = "Left out, since no seed of theirs is on all of these: a."
    assert page.read_text().count(told) == 3
    with (tmp_path / "x_files/improvement.csv").open() as stream:
        assert {(row["method"], row["over"]) for row in csv.DictReader(stream)} == {("b", "c")}


@pytest.fixture(scope="module")
def written(runs: Path) -> list[Path]:
    """The report of all runs."""
    return write_run_report(find_runs([runs]), runs.parent / "out" / "study.html")


def test_the_page_and_what_is_beside_it(written: list[Path]) -> None:
    assert {path.relative_to(written[0].parent).as_posix() for path in written} == {
        "study.html",
        "study_files/results.csv",
        *(f"study_files/{name}.{kind}" for name in FIGURES for kind in ("svg", "csv")),
    }
    page = written[0].read_text()
    assert page.count('<div class="panels"') == len(FIGURES)
    names = re.findall(r'<clipPath id="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert "<b>sim" not in page
    assert "&lt;b&gt;sim" in page
    assert (
        "codes of noise score: disentanglement 0.00, completeness 0.00, informativeness -0.10, "
        "modularity 0.94" in page
    )
    assert "Every result below: protocols few-shot, zero-shot; splits train, id, ood; episodes 3;" in page
    assert not re.search(r'src="(?!data:)|<script|https?://(?!www\.w3\.org)', page)
    for path in written:
        if path.suffix == ".svg":
            text = path.read_text()
            assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
            assert "var(" not in text


def test_the_numbers_in_the_figures(runs: Path, written: list[Path]) -> None:
    found = find_runs([runs])
    part = ("few-shot", "id")
    methods = ["spc", "<b>sim", "focal"]
    pooled = compare(scores_of(found), methods, [part]).parts[part]
    compared = {method: np.asarray(scores.scores) for method, scores in pooled.items()}

    def rows(name: str) -> list[dict[str, str]]:
        with (written[0].parent / "study_files" / f"{name}.csv").open() as stream:
            return list(csv.DictReader(stream))

    row = next(
        r
        for r in rows("aggregates")
        if (r["protocol"], r["split"], r["method"], r["aggregate"]) == (*part, "spc", "iqm")
    )
    assert float(row["point"]) == pytest.approx(float(iqm(compared["spc"])))
    row = next(
        r for r in rows("formulations") if (r["protocol"], r["split"], r["method"]) == (*part, "<b>sim")
    )
    assert row["formulation"] == "simnorm, mse"
    assert float(row["iqm"]) == pytest.approx(float(iqm(compared["<b>sim"])))
    score = next(
        s for s in scores_of(found) if (s.dataset, s.method) == ("point-robot", "<b>sim") and s.split == "ood"
    )
    row = next(
        r
        for r in rows("datasets")
        if (r["dataset"], r["method"], r["protocol"], r["split"])
        == ("point-robot", "<b>sim", score.protocol, "ood")
    )
    assert score.normalised is not None
    assert (row["scale"], float(row["point"])) == ("normalised", pytest.approx(float(iqm(score.normalised))))
    assert {(r["dataset"], r["method"]) for r in rows("datasets")} == {
        (run.record.store_name, run.label) for run in found
    }
    assert {row["over"] for row in rows("improvement")} == {"<b>sim", "focal"}
    lines = [
        json.loads(line)
        for line in (runs / "cheetah-vel-focal-s0-1-2" / "metrics.jsonl").read_text().splitlines()
    ]
    values = [line["context_encoder/feature_rank"] for line in lines if line["step"] == 40_000]
    row = next(
        r
        for r in rows("representation")
        if (r["dataset"], r["method"], r["metric"], r["step"])
        == ("cheetah-vel", "focal", "feature_rank", "40000")
    )
    assert float(row["mean"]) == pytest.approx(np.mean(values))
    assert float(row["low"]) == min(values)
    assert {row["method"] for row in rows("open-loop")} == {"spc", "<b>sim"}


def test_returns_are_drawn_where_the_expert_is_not_known() -> None:
    returns = np.array([[1.0, 2.0], [3.0, 6.0]])

    def score(method: str, normalised: np.ndarray | None) -> Score:
        part = ("mw", "mw-push", "few-shot", "id", (40, 41), (0, 1))
        return Score(
            method,
            *part,
            returns=returns,
            normalised=normalised,
            success=None,
            update=9,
            transitions=90,
            processor_seconds=None,
        )

    found = datasets_figure([score("b", None), score("a", None)], ["a", "b"])
    assert found is not None
    assert [row[:6] for row in found.rows] == [("mw", "few-shot", "id", m, "return", 3.0) for m in "ab"]
    # The aggregates show one dataset with normalised returns already.
    assert datasets_figure([score("a", returns / 6.0)], ["a"]) is None


def test_runs_without_results_have_a_page_too(runs: Path, tmp_path: Path) -> None:
    run = find_runs([runs / "cheetah-vel-focal-s0-1-2"])[0]
    bare = invent_run(tmp_path, "point-robot", "bare", 0.5)
    for name in ("evaluations", "analyses"):
        shutil.rmtree(bare.path / name)
    (bare.path / "metrics.jsonl").unlink()
    written = write_run_report([bare], tmp_path / "bare.html")
    assert [path.name for path in written] == ["bare.html"]
    assert "None of these runs was evaluated yet" in written[0].read_text()
    single = write_run_report([run], tmp_path / "single.html")
    again = write_run_report([run], tmp_path / "again" / "single.html")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in single]
    assert {path.name for path in single} >= {"aggregates.svg", "probe.svg"}
    assert "improvement.svg" not in {path.name for path in single}
    assert not (tmp_path / "bare_files").exists()


def test_command_and_mistakes(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main(["report", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    spc = runs / "point-robot-spc-s0-1-2"
    code, out, err = call(spc)
    assert code == 0, err
    assert out.splitlines()[0] == f"{spc.name}.html"
    for arguments, message in (
        ((spc, tmp_path), "is not a run and holds none"),
        (("nothing",), "no store 'nothing'"),
        (("nothing", "neither"), "name one store at a time"),
    ):
        code, _, err = call(*arguments)
        assert code == 1
        assert message in err
    twice = invent_run(tmp_path / "other", "point-robot", "spc", 0.5)
    with pytest.raises(ClwmError, match="both hold seed 0 of spc on point-robot: leave one out"):
        write_run_report([*find_runs([spc]), twice], tmp_path / "x.html")


def test_evaluations_are_chosen_by_their_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    (published,) = read_evaluations(run)
    noisy = published.model_copy(update={"settings": published.settings.model_copy(update={"noise": 0.3})})
    save_evaluation(run, noisy)

    def call(*options: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            main(["report", str(run.path), "--out", "x.html", *options])
        return int(stopped.value.code or 0), capsys.readouterr().err

    for options, shown, others in (
        ((), "noise 0", True),
        (("--evaluation", "noise=0.3"), "noise 0.3", False),
    ):
        code, err = call(*options)
        assert code == 0, err
        assert f"; {shown}; planner none." in (tmp_path / "x.html").read_text()
        assert ("not shown: evaluations with other settings (" in err) == others
    code, err = call("--evaluation", "episodes=9")
    assert code == 1
    assert "no run was evaluated with episodes 9: `clwm eval` does it" in err
    code, err = call("--evaluation", "nois=0.3")
    assert code == 1
    assert "unknown key nois: did you mean noise?" in err


def test_a_page_replaces_no_file_of_another_kind(tmp_path: Path) -> None:
    """``--out study.yaml`` replaced the experiment, ``--out RUN/run.yaml`` the record of the run."""
    run = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    before = (run.path / "run.yaml").read_bytes()
    with pytest.raises(InvalidInputError, match=r"is not the name of a page: let it end in \.html"):
        write_run_report([run], run.path / "run.yaml")
    assert (run.path / "run.yaml").read_bytes() == before
    assert not (run.path / "run_files").exists()


def test_the_probe_stands_in_the_table_of_results(tmp_path: Path) -> None:
    """Of the split that a row is about, and only of the update that was evaluated."""
    run = invent_run(tmp_path, "cheetah-vel", "spc", 0.9)
    (analysis,) = read_analyses(run)
    probes = [seed.probe for seed in analysis.seeds]
    scores = {(score.protocol, score.split): score for score in scores_of([run])}
    for split in ("id", "ood"):
        expected = np.mean([np.mean(list(probe[split].values())) for probe in probes if probe])
        assert scores["few-shot", split].probe == pytest.approx(expected)
    assert scores["few-shot", "train"].probe is None
    (kept,) = read_evaluations(run)
    assert gather_scores([(run, kept.model_copy(update={"step": kept.step - 1}))])[0].probe is None
    assert results_csv([scores["few-shot", "id"]])[0][-1] == scores["few-shot", "id"].probe
