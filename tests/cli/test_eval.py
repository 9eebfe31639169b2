"""``clwm eval``: what it prints, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clwm_data.collection.collector import collect
from clwm_train.evaluation.results import read_evaluations
from clwm_train.runs.run import open_run
from clwm_train.settings import EvaluationSettings
from tests.cli.conftest import Call
from tests.conftest import tiny_manifest

QUICK = ("--episodes", 1, "--context-size", 5, "--split", "id")


def test_eval_prints_a_table_and_chosen_parts(call: Call, run_path: Path) -> None:
    _, out, _ = call("eval", run_path, "--episodes", 1)
    assert out.splitlines()[1].startswith(
        "protocols few-shot, zero-shot; splits train, id, ood; episodes 1; "
    )
    assert out.splitlines()[2].split() == ["protocol", "split", "return", "normalised", "(mean)", "tasks"]
    _, out, _ = call("eval", run_path, "--protocol", "zero-shot", "--split", "ood", "--json")
    part = json.loads(out)
    assert {protocol: list(splits) for protocol, splits in part.items()} == {"zero-shot": ["ood"]}


def test_eval_with_every_option_keeps_its_settings(call: Call, run_path: Path) -> None:
    options = ["--context-size=5", "--split=id", "--prior=mean", "--prior-weight=2.5", "--noise=0.3"]
    code, out, err = call(
        "eval", run_path, *options, "--episodes=1", "--protocol=zero-shot,non-prior,online-context", "--json"
    )
    assert code == 0, err
    assert list(json.loads(out)) == ["online-context", "non-prior", "zero-shot"]
    (kept,) = read_evaluations(open_run(run_path))
    assert kept.settings == EvaluationSettings(
        protocols=("online-context", "non-prior", "zero-shot"),
        splits=("id",),
        episodes=1,
        context_size=5,
        prior="mean",
        prior_weight=2.5,
        noise=0.3,
    )


def test_what_a_planner_does_is_kept_beside_what_the_policy_does(call: Call, run_path: Path) -> None:
    policy = ("eval", run_path, "--episodes", 1, "--split", "id", "--protocol", "zero-shot")
    assert call(*policy)[0] == 0
    before = read_evaluations(open_run(run_path))
    constants = [
        f"--planner-set={text}" for text in ("samples=8", "elites=2", "policy_samples=2", "iterations=1")
    ]
    code, _, err = call(*policy, "--planner", "mppi", *constants)
    assert code == 0, err
    kept = read_evaluations(open_run(run_path))
    assert kept[0] == before[0]
    assert kept[1].settings.planner is not None
    assert kept[1].settings.planner.samples == 8
    assert kept[1].results != before[0].results


def test_a_method_without_a_world_model_does_not_plan(call: Call, store_path: Path) -> None:
    assert (
        call("train", store_path, "--out", "f", "--method", "focal", "--set", "iql.hidden=[8]", "--steps", 1)[
            0
        ]
        == 0
    )
    code, _, err = call("eval", "f", "--planner", "mppi")
    assert code == 1
    assert "the agent's method has no world model to plan with: evaluate it without --planner mppi" in err
    assert len(err.strip().splitlines()) == 1


def test_curves_over_the_context(call: Call, run_path: Path) -> None:
    options = ("--context-sizes", "5,0", "--episodes", 1, "--split", "train,id")
    code, out, err = call("eval", run_path, *options)
    assert code == 0, err
    assert out.splitlines()[0].split() == ["protocol", "split", "K=0", "K=5"]
    document = json.loads((run_path / "context-curve.json").read_text())
    assert document["seeds"] == [0]
    (curve,) = document["curves"]
    assert curve["context_sizes"] == [0, 5]
    assert list(curve["few-shot"]) == ["train", "id"]
    assert len(curve["few-shot"]["id"]["normalised_mean"]) == 2
    assert isinstance(curve["zero-shot"]["id"]["return_mean"], float)
    assert (run_path / "context-curve.svg").stat().st_size > 5000
    kept = read_evaluations(open_run(run_path))
    assert {(one.settings.protocols, one.settings.context_size) for one in kept} == {
        (("few-shot",), 0),
        (("few-shot",), 5),
        (("zero-shot",), 0),
    }
    code, out, _ = call("eval", run_path, *options, "--json")
    assert json.loads(out) == curve
    assert len([*run_path.glob("context-curve*.json")]) == 1
    code, out, _ = call("eval", run_path, *options, "--noise", "0.3")
    assert len([*run_path.glob("context-curve*.svg")]) == 2, "others of the same run stay"
    assert json.loads((run_path / "context-curve.json").read_text()) == document
    (other,) = run_path.glob("context-curve-*.json")
    assert str(other) in out
    assert json.loads(other.read_text())["made_with"]["noise"] == 0.3


def test_an_analysis_of_nothing_is_told(call: Call, run_path: Path) -> None:
    code, out, err = call("analyse", run_path, "--metrics", "disentanglement")
    assert (code, out) == (1, "")
    assert "nothing can be measured of what was asked for (disentanglement: takes tasks that combine" in err
    assert not (run_path / "analyses").exists()


def test_the_name_of_an_experiment_is_no_run(call: Call, run_path: Path, tmp_path: Path) -> None:
    shutil.copytree(run_path, tmp_path / "runs/study/one")
    code, _, err = call("eval", "study")
    assert code == 1
    assert "runs/study: is not a run, but holds some: name one, such as" in err


def test_a_run_is_found_by_its_name(call: Call, run_path: Path, tmp_path: Path) -> None:
    shutil.copytree(run_path, tmp_path / "runs/mine")
    code, out, err = call("eval", "mine", *QUICK)
    assert code == 0, err
    assert out.startswith("mine: spc on tiny, update 8\n")
    assert len(read_evaluations(open_run(tmp_path / "runs/mine"))) == 1
    code, _, err = call("analyse", "mine", "--horizon", 3)
    assert code == 0, err


def test_a_checkpoint_has_a_name_and_belongs_to_its_run(call: Call, run_path: Path, tmp_path: Path) -> None:
    for named in ("step-000000004", run_path / "checkpoints/step-000000004"):
        code, out, err = call("eval", run_path, *QUICK, "--checkpoint", named)
        assert code == 0, err
        assert ", update 4\n" in out
    assert [one.step for one in read_evaluations(open_run(run_path))] == [4]
    other = Path(shutil.copytree(run_path, tmp_path / "other"))
    for verb in ("eval", "analyse"):
        code, _, err = call(verb, run_path, "--checkpoint", other / "checkpoints/step-000000008")
        assert code == 1
        assert "step-000000008: is not a checkpoint of" in err
    assert [one.step for one in read_evaluations(open_run(run_path))] == [4]


@pytest.mark.parametrize("family", ["cheetah-vel", "mw-reach"])
def test_a_store_of_another_family_is_refused(
    call: Call, run_path: Path, store_path: Path, family: str
) -> None:
    root = store_path / "zarr.json"
    root.write_text(root.read_text().replace('"point-robot"', f'"{family}"'))
    code, _, err = call("eval", run_path, "--store", store_path, *QUICK)
    assert code == 1
    assert len(err.strip().splitlines()) == 1, err
    assert not read_evaluations(open_run(run_path))


def test_contexts_from_other_data_are_said_and_kept_apart(call: Call, run_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/tiny.zarr"
    collect(tiny_manifest(seed=5), other)
    code, _, err = call("eval", run_path, *QUICK)
    assert (code, "holds other data" in err) == (0, False)
    code, _, err = call("eval", run_path, "--store", other, *QUICK)
    assert code == 0
    assert f"{other}: holds other data (sha256 " in err
    code, _, err = call("eval", run_path, "--store", other, "--protocol", "zero-shot", *QUICK)
    assert (code, "holds other data" in err) == (0, False)
    kept = read_evaluations(open_run(run_path))
    assert len({one.store_sha256 for one in kept}) == 2
    assert len(kept) == 3


def test_results_of_a_run_that_cannot_be_written_are_printed(call: Call, run_path: Path) -> None:
    """A file stands where the folder of results would be: as good as a disk that is read-only."""
    for name in ("evaluations", "analyses"):
        (run_path / name).write_text("")
    code, out, err = call("eval", run_path, *QUICK, "--json")
    assert code == 0
    assert "few-shot" in json.loads(out)
    assert "the results are not kept: " in err
    code, out, err = call("eval", run_path, *QUICK)
    assert code == 0
    assert "few-shot" in out
    code, out, err = call("analyse", run_path, "--horizon", 3)
    assert code == 0
    assert "reward error" in out
    assert "the analysis is not kept: " in err
    (run_path / "context-curve.json").mkdir()
    code, out, err = call("eval", run_path, *QUICK, "--context-sizes", "0,5")
    assert code == 0
    assert "K=5" in out
    assert "the curves are not kept: " in err


def test_an_evaluation_of_an_earlier_clwm_is_read(call: Call, run_path: Path) -> None:
    assert call("eval", run_path, *QUICK)[0] == 0
    (kept,) = read_evaluations(open_run(run_path))
    document = json.loads((run_path / "evaluations" / kept.name).read_text())
    settings = document.pop("settings")
    del document["step"], settings["protocols"], settings["splits"]
    (run_path / "evaluation.json").write_text(json.dumps({**document, **settings}))
    shutil.rmtree(run_path / "evaluations")
    assert read_evaluations(open_run(run_path)) == [kept]
    (run_path / "evaluation.json").write_text("{}")
    code, _, err = call("report", run_path)
    assert code == 1
    assert "evaluation.json: is not an evaluation: delete it and run `clwm eval` again" in err
