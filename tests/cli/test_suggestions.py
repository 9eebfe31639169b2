"""A name that is nearly right gets the right one suggested, wherever a name is looked up."""

from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.suggestions import close_names, suggestion
from tests.cli.conftest import Call

EXPERIMENT = """name: exp
stores: [STORE]
methods:
  spc: {set: {batch.tasks: 4}}
  focal: {stores: [STORE]}
"""


def test_the_closest_names_come_first_whatever_the_case() -> None:
    known = ["few-shot", "zero-shot", "online-context", "Cheetah_Vel"]
    assert close_names("fewshot", known)[0] == "few-shot"
    assert close_names("ZERO_SHOT", known)[0] == "zero-shot"
    assert close_names("cheetah-vel", known) == ["Cheetah_Vel"]
    assert close_names("onl", known) == ["online-context"], "the beginning of a name"
    assert close_names("xyz", known) == []
    assert suggestion("xyz", known, "`clwm` lists them") == "`clwm` lists them"
    assert suggestion("pre-e", ["pre-a", "pre-b", "pre-c"], most=3) == "did you mean pre-c, pre-b or pre-a?"
    assert close_names("x" * 10**6, known) == []


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["colect", "point-robot"], "collect"),
        (["collect", "point-robto"], "point-robot"),
        (["collect", "point-robto.yaml"], "point-robot"),
        (["collect", "expp.yaml"], "exp.yaml"),
        (["sweep", "exq"], "exp.yaml"),
        (["sweep", "studies/studdy.yaml"], "studies/study.yaml"),
        (["sweep", "study"], "studies/study.yaml"),
        (["families", "cheeta-vel"], "cheetah-vel"),
        (["preview", "point-robot", "--behaviour", "scriptd"], "scripted"),
        (["info", "tinny"], "tiny"),
        (["train", "tinny"], "tiny"),
        (["train", "tiny", "--method", "focl"], "focal"),
        (["train", "tiny", "--preset", "smal"], "small"),
        (["train", "tiny", "--set", "iql.expectil=0.9"], "expectile"),
        (["train", "tiny", "--set", "context.sorce=learned"], "source"),
        (["train", "tiny", "--set", "precision=mixd"], "mixed"),
        (["train", "tiny", "--track", "wand"], "wandb"),
        (["train", "tiny", "--eval-every", "1", "--eval-protocol", "fewshot"], "few-shot"),
        (["train", "tiny", "--eval-every", "1", "--eval-split", "odd"], "ood"),
        (["train", "tiny", "--evl-every", "1"], "--eval-every"),
        (["select", "tiny", "part.zarr", "--behaviour", "scripte"], "scripted"),
        (["select", "tiny", "part.zarr", "--split", "trian"], "train"),
        (["train", "tiny", "--precision", "mixd"], "mixed"),
        (["sweep", "exp.yaml", "--engine", "rai"], "ray"),
        (["completion", "bsh"], "bash"),
        (["eval", "mi-run"], "my-run"),
        (["eval", "runs/mi-run"], "my-run"),
        (["analyse", "my-runn"], "my-run"),
        (["preview", "my-runn", "--protocol", "few-shot"], "my-run"),
        (["eval", "my-run", "--protocol", "zeroshot"], "zero-shot"),
        (["eval", "my-run", "--split", "trai"], "train"),
        (["eval", "my-run", "--checkpoint", "step-00000008"], "step-000000008"),
        (["analyse", "my-run", "--metrics", "prob"], "probe"),
        (["sweep", "exp.yaml", "--method", "focl", "--status"], "focal"),
        (["sweep", "bad.yaml", "--status"], "description"),
        (["sweep", "track.yaml", "--status"], "trackio"),
    ],
)
def test_nearly_right_names(
    call: Call, store_path: Path, tmp_path: Path, arguments: list[str], meant: str
) -> None:
    (tmp_path / "data").mkdir()
    store_path.rename(tmp_path / "data" / "tiny.zarr")
    run = tmp_path / "runs" / "my-run"
    if "my-run" in arguments:
        from tests.train.helpers import SMALL

        options = [part for text in SMALL for part in ("--set", text)]
        assert call("train", "tiny", "--out", run, *options)[0] == 0
    else:
        run.mkdir(parents=True)
        (run / "run.yaml").touch()
    text = EXPERIMENT.replace("STORE", "tiny")
    (tmp_path / "exp.yaml").write_text(text)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "study.yaml").write_text(text)
    (tmp_path / "bad.yaml").write_text(text + "descripton: x\n")
    (tmp_path / "track.yaml").write_text(text + "track: [trackoi]\n")
    code, out, err = call(*arguments)
    assert code in (1, 2)
    assert out == ""
    line = err.splitlines()[-1].lower()
    assert "did you mean" in line
    assert meant in line.partition("did you mean")[2]
