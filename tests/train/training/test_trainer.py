from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clwm_data.collection.collector import collect
from clwm_data.errors import ClwmError, ConflictError
from clwm_data.opening import open_store
from clwm_data.store import Store
from clwm_train.data.task_data import load_task_data
from clwm_train.methods.resolve import overridden
from clwm_train.objectives import Decoder
from clwm_train.runs.checkpoint import LEARNER, latest_checkpoint, list_checkpoints
from clwm_train.runs.loading import load_agent
from clwm_train.runs.metrics_log import THROUGHPUT, read_metrics
from clwm_train.runs.run import Run, describe_run, open_run, write_run
from clwm_train.training.train import train_run
from clwm_train.training.trainer import Trainer
from tests.conftest import tiny_manifest
from tests.train.helpers import small_config


def new_run(path: Path, store: Store, *overrides: str, seeds: tuple[int, ...] = (3,)) -> Run:
    config = small_config("spc", "tiny", *overrides)
    return write_run(describe_run(path, store, config, method="spc", preset="tiny", seeds=seeds))


def files(run: Run) -> dict[str, bytes]:
    """The bytes of the last checkpoint, and the metrics without their timings."""
    found = {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in sorted(latest_checkpoint(run.checkpoints).iterdir())
    }
    rows = [
        {name: value for name, value in row.items() if name not in THROUGHPUT}
        for row in read_metrics(run.path / "metrics.jsonl")
    ]
    return {**found, "metrics": json.dumps(rows).encode()}


def stop_after(updates: int) -> Any:
    asked: Iterator[int] = iter(range(10**6))
    return lambda: next(asked) >= updates


@pytest.mark.parametrize("cut", [1, 2, 4, 5])
def test_resume_is_bit_exact(store: Store, tmp_path: Path, cut: int) -> None:
    whole, parts = new_run(tmp_path / "a", store), new_run(tmp_path / "b", store)
    assert train_run(whole, store)
    assert not train_run(parts, store, stop=stop_after(cut))
    assert train_run(open_run(parts.path), store)
    assert files(whole) == files(parts)
    assert [row["step"] for row in read_metrics(whole.path / "metrics.jsonl")] == [3, 6, 8]


def test_falling_learning_rates_are_those_of_the_whole_run_wherever_it_is_cut(
    store: Store, tmp_path: Path
) -> None:
    runs = [new_run(tmp_path / name, store, "learning_rate_decay=0.5") for name in "ab"]
    assert train_run(runs[0], store)
    for steps in (6, 8):
        assert train_run(runs[1], store, steps=steps)
    whole, parts = map(files, runs)
    del whole["metrics"], parts["metrics"]  # every call ends with a row
    assert whole == parts
    with pytest.raises(ClwmError, match="train a new run with --steps 12"):
        train_run(runs[0], store, steps=12)


def test_metrics_written_after_the_last_checkpoint_are_written_anew(store: Store, tmp_path: Path) -> None:
    """As after a power cut: rows beyond the checkpoint, the last of them torn."""
    whole, torn = new_run(tmp_path / "a", store), new_run(tmp_path / "b", store)
    train_run(whole, store)
    train_run(torn, store, steps=4)
    assert [row["step"] for row in read_metrics(torn.path / "metrics.jsonl")] == [3, 4]
    with (torn.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 6, "seed": 3, "iql/q": 1e9}\n{"step": 9, "se')
    (torn.checkpoints / "step-000000008.partial").mkdir()
    train_run(torn, store)
    assert files(whole) == files(torn)


def test_an_agent_alone_cannot_be_trained_further(store: Store, tmp_path: Path) -> None:
    """As published agents are: deleting their only checkpoint, as for a damaged one, would lose them."""
    run = new_run(tmp_path / "a", store)
    train_run(run, store, steps=4)
    (run.checkpoints / "step-000000004" / LEARNER).unlink()
    with pytest.raises(ClwmError, match="as in every published agent, which cannot be trained further"):
        train_run(run, store)


def test_a_run_that_began_meanwhile_in_the_folder_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    """Both found the folder free; the first was killed before its first checkpoint."""
    first = new_run(tmp_path / "a", store, "iql.expectile=0.7")
    second = replace(first, config=overridden(first.config, ["iql.expectile=0.8"]))
    before = {name: (first.path / name).read_bytes() for name in ("config.yaml", "run.yaml")}
    with pytest.raises(ConflictError, match=r"was begun there meanwhile \(iql.expectile 0.7, not 0.8\)"):
        train_run(second, store)
    assert {name: (first.path / name).read_bytes() for name in before} == before
    assert train_run(first, store, steps=4)


def test_the_same_command_gives_the_same_run_and_another_seed_another(store: Store, tmp_path: Path) -> None:
    runs = [new_run(tmp_path / str(i), store, seeds=(seed,)) for i, seed in enumerate((3, 3, 4))]
    for run in runs:
        train_run(run, store)
    assert files(runs[0])["metrics"] == files(runs[1])["metrics"] != files(runs[2])["metrics"]


def test_a_group_of_seeds_logs_every_seed(store: Store, tmp_path: Path) -> None:
    group, alone = new_run(tmp_path / "g", store, seeds=(1, 3)), new_run(tmp_path / "a", store, seeds=(3,))
    train_run(group, store)
    train_run(alone, store)
    rows = [row for row in read_metrics(group.path / "metrics.jsonl") if row["seed"] == 3]
    for mine, its in zip(rows, read_metrics(alone.path / "metrics.jsonl"), strict=True):
        for name in set(mine) - set(THROUGHPUT):
            assert mine[name] == pytest.approx(its[name], rel=1e-4, abs=1e-5)


def test_old_checkpoints_go(store: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "a", store, "checkpoint_every=2", "keep_checkpoints=3")
    train_run(run, store)
    assert [path.name for path in list_checkpoints(run.checkpoints)] == [
        f"step-{step:09d}" for step in (4, 6, 8)
    ]


def test_a_nan_stops_with_step_and_term_and_keeps_the_last_good_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clwm_train.model.backbones.iql import IQL

    run = new_run(tmp_path / "a", store, "checkpoint_every=2", "log_every=8")
    calls = iter(range(100))
    losses = IQL.losses

    def poisoned(self: IQL, *arguments: Any) -> Any:
        loss, figures = losses(self, *arguments)
        if next(calls) == 5:
            figures = {**figures, "critic_loss": figures["critic_loss"] * torch.nan}
            loss = loss * torch.nan
        return loss, figures

    monkeypatch.setattr(IQL, "losses", poisoned)
    message = (
        r"iql/critic_loss of seed 3 is not finite at update 6; the last good checkpoint is .*step-000000004"
    )
    with pytest.raises(ClwmError, match=message):
        train_run(run, store)
    assert latest_checkpoint(run.checkpoints).name == "step-000000004"
    monkeypatch.undo()
    assert train_run(run, store)


def new_unicorn(path: Path, store: Store, seeds: tuple[int, ...]) -> Run:
    options = ("checkpoint_every=2", "log_every=8", "representation_every=1")
    config = small_config("unicorn-ss", "tiny", *options)
    return write_run(describe_run(path, store, config, method="unicorn-ss", preset="tiny", seeds=seeds))


def test_a_nan_in_an_objective_names_its_term(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_unicorn(tmp_path / "a", store, (3, 4))
    calls = iter(range(100))
    honest = Decoder.forward

    def poisoned(self: Decoder, representation: Any) -> Any:
        loss, figures = honest(self, representation)
        if next(calls) == 4:
            only_second = torch.tensor([1.0, torch.nan])
            loss, figures = loss * only_second, {**figures, "reward": figures["reward"] * only_second}
        return loss, figures

    monkeypatch.setattr(Decoder, "forward", poisoned)
    message = (
        r"decoder/reward of seed 4 is not finite at update 5; the last good checkpoint is .*step-000000004"
    )
    with pytest.raises(ClwmError, match=message):
        train_run(run, store)
    assert latest_checkpoint(run.checkpoints).name == "step-000000004"
    monkeypatch.undo()
    assert train_run(run, store)


@pytest.mark.parametrize(
    ("method", "padded", "last"),
    [
        ("tdmpc2", "auto", 1.0),  # learns terminations on roll-outs: its windows reach beyond the end
        ("tdmpc2", "false", 1 / 3),
        ("spc", "auto", 1 / 3),  # as published: the last step stands in one window of three
        ("spc", "true", 1.0),
    ],
)
def test_where_terminations_are_learned_the_last_steps_count_as_others(
    store: Store, tmp_path: Path, method: str, padded: str, last: float
) -> None:
    sizes = ("batch.horizon=3", "batch.windows=4000")
    config = small_config(method, "tiny", f"batch.padded={padded}", *sizes)
    run = write_run(describe_run(tmp_path / method, store, config, method=method, preset="tiny", seeds=(3,)))
    trainer = Trainer(run, load_task_data(store.tasks, config.data))
    data, batch = trainer.sampler.data, trainer.sampler.batch(0)
    episode = int(data.first_episode[data.positions("train")[0]])
    first, length = int(data.episode_start[episode]), int(data.episode_length[episode])
    seen = batch.action[batch.mask == 1]
    middle, end = (
        (seen == data.action[row]).all(-1).sum() for row in (first + length // 2, first + length - 1)
    )
    assert float(end / middle) == pytest.approx(last, rel=0.15)


@pytest.mark.parametrize(
    "part", ["agent.context_encoder.network.head.bias", "objectives.1.network.head.bias"]
)
def test_weights_that_are_not_finite_are_not_saved(store: Store, tmp_path: Path, part: str) -> None:
    """A gradient may be NaN where the loss is not: the weights tell, before any figure does."""
    run = new_unicorn(tmp_path / "a", store, (3,))
    train_run(run, store, steps=2)
    trainer = Trainer(run, load_task_data(store.tasks, run.config.data))
    weights = dict(trainer.learner.named_parameters())[part]

    def poison(done: int, figures: dict[str, float]) -> None:
        weights.data.fill_(torch.nan)

    name = part.partition(".")[2]
    asked = iter((False, True))
    with pytest.raises(
        ClwmError, match=rf"{name} of seed 3 is not finite after update 3; the last good .*step-000000002"
    ):
        trainer.train(8, stop=lambda: next(asked), on_progress=poison)
    assert latest_checkpoint(run.checkpoints).name == "step-000000002"


def test_an_agent_loaded_from_a_run_is_the_one_that_was_trained(store: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "a", store)
    train_run(run, store)
    agent = load_agent(open_run(run.path))
    observation, z = torch.randn(1, 6, 2), torch.randn(1, 6, 3)
    again = load_agent(run, checkpoint=latest_checkpoint(run.checkpoints))
    assert torch.equal(agent.act(observation, z), again.act(observation, z))
    assert agent.normaliser.std.min() > 0
    assert not torch.equal(agent.normaliser.mean, torch.zeros(2))


def test_other_data_is_refused(store: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "a", store)
    other = collect(tiny_manifest(tasks=(0, 12, 13), seed=9), tmp_path / "other.zarr")
    with pytest.raises(ClwmError, match="began with other data"):
        train_run(run, other)


def test_an_existing_folder_is_refused(store: Store, tmp_path: Path) -> None:
    new_run(tmp_path / "a", store)
    with pytest.raises(ClwmError, match="a run is there already: --resume continues it"):
        new_run(tmp_path / "a", store)


def test_damaged_runs_are_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match="does not exist"):
        open_run(tmp_path / "nowhere")
    run = new_run(tmp_path / "a", store)
    with pytest.raises(ClwmError, match="holds no checkpoint yet"):
        load_agent(run)
    train_run(run, store)
    agent = latest_checkpoint(run.checkpoints) / "agent.safetensors"
    agent.write_bytes(agent.read_bytes()[:100])
    with pytest.raises(ClwmError, match=r"agent.safetensors: is damaged: its SHA-256 is not"):
        load_agent(run)
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("dim: 3", "dim: three", 1))
    with pytest.raises(ClwmError, match=r"config\.yaml:\d+: context\.dim: .*'three'"):
        open_run(run.path)


def test_a_checkpoint_that_does_not_fit_the_configuration_is_told(store: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "a", store)
    train_run(run, store)
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("dim: 3", "dim: 4", 1))
    with pytest.raises(ClwmError, match=r"config\.yaml: says context\.dim 4, but .* was trained with 3"):
        load_agent(open_run(run.path))


def test_collected_store_is_reopened_for_training(store: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "a", store, "steps=1")
    assert run.record.train_tasks == (12, 13)
    assert train_run(run, open_store(store.path))


@pytest.mark.parametrize("change", [("layout: 3\n", ""), ("layout: 3\n", "layout: 4\n")])
def test_runs_of_other_networks_are_refused(store: Store, tmp_path: Path, change: tuple[str, str]) -> None:
    run = new_run(tmp_path / "run", store)
    record = run.path / "run.yaml"
    assert change[0] in record.read_text()
    record.write_text(record.read_text().replace(*change))
    with pytest.raises(ClwmError, match="train again"):
        open_run(run.path)
