"""Publishing trained agents and downloading them, against a Hub on loopback."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from clwm_cli.main import main
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from clwm_data.errors import ClwmError
from clwm_data.hub.cache import cached_store
from clwm_data.hub.install import install_line
from clwm_data.hub.push import publish_store
from clwm_data.hub.reference import parse_reference
from clwm_data.opening import open_store
from clwm_train.acting.adaptive import AdaptiveAgent
from clwm_train.evaluation.results import EVALUATIONS, read_evaluations
from clwm_train.hub.agents import publish_run
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import describe_run, open_run, write_run
from clwm_train.training.train import train_run
from tests.conftest import ROOT, Clwm
from tests.data.hub.conftest import hub, waits
from tests.hub_server import TOKEN, Fault, HubServer
from tests.train.helpers import small_config

__all__ = ["hub", "waits"]

AGENT = "checkpoints/step-000000008/agent.safetensors"


def load_published(text: str) -> AdaptiveAgent:
    return load_agent(text)


def here(*arguments: object) -> None:
    """Run the command in this process."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert not end.value.code


@pytest.fixture(scope="module")
def trained(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few updates on the tiny store, evaluated."""
    path = tmp_path_factory.mktemp("runs") / "tiny-spc-s0"
    store = open_store(collected)
    run = write_run(describe_run(path, store, small_config(), method="spc", preset="tiny", seeds=(0,)))
    assert train_run(run, store)
    here("eval", path, "--episodes", "1", "--context-size", "20")
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "runs/tiny-spc-s0"))


def test_eval_keeps_its_results_side_by_side(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (before,) = read_evaluations(open_run(run))
    assert before.checkpoint == "step-000000008"
    assert set(before.results[0]) == {"few-shot", "zero-shot"}
    options = ("--episodes", "1", "--context-size", "20", "--protocol", "zero-shot", "--split", "id")
    here("eval", run, *options, "--json")
    shown = json.loads(capsys.readouterr().out)
    here("eval", run, *["--episodes", "2", "--protocol", "zero-shot", "--split", "id"])
    kept = read_evaluations(open_run(run))
    assert len(kept) == 3
    assert before in kept
    part = next(
        one for one in kept if one.settings.protocols == ("zero-shot",) and one.settings.episodes == 1
    )
    assert part.results[0]["zero-shot"]["id"].return_mean == shown["zero-shot"]["id"]["return_mean"]
    here("eval", run, "--episodes", "1", "--context-size", "20")  # once more: the same
    assert sorted(map(repr, read_evaluations(open_run(run)))) == sorted(map(repr, kept))


def test_what_is_pushed_can_be_evaluated(
    hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = publish_run(run, "user/agent").push(tag="v1")
    repository = hub.repositories["model", "user/agent"]
    assert repository.refs["v1"] == done.commit
    assert set(repository.files()) == {
        ".gitattributes",
        "README.md",
        "config.yaml",
        "run.yaml",
        f"{EVALUATIONS}/{read_evaluations(open_run(run))[0].name}",
        "checkpoints/step-000000008/checkpoint.yaml",
        AGENT,
    }
    assert publish_run(run, "user/agent").push().files == 0
    ours, theirs = load_agent(open_run(run)), load_published("user/agent@v1")
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])
    # Another machine has not the store where it was: it must be told.
    text = yaml.safe_load(repository.files()["run.yaml"])
    assert text["store"] == "tiny"
    assert str(run.parent) not in repository.files()["run.yaml"].decode()
    with pytest.raises(SystemExit):
        main(["eval", "user/agent"])
    assert "its data (tiny) was not published with it: say where it is" in capsys.readouterr().err
    here("push", run, "user/agent")
    assert "the agent will not say where its data is: push tiny, then" in capsys.readouterr().err


def test_a_run_on_downloaded_data_knows_its_revision(
    hub: HubServer,
    collected: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the published data to a published agent, and back to its evaluation elsewhere."""
    monkeypatch.chdir(tmp_path)
    commit = publish_store(collected, "user/data").push(tag="d1").commit
    store = open_store(cached_store(parse_reference("user/data@d1")))
    run = write_run(
        describe_run(
            tmp_path / "r",
            store,
            small_config(),
            method="spc",
            preset="tiny",
            seeds=(0, 1),
        )
    )
    train_run(run, store)
    here("eval", run.path, "--episodes", "1", "--context-size", "20")
    capsys.readouterr()
    here("push", run.path, "user/agent")
    assert "will not say" not in capsys.readouterr().err
    card = hub.repositories["model", "user/agent"].files()["README.md"].decode()
    assert f"datasets/user/data/tree/{commit}/tiny.zarr" in card
    assert "2 seeds" in card

    shutil.rmtree(run.path)
    shutil.rmtree(tmp_path / "cache")
    capsys.readouterr()
    here("eval", "user/agent", "--episodes", "1", "--context-size", "20", "--json")
    shown = json.loads(capsys.readouterr().out)
    files = hub.repositories["model", "user/agent"].files()
    (text,) = [json.loads(data) for name, data in files.items() if name.startswith(EVALUATIONS)]
    kept = text["results"][0]["few-shot"]["train"]["return_mean"]
    assert shown["seeds"]["0"]["few-shot"]["train"]["return_mean"] == pytest.approx(kept)


def test_a_run_on_data_that_was_published_later(hub: HubServer, collected: Path, run: Path) -> None:
    commit = publish_store(collected, "user/data").push().commit
    publish_run(run, "user/agent", dataset="user/data").push()
    files = hub.repositories["model", "user/agent"].files()
    assert yaml.safe_load(files["run.yaml"])["origin"]["revision"] == commit
    front = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert front["datasets"] == ["user/data"]
    for record in (run / "run.yaml", *run.glob("checkpoints/*/checkpoint.yaml")):  # trained on other data
        text = yaml.safe_load(record.read_text())
        record.write_text(yaml.safe_dump({**text, "store_sha256": "0" * 64}))
    with pytest.raises(ClwmError, match="user/data: holds other data than"):
        publish_run(run, "user/agent", dataset="user/data")


def test_model_card(hub: HubServer, run: Path) -> None:
    publish_run(run, "user/agent").push()
    card = hub.repositories["model", "user/agent"].files()["README.md"].decode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "clwm"
    assert {"reinforcement-learning", "point-robot", "spc"} <= set(front["tags"])
    results = front["model-index"][0]["results"]
    assert {entry["task"]["name"] for entry in results} == {
        f"{protocol}, {split} tasks"
        for protocol in ("few-shot", "zero-shot")
        for split in ("train", "id", "ood")
    }
    (evaluation,) = read_evaluations(open_run(run))
    mean = evaluation.results[0]["few-shot"]["id"].return_mean
    assert f"| few-shot | id | 1 | {mean:.2f} |" in card
    assert "tiny (not published)" in card
    assert "clwm eval user/agent" in card
    compile(card.split("```python\n")[1].split("```")[0], "card", "exec")
    assert f"import clwm_train  # {install_line('train')}\n" in card
    assert "# pip install 'clwm" not in card, "the package index does not have it yet"
    assert "Not as published: episodes, context size." in card


def test_the_model_card_says_what_was_not_as_published(hub: HubServer, run: Path) -> None:
    here("eval", run, "--episodes", "1", "--context-size", "20", "--noise", "0.3", "--prior", "mean")
    publish_run(run, "user/agent").push()
    card = hub.repositories["model", "user/agent"].files()["README.md"].decode()
    assert (
        "episodes 1; context size 20; seed 0; prior mean; prior weight 0; inference encoder; noise 0.3"
        in card
    )
    assert "Not as published: episodes, context size, prior, noise." in card


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: shutil.rmtree(run / EVALUATIONS), "was not evaluated: `clwm eval"),
        (
            lambda run: (run / "checkpoints/step-000000008").rename(run / "checkpoints/step-000000009"),
            "says step 8, which is not its folder's",
        ),
        (lambda run: (run / AGENT).write_bytes(b"x" * 100), "is damaged: its SHA-256"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "holds no checkpoint yet"),
        (
            lambda run: (run / EVALUATIONS / "step-000000008-00000000.json").write_text("{}"),
            r"00000000\.json: attribute checkpoint",
        ),
        (lambda run: poison(run / AGENT), "not finite: not published"),
    ],
)
def test_what_is_not_fit_to_be_shown_is_not_pushed(
    hub: HubServer, run: Path, spoil: object, words: str
) -> None:
    spoil(run)  # type: ignore[operator]
    with pytest.raises(ClwmError, match=words):
        publish_run(run, "user/agent")
    assert hub.log == []


def poison(path: Path) -> None:
    tensors = load_file(path)
    next(iter(tensors.values())).fill_(float("nan"))
    save_file(tensors, path)
    index = path.with_name("checkpoint.yaml")
    record = yaml.safe_load(index.read_text())
    record["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    index.write_text(yaml.safe_dump(record))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "agent.safetensors", drop="middle"),
        Fault("GET", "agent.safetensors", alter=lambda body: body[:-1] + bytes([body[-1] ^ 1])),
        Fault("GET", "agent.safetensors", alter=lambda body: body[:-9]),
        Fault("GET", "config.yaml", status=429, headers={"Retry-After": "7"}),
    ],
    ids=["dropped", "altered", "truncated", "429"],
)
def test_passing_faults_are_survived(hub: HubServer, run: Path, fault: Fault) -> None:
    publish_run(run, "user/agent").push()
    hub.faults.append(fault)
    load_published("user/agent")
    assert fault.times == 0


def test_a_lasting_alteration_is_refused(hub: HubServer, run: Path) -> None:
    publish_run(run, "user/agent").push()
    hub.faults.append(
        Fault("GET", "agent.safetensors", times=99, alter=lambda body: body[:-1] + bytes([body[-1] ^ 1]))
    )
    with pytest.raises(ClwmError, match="does not have the published digest"):
        load_published("user/agent")


def test_offline(hub: HubServer, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_run(run, "user/agent").push()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ClwmError, match=r"HF_HUB_OFFLINE is set.*it was not downloaded before"):
        load_published("user/agent")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load_published("user/agent")
    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_published("user/agent")
    assert hub.log == []


# -- an agent of a stranger --------------------------------------------------------------------------------


def altered_config(files: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    config = yaml.safe_load(files["config.yaml"])
    for key, value in changes.items():
        part, _, name = key.partition("__")
        config[part][name] = value
    index = next(name for name in files if name.endswith("checkpoint.yaml"))
    record = yaml.safe_load(files[index])
    record["config"] = config  # a lie that is told twice
    return {name: yaml.safe_dump(text).encode() for name, text in (("config.yaml", config), (index, record))}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda files: {"config.yaml": b"a: !!python/object/apply:os.system ['touch pwned']"},
            "not valid YAML",
        ),
        (lambda files: {"run.yaml": b"[" * 10_000}, "nested too deeply"),
        (lambda files: {"run.yaml": b"x" * (10**7 + 1)}, "more than 10000000"),
        (lambda files: {"config.yaml": None}, "is not a published run: it has no config.yaml"),
        (lambda files: {AGENT: None}, "cannot be read"),
        (lambda files: {AGENT: b"\x80\x04\x95pickle"}, "is damaged: its SHA-256"),
        (lambda files: {AGENT: b"\xff" * 8 + b"{}"}, "is damaged: its SHA-256"),
        (
            lambda files: {"config.yaml": altered_config(files, iql__expectile=0.25)["config.yaml"]},
            r"says iql\.expectile 0\.25, but step-000000008 was trained with 0\.8",
        ),
        (lambda files: altered_config(files, iql__hidden=[10**6] * 20), "does not fit config.yaml"),
        (lambda files: altered_config(files, iql__hidden=[10**15, 10**15]), "config.yaml"),
        (lambda files: altered_config(files, context__dim=10**9), "config.yaml"),
        (lambda files: altered_config(files, context__next_observation="auto"), "describes no agent"),
    ],
)
def test_an_agent_that_lies_is_refused(
    hub: HubServer, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    publish_run(run, "user/agent").push()
    repository = hub.repositories["model", "user/agent"]
    repository.change(change(repository.files()))  # type: ignore[operator]
    with pytest.raises(ClwmError, match=words) as caught:
        load_published("user/agent")
    assert "\n" not in str(caught.value)
    assert not Path("pwned").exists()


def test_only_the_files_of_a_run_travel(hub: HubServer, run: Path, tmp_path: Path) -> None:
    publish_run(run, "user/agent").push()
    repository = hub.repositories["model", "user/agent"]
    files = {
        "pytorch_model.bin": b"x",
        "checkpoints/../../../escaped/agent.safetensors": b"x",
        "evil.py": b"x",
    }
    repository.change({**files, "checkpoints/step-000000001/agent.safetensors": b"x"})
    load_published("user/agent")
    assert set(hub.sent) == {
        "run.yaml",
        "config.yaml",
        f"{EVALUATIONS}/{read_evaluations(open_run(run))[0].name}",
        AGENT,
        "checkpoints/step-000000008/checkpoint.yaml",
    }
    assert not list(tmp_path.rglob("escaped"))


def test_no_token_is_ever_written(hub: HubServer, run: Path, tmp_path: Path) -> None:
    publish_run(run, "user/agent").push()
    load_published("user/agent")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


def test_the_commands_of_the_documentation(
    hub: HubServer, clwm: Clwm, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word; those about datasets each in a process of its own."""
    shutil.copytree(collected, tmp_path / "data/point-robot.zarr")
    text = (ROOT / "docs/sharing.md").read_text()
    lines = text.split("```sh\n")[1].split("```")[0].splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    assert len(commands) == 5
    assert commands[0] == ["hf", "auth", "login"]
    for _, *arguments in commands[1:]:
        few = ["--steps", "2", "--set", "batch.windows=2", "--out", "runs/point-robot-spc-s0"]
        done = clwm(*arguments, *few * (arguments[0] == "train"))
        assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "checkpoints/step-000000002").is_dir()
    record = open_run(run).record
    assert record.origin is not None
    assert record.origin.revision == hub.dataset("user/point-robot").refs["v1"]

    agents = text.split("## Trained agents")[1].split("```sh\n")[1].split("```")[0].splitlines()
    assert len(agents) == 4
    monkeypatch.chdir(tmp_path)
    for line in agents:
        here(*shlex.split(line, comments=True)[1:])
    assert (tmp_path / "runs/point-robot-spc/run.yaml").is_file()
