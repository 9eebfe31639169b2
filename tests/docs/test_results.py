"""The pages of results are what `make results` makes of results/, and say what is missing or outdated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import yaml

from clwm_data.families import get_family
from clwm_train.metrics.aggregate import aggregate, iqm
from clwm_train.report.scores import same_agents, shown
from clwm_train.runs.run import CONFIG, Run, open_run
from clwm_train.sweep import Experiment, Job, list_jobs, read_experiment
from clwm_train.sweep.experiment import MethodEntry
from docs.generate.results import record
from docs.generate.results.cells import Cell, Measured, borrow, measure
from docs.generate.results.claims import CONFIRMED, claims
from docs.generate.results.page import (
    FIGURE_TITLES,
    FIGURES,
    MARK,
    PAGES,
    SINGLE,
    blocks,
    fill,
    make,
    read_all,
)
from docs.generate.results.record import RESULT, add_run
from tests.conftest import ROOT
from tests.train.invented_runs import invent_run

DATASETS = ("ant-dir-small", "cheetah-ls-small")
#: Nothing was measured of the experiments with one table.
SINGLES = {
    name: measure(read_experiment(ROOT / f"experiments/{name}.yaml"), ROOT / "nothing") for name in SINGLE
}
LEVELS = {"spc": 0.95, "focal-ln": 0.6, "oracle": 0.99, "no-context": 0.1}


def experiment(name: str, methods: tuple[str, ...]) -> Experiment:
    """An experiment of the repository with two of its datasets and some of its methods."""
    whole = read_experiment(ROOT / f"experiments/{name}.yaml")
    chosen = {method: whole.methods[method] for method in methods}
    return whole.model_copy(update={"stores": list(DATASETS), "methods": chosen})


def invent_job(job: Job, folder: Path, level: float) -> Run:
    """The run of a job, with invented results."""
    return invent_run(
        folder,
        job.store.stem.removesuffix("-small"),
        job.label,
        level,
        method=job.method,
        seeds=job.seeds,
        overrides=job.overrides,
        store=job.store.stem,
        settings=job.evaluations,
    )


def invent(described: Experiment, folder: Path, levels: dict[str, float]) -> list[Run]:
    """The runs of an experiment, with invented results."""
    runs = []
    for job in list_jobs(described, {name: Path(f"{name}.zarr") for name in described.stores}, folder):
        if job.label in levels:
            run = invent_job(job, folder, levels[job.label])
            assert run.path == job.run
            runs.append(run)
    return runs


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """All but no-context on ant-dir, which is missing; oracle there is outdated."""
    folder = tmp_path_factory.mktemp("results")
    described = experiment("benchmark", tuple(LEVELS))
    for run in invent(described, folder / "runs", LEVELS):
        if (run.record.store_name, run.label) == ("ant-dir-small", "no-context"):
            continue
        assert add_run(run, folder / "benchmark", "abc1234") is not None
    stale = folder / "benchmark" / "ant-dir-small-oracle-s0-1-2"
    config = yaml.safe_load((stale / CONFIG).read_text())
    config["iql"]["expectile"] = 0.55
    (stale / CONFIG).write_text(yaml.safe_dump(config))
    return measure(described, folder / "benchmark")


@pytest.fixture(scope="module")
def formulations(tmp_path_factory: pytest.TempPathFactory, benchmark: Measured) -> Measured:
    """Two formulations; SPC's are the benchmark's."""
    folder = tmp_path_factory.mktemp("results")
    described = experiment("formulations", ("spc-simnorm-mse", "spc-discrete-mse", "spc"))
    for run in invent(described, folder / "runs", {"spc-simnorm-mse": 0.7, "spc-discrete-mse": 0.75}):
        add_run(run, folder / "formulations", "abc1234")
    return borrow(measure(described, folder / "formulations"), "spc", benchmark)


def cells(markdown: str) -> list[dict[str, str]]:
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()
    )
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_a_copied_run_says_the_same_in_a_few_kilobytes(benchmark: Measured) -> None:
    (run,) = benchmark.runs["cheetah-ls-small", "spc"]
    original = open_run(run.path.parent.parent / "runs" / run.path.name)
    assert run.config == original.config
    assert sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file()) < 60_000
    assert not list(run.path.glob("checkpoints"))
    text = (run.path / "run.yaml").read_text()
    assert "/nowhere" not in text
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    last = [json.loads(line) for line in (original.path / "metrics.jsonl").read_text().splitlines()][-1]
    assert rows[-1] == {
        key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in last.items()
    }
    assert len({row["step"] for row in rows}) <= 2 * record.UPDATES
    result = yaml.safe_load((run.path / RESULT).read_text())
    assert (result["numbers"], result["revision"]) == (record.NUMBERS, "abc1234")


def test_the_tables_hold_the_returns(benchmark: Measured, formulations: Measured) -> None:
    made = blocks(benchmark, formulations, SINGLES)
    rows = {row["dataset"]: row for row in cells(made["few-shot"]())}
    family = get_family("cheetah-ls")
    (run,) = benchmark.runs["cheetah-ls-small", "focal-ln"]
    evaluation = json.loads(next((run.path / "evaluations").glob("*.json")).read_text())
    scores = np.asarray(
        [
            [
                family.normalised_return(int(task), np.asarray(value))
                for task, value in seed["few-shot"]["id"]["tasks"].items()
            ]
            for seed in evaluation["results"]
        ]
    )
    assert scores.shape == (6, 10)
    interval = aggregate(same_agents(scores), iqm, replicates=2_000)
    assert rows["cheetah-ls-small"]["focal-ln"] == shown(interval, 2)
    assert rows["ant-dir-small"]["no-context"] == "–"
    assert rows["ant-dir-small"]["oracle"].endswith(" †")
    assert float(rows["**all 1**"]["spc"].split()[0]) > float(rows["**all 1**"]["focal-ln"].split()[0])
    by_model = cells(made["by-model"]())
    assert {(row["dataset"], row["method"], row["split"]) for row in by_model} == {
        (dataset, "spc", split) for dataset in DATASETS for split in ("id", "ood")
    }
    score = benchmark.inferred["model"][Cell("ant-dir-small", "spc", "zero-shot", "id")]
    assert score.normalised is not None
    row = next(row for row in by_model if (row["dataset"], row["split"]) == ("ant-dir-small", "id"))
    assert row["zero-shot, `--inference model`"] == shown(
        aggregate(same_agents(score.normalised), iqm, replicates=2_000), 2
    )
    shapes = {
        row["method"]: (row["latent space"], row["consistency loss"]) for row in cells(made["formulations"]())
    }
    assert shapes == {
        "spc-simnorm-mse": ("simnorm", "mse"),
        "spc-discrete-mse": ("discrete", "mse"),
        "spc": ("discrete", "cross-entropy"),
    }
    compared = {row["dataset"]: row for row in cells(made["formulations-few-shot"]())}
    assert compared["ant-dir-small"]["spc"] == rows["ant-dir-small"]["spc"]
    assert "–" not in compared["ant-dir-small"].values()
    each = {(row["dataset"], row["method"]): row for row in cells(made["each-dataset"]())}
    assert ("ant-dir-small", "no-context") not in each
    assert each["cheetah-ls-small", "focal-ln"]["few-shot id"] == rows["cheetah-ls-small"]["focal-ln"]
    assert each["ant-dir-small", "oracle †"]["few-shot id"] == rows["ant-dir-small"]["oracle"].removesuffix(
        " †"
    )
    assert {row["dataset"] for row in cells(made["disentanglement"]())} == {"cheetah-ls-small"}
    budgets = {row["method"]: row for row in cells(made["budgets"]())}
    assert budgets["spc"]["transitions per update"] == budgets["focal-ln"]["transitions per update"] == "640"
    assert (budgets["spc"]["seeds"], budgets["oracle †"]["seeds"]) == ("6", "3")
    for name in made:
        assert "nan" not in made[name]().lower().split(), name


def test_the_planner_stands_beside_the_policy(tmp_path: Path) -> None:
    described = read_experiment(ROOT / "experiments/tdmpc2.yaml")
    jobs = list_jobs(described, {name: Path(f"{name}.zarr") for name in described.stores}, tmp_path / "runs")
    (job,) = (job for job in jobs if (job.store.stem, job.label) == ("hopper-mass-small", "tdmpc2"))
    add_run(invent_job(job, tmp_path / "runs", 0.4), tmp_path / "results", "abc1234")
    measured = measure(described, tmp_path / "results")
    table, _ = blocks(measured, measured, {**SINGLES, "tdmpc2": measured})["tdmpc2"]().split("\n\n")
    assert [(row["dataset"], row["method"], row["split"]) for row in cells(table)] == [
        ("hopper-mass-small", "tdmpc2", split) for split in ("id", "ood")
    ]
    for row in cells(table):
        cell = Cell("hopper-mass-small", "tdmpc2", "few-shot", row["split"])
        for column, score in (
            ("few-shot", measured.scores[cell]),
            ("few-shot, `--planner mppi`", measured.planned[cell]),
            ("zero-shot", measured.scores[cell._replace(protocol="zero-shot")]),
        ):
            assert row[column] == shown(aggregate(same_agents(score.normalised), iqm, replicates=2_000), 2)
        assert row["few-shot"] != row["few-shot, `--planner mppi`"]
    assert measured.inferred == {}


def test_the_table_of_policies_and_one_with_successes(tmp_path: Path) -> None:
    described = {name: read_experiment(ROOT / f"experiments/{name}.yaml") for name in SINGLE}
    for name, method, data in (("policies", "spc-mixture-1", "hopper-mass"), ("ml10", "oracle", "ml10")):
        stores = {store: Path(f"{store}.zarr") for store in described[name].stores}
        jobs = list_jobs(described[name], stores, tmp_path / name)
        (job,) = (job for job in jobs if (job.store.stem, job.label) == (f"{data}-small", method))
        run = invent_job(job, tmp_path / name, 0.8)
        if name == "ml10":  # half of the first four tasks' episodes, and none of the others', were solved
            (file,) = (run.path / "evaluations").glob("*.json")
            evaluation = json.loads(file.read_text())
            result = evaluation["results"][0]["few-shot"]["id"]
            result["task_success"] = {
                task: 0.5 * (place < 4) for place, task in enumerate(list(result["tasks"]))
            }
            result["success"] = fmean(result["task_success"].values())
            file.write_text(json.dumps(evaluation))
        add_run(run, tmp_path / "results" / name, "abc1234")
    measured = {name: measure(one, tmp_path / "results" / name) for name, one in described.items()}
    made = blocks(measured["policies"], measured["policies"], measured)
    table, said = made["policies"]().split("\n\n")
    (row,) = cells(table)
    assert row["method"] == "spc-mixture-1"
    assert 0.7 < float(row["hopper-mass-small id"].split()[0]) < 0.9
    assert not any("ant-dir-small" in column for column in row)  # nothing was measured there
    assert said.startswith(
        "`clwm sweep experiments/policies.yaml`, revision abc1234. "
        "Not measured: cheetah-vel-small, ant-dir-small, spc-gaussian-10, "
    )
    assert "spc-mixture-1," not in said
    (row,) = cells(made["ml10"]().split("\n\n")[0])
    assert row["few-shot id: success"] == "0.02"  # four halves in a hundred tasks
    assert row.keys() == {"dataset", "method", "few-shot id", "few-shot ood", "few-shot id: success"}
    assert made["observations"]().startswith("*Not measured yet.*")


def test_spc_with_another_policy_is_no_baseline_of_the_claims(benchmark: Measured) -> None:
    methods = {**benchmark.experiment.methods, "spc-mixture": MethodEntry(method="spc")}
    more = replace(
        benchmark,
        experiment=benchmark.experiment.model_copy(update={"methods": methods}),
        methods=tuple(methods),
    )
    assert claims(more, benchmark).rows[0][1] == claims(benchmark, benchmark).rows[0][1]
    assert "focal-ln" in claims(more, benchmark).rows[0][1]


def test_what_is_missing_or_outdated_is_said(benchmark: Measured, formulations: Measured) -> None:
    said = blocks(benchmark, formulations, SINGLES)["coverage"]()
    assert "`benchmark`: 7 of 8 cells" in said
    assert "abc1234" in said
    assert "missing on ant-dir-small: no-context." in said
    assert "its files were changed by hand" in said
    assert "oracle on ant-dir-small" in said
    assert "`formulations`: 6 of 6 cells" in said
    nothing = measure(experiment("formulations", ("spc",)), ROOT / "nothing")
    assert set(borrow(nothing, "spc", benchmark, DATASETS[:1]).runs) == {(DATASETS[0], "spc")}


def test_results_of_other_numbers_or_configurations_are_outdated(
    benchmark: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docs.generate.results import cells as module

    folder = next(iter(benchmark.runs.values()))[0].path.parent
    monkeypatch.setattr(module, "NUMBERS", record.NUMBERS + 1)
    bumped = measure(benchmark.experiment, folder)
    assert set(bumped.outdated) == set(bumped.runs)
    assert f"made by numbers {record.NUMBERS}, now {record.NUMBERS + 1}" in bumped.outdated.values()
    monkeypatch.undo()
    changed = benchmark.experiment.model_copy(
        update={"set": {**benchmark.experiment.set, "batch.horizon": 4}}
    )
    again = measure(changed, folder)
    assert again.outdated["cheetah-ls-small", "spc"] == "the experiment now says another configuration"


def test_a_key_that_is_spelled_out_is_not_another_configuration(tmp_path: Path) -> None:
    """``auto`` and what it stands for train the same, so the results stay those of the experiment."""
    whole = experiment("benchmark", ("spc",))
    spellings: list[dict[str, Any]] = [
        {"policy.head": "auto", "features": "auto"},
        {"policy.head": "gaussian", "features": "codes"},
    ]
    for before, now in (spellings, spellings[::-1]):
        described, same, other = (
            whole.model_copy(update={"set": {**whole.set, **keys}})
            for keys in (before, now, {**now, "features": "observation"})
        )
        folder = tmp_path / str(before["features"])
        for run in invent(described, folder / "runs", LEVELS):
            add_run(run, folder / "results", "abc1234")
        assert not measure(same, folder / "results").outdated
        assert len(measure(other, folder / "results").outdated) == len(DATASETS)


def test_what_is_made_of_outdated_runs_is_marked(benchmark: Measured, formulations: Measured) -> None:
    """Pooled numbers, too, and only those."""
    key = ("cheetah-ls-small", "focal-ln")
    stale = replace(benchmark, outdated={**benchmark.outdated, key: "a reason"})
    worse = replace(formulations, outdated={("ant-dir-small", "spc-simnorm-mse"): "a reason"})
    made = blocks(stale, worse, SINGLES)
    total = cells(made["few-shot"]())[-1]
    assert [name for name, cell in total.items() if cell.endswith(" †")] == ["focal-ln"]
    for row in cells(made["protocols"]()):
        marked = {cell.endswith(" †") for name, cell in row.items() if name != "method"}
        assert marked == {row["method"] == "focal-ln"}
    for row in cells(made["improvement"]()):
        assert row["few-shot id"].endswith(" †") == (row["P(spc better)"] == "over focal-ln")
    named = {name: {row["method"] for row in cells(made[name]())} for name in ("representation", "budgets")}
    for methods in named.values():
        assert {method for method in methods if method.endswith(" †")} == {"focal-ln †", "oracle †"}
    assert [row["method"].endswith(" †") for row in cells(made["formulations"]())] == [True, False, False]
    verdicts = [row["here"].endswith(" †") for row in cells(made["claims"]())]
    assert verdicts == [True] * len(verdicts)
    assert not any("†" in row["here"] for row in cells(blocks(benchmark, formulations, SINGLES)["claims"]()))


def test_processor_times_are_those_of_trainings_on_a_cpu(tmp_path: Path) -> None:
    """The host of a GPU, and an unknown device, are left out: 360 s of three seeds are 2 min each."""
    described = experiment("benchmark", ("oracle", "no-context"))
    torches = {"oracle": ("2.13.0+cpu", "2.11.0"), "no-context": ("2.11.0+cu130", "2.11.0")}
    for run in invent(described, tmp_path / "runs", LEVELS):
        first = run.record.store_name == DATASETS[0]
        rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
        spent = {"seconds": 500.0, "processor_seconds": 360.0 if first else 6.0}
        (run.path / "metrics.jsonl").write_text("".join(f"{json.dumps({**row, **spent})}\n" for row in rows))
        record_file = run.path / "run.yaml"
        document = yaml.safe_load(record_file.read_text())
        document["packages"] = {"torch": torches[run.label][not first]}
        record_file.write_text(yaml.safe_dump(document))
        add_run(open_run(run.path), tmp_path / "results", "abc1234")
    measured = measure(described, tmp_path / "results")
    rows = {row["method"]: row for row in cells(blocks(measured, measured, SINGLES)["budgets"]())}
    column = "processor time per seed on a CPU, min (datasets)"
    assert (rows["oracle"][column], rows["no-context"][column]) == ("2.0 (1)", "–")
    assert rows["oracle"]["datasets"] == "2"


def test_a_block_and_its_introduction_are_there_only_with_results(
    benchmark: Measured, formulations: Measured
) -> None:
    page = "<!-- results: budgets -->\nold\n<!-- end -->\n"
    whole = blocks(benchmark, formulations, SINGLES)
    nothing = blocks(SINGLES["ml10"], SINGLES["ml10"], SINGLES)
    assert "**Budgets**:\n\n| " in fill(page, whole)
    assert fill(page, nothing) == "<!-- results: budgets -->\n<!-- end -->\n"
    assert fill(fill(page, nothing), whole) == fill(page, whole)


def test_missing_seeds_are_said(benchmark: Measured) -> None:
    folder = next(iter(benchmark.runs.values()))[0].path.parent
    more = dict(benchmark.experiment.methods)
    more["oracle"] = more["spc"].model_copy(update={"seeds": [0, 1, 2, 7], "evaluations": ()})  # type: ignore[union-attr]
    measured = measure(benchmark.experiment.model_copy(update={"methods": more}), folder)
    assert measured.missing["cheetah-ls-small", "oracle"] == (7,)
    assert (
        "missing on cheetah-ls-small, seeds 7: oracle." in blocks(measured, measured, SINGLES)["coverage"]()
    )


def test_a_run_that_was_not_evaluated_is_left_out(tmp_path: Path) -> None:
    run = invent_run(tmp_path / "runs", "point-robot", "spc", 0.9, seeds=(0,), settings=())
    assert add_run(run, tmp_path / "results", "abc") is None
    assert not (tmp_path / "results").exists()


def test_claims_follow_the_numbers(benchmark: Measured, formulations: Measured) -> None:
    rows: list[dict[str, Any]] = cells(blocks(benchmark, formulations, SINGLES)["claims"]())
    few, losses = rows[0], rows[1]
    assert few["here"] == losses["here"] == f"**{CONFIRMED}**"
    assert "no-context" not in few["P(SPC better) over each"]
    assert few["on"] == "1 dataset"


def test_marks_that_nothing_is_made_for_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing is called cover: there are coverage"):
        fill("<!-- results: cover -->\n<!-- end -->", {"coverage": lambda: "x"})


@pytest.mark.slow
def test_the_committed_pages_are_what_make_results_makes() -> None:
    docs = ROOT / "docs"
    measured = read_all()
    made = make(docs, *measured)
    for path, text in made.items():
        assert (docs / path).read_text(encoding="utf-8") == text, f"docs/{path}: run `make results`"
    kept = {FIGURES / f"{name}.svg" for name in FIGURE_TITLES if (docs / FIGURES / f"{name}.svg").exists()}
    assert kept == set(made) & {FIGURES / f"{name}.svg" for name in FIGURE_TITLES}
    marks = [match[2] for page in PAGES for match in MARK.finditer((docs / page).read_text(encoding="utf-8"))]
    assert sorted(marks) == sorted(blocks(*measured))
