"""``clwm eval --context-behaviour``."""

from __future__ import annotations

import json
from pathlib import Path

from clwm_train.evaluation.results import read_evaluations
from clwm_train.runs.run import open_run

from .conftest import SMALL_OPTIONS, Call

SCRIPTED, RANDOM = "scripted-noise-0.3", "random"


def test_contexts_of_one_behaviour_and_of_each(call: Call, store_path: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, _, err = call("train", store_path, "--out", run, *SMALL_OPTIONS)
    assert code == 0, err
    options = ("--episodes", 1, "--context-size", 20, "--split", "id,ood")
    code, out, err = call("eval", run, "--protocol", "few-shot", "--context-behaviour", "Random", *options)
    assert code == 0, err
    assert "context behaviour random" in out
    code, out, err = call("eval", run, "--context-behaviour", "all", *options)
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[3:]] == ["(all", SCRIPTED, RANDOM]
    kept = {one.settings.context_behaviour: one for one in read_evaluations(open_run(run))}
    assert set(kept) == {None, SCRIPTED, RANDOM}
    assert kept[None].settings.protocols == ("few-shot",)
    code, out, err = call("eval", run, "--context-behaviour", "all", "--json", *options)
    assert code == 0, err
    by_name = json.loads(out)
    assert by_name["random"][0]["few-shot"]["id"]["tasks"] == kept[RANDOM].results[0]["few-shot"]["id"].tasks
    for arguments, message in (
        (("--context-behaviour", "learned-25"), "no task has episodes of the behaviour learned-25"),
        (("--context-behaviour", "random", "--protocol", "zero-shot"), "only few-shot takes its contexts"),
        (("--context-behaviour", "all", "--context-sizes", "5,10"), "drop --context-sizes"),
    ):
        code, _, err = call("eval", run, *arguments)
        assert code != 0
        assert message in err
        assert "Traceback" not in err
