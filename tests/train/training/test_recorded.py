"""Updates on a tape of random numbers, and recorded on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.kernels.streams import Purpose, RandomStreams
from clwm_train.kernels.tape import Tape
from clwm_train.model.agent import Agent
from clwm_train.training.learner import Learner
from clwm_train.training.meter import Meter
from clwm_train.training.recorded import WARM_UP, RecordedUpdates
from tests.train.helpers import small_config
from tests.train.training.test_learner import TASKS

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SEEDS = (0, 1)
#: Several replays of both kinds.
STEPS = 2 * WARM_UP + 8
#: With a twin network and a noise of its own in the backbone, with its own optimiser in an objective, with
#: several representation objectives, without any.
METHODS = ("spc", "csro-ln", "unicorn-ss", "bc")


def make(
    method: str, device: str, *overrides: str, compiles: bool = False
) -> tuple[Learner, TaskBatchSampler, RandomStreams]:
    config = small_config(method, "tiny", *overrides)
    data = load_task_data(TASKS, config.data, device=device)
    agent = Agent(config, SEEDS, 2, 2, np.eye(len(TASKS), dtype=np.float32)).to(device)
    tasks = [data.tasks[place] for place in data.positions("train")]
    learner = Learner(config, agent, tasks, compiles=compiles).to(device)
    sampler = TaskBatchSampler(data, config.batch, SEEDS, next_observation=agent.next_observation)
    return learner, sampler, RandomStreams(SEEDS, device)


def pace(step: int) -> float:
    return 1.0 - step / STEPS


def plain(learner: Learner, sampler: TaskBatchSampler, streams: RandomStreams, step: int) -> Any:
    return learner.update(sampler.batch(step), step, streams, pace(step))


def assert_equal(ours: Learner, theirs: Learner, **tolerance: float) -> None:
    expected = theirs.state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name, **tolerance)


@contextmanager
def nothing_waits() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", METHODS)
def test_an_update_from_a_tape_is_the_update(method: str) -> None:
    learner, sampler, streams = make(method, "cpu")
    taped, taped_sampler, taped_streams = make(method, "cpu")
    tapes = {kind: Tape(taped_streams) for kind in (False, True)}
    for step in range(4):
        expected = plain(learner, sampler, streams, step)
        tape = tapes[taped.represents(step)]
        tape.rewind(step)
        taped.set_pace(pace(step))
        found = taped.learn(taped_sampler.batch(step, tape), step, tape)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert torch.equal(value, expected[name]), name
    assert_equal(taped, learner, rtol=0.0, atol=0.0)


def test_a_tape_keeps_its_place_in_memory() -> None:
    tape, streams = Tape(RandomStreams([3, 4])), RandomStreams([3, 4])
    first = [tape.at(Purpose.BATCH, 0).uniform(5), tape.at(Purpose.ACTION, 0).normal(4)]
    assert torch.equal(first[0], streams.at(Purpose.BATCH, 0).uniform(5))
    tape.rewind(1)
    again = tape.at(Purpose.BATCH, 1)
    assert again.uniform(5).data_ptr() == first[0].data_ptr()
    assert torch.equal(first[0], streams.at(Purpose.BATCH, 1).uniform(5))
    assert torch.equal(tape.at(Purpose.ACTION, 1).normal(4), streams.at(Purpose.ACTION, 1).normal(4))
    with pytest.raises(ValueError, match="no numbers of shape"):
        again.uniform(5)
    with pytest.raises(ValueError, match="no numbers of shape"):
        tape.at(Purpose.BATCH, 1).uniform(6)


def test_learning_rates_in_memory_that_a_graph_reads() -> None:
    learner, _, _ = make("csro-ln", "cpu")
    configured = {name: [g["lr"] for g in o.param_groups] for name, o in learner.optimisers.items()}
    learner.use_recordable_optimisers(torch.device("cpu"))
    places = [g["lr"].data_ptr() for o in learner.optimisers.values() for g in o.param_groups]
    learner.set_pace(0.25)
    assert [g["lr"].data_ptr() for o in learner.optimisers.values() for g in o.param_groups] == places
    for name, optimiser in learner.optimisers.items():
        assert [float(g["lr"]) for g in optimiser.param_groups] == pytest.approx(
            [0.25 * rate for rate in configured[name]]
        )


@on_gpu
@pytest.mark.parametrize(("method", "compiles"), [*((method, False) for method in METHODS), ("spc", True)])
def test_a_recorded_update_is_the_update(method: str, compiles: bool) -> None:
    expected, recorded = make(method, "cuda", compiles=compiles), make(method, "cuda", compiles=compiles)
    learner, sampler, streams = recorded
    updates = RecordedUpdates(learner, sampler, streams)
    for step in range(STEPS):
        theirs, ours = plain(*expected, step), updates.update(step, pace(step))
        assert theirs.keys() == ours.keys()
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4, msg=f"{name} at {step}")
    assert_equal(learner, expected[0], rtol=1e-3, atol=1e-4)


@on_gpu
@pytest.mark.parametrize(
    ("method", "precision", "compiles", "records"),
    [
        *((method, "fp32", False, records) for method in METHODS for records in (False, True)),
        *(("spc", precision, True, records) for precision in ("fp32", "bf16") for records in (False, True)),
    ],
)
def test_no_update_waits_for_the_gpu(method: str, precision: str, compiles: bool, records: bool) -> None:
    learner, sampler, streams = make(method, "cuda", f"precision={precision}", compiles=compiles)
    recorded = RecordedUpdates(learner, sampler, streams) if records else None
    meter = Meter()

    def update(step: int) -> None:
        metrics = plain(learner, sampler, streams, step) if recorded is None else recorded.update(step)
        meter.add(metrics, step)

    begin = 2 * WARM_UP + 2  # compiled and recorded
    for step in range(begin):
        update(step)
    with nothing_waits():
        for step in range(begin, begin + 4):
            update(step)
    with pytest.raises(RuntimeError, match="synchroniz"), nothing_waits():
        next(iter(learner.parameters())).sum().item()


@on_gpu
def test_a_resumed_recorded_training_is_the_uninterrupted_one() -> None:
    learner, sampler, streams = make("spc", "cuda")
    updates = RecordedUpdates(learner, sampler, streams)
    for step in range(STEPS):
        updates.update(step)
    other = make("spc", "cuda")
    for step in range(STEPS):
        if step == STEPS // 2:  # its graphs are lost, as with its process
            state = {name: value.clone() for name, value in other[0].state_dict().items()}
            moments = {name: optimiser.state_dict() for name, optimiser in other[0].optimisers.items()}
            other = make("spc", "cuda")
            other[0].load_state_dict(state)
            for name, optimiser in other[0].optimisers.items():
                optimiser.load_state_dict(moments[name])
        if step in (0, STEPS // 2):
            again = RecordedUpdates(*other)
        again.update(step)
    assert_equal(other[0], learner, rtol=0.0, atol=0.0)
