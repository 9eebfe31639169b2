"""Whatever the configuration accepts can be built and trained; everything else is refused in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from clwm_data.errors import ClwmError
from clwm_train.config import TrainConfig
from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.kernels.streams import RandomStreams
from clwm_train.metrics.representation import representation_metrics
from clwm_train.model.agent import Agent
from clwm_train.model.context_encoder import ContextEncoder
from clwm_train.training.learner import Learner
from clwm_train.training.meter import Meter
from tests.train.helpers import SMALL, random_task, small_config

TASKS = {index: random_task(index, [5, 2], terminated=[True, False]) for index in range(3)}
METHODS = ("spc", "csro", "unicorn-ss-ln", "task-classifier", "dora-ln", "oracle", "no-context", "bc")
VALUES: tuple[Any, ...] = (
    *(0, 1, 2, 3, 7, -1, 0.0, 0.5, 1.0, 1.5, -0.5, 1e-38, 1e-300, 1e-8, 1e20, 3e38, 1e308),
    *(math.nan, math.inf, -math.inf, 10**12, 10**30),
    *((), (1,), (4, 3), (2, 2, 2), (1,) * 70, (0,), (-1,), (10**12,), (3, 10**12)),
    *(None, True, False, "auto", "", {}, [[]]),
    *("mixture", "gaussian", "deterministic", "td3bc", "bc", "codes", "observation", "both", "first"),
    *("simnorm", "continuous", "mse", "cosine", "orthogonal", "fan-in", "relu", "bf16", "mixed", "batch"),
    *("none", "parameters", "truncated-normal-0.02"),
)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys of a configuration that decide what is built and how it learns."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        if path == "evaluation":
            continue
        yield path
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from keys(part, f"{path}.")


KEYS = tuple(keys(TrainConfig))


def text(value: Any) -> str:
    """A value as it stands behind ``--set key=``."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


def one_update(config: TrainConfig) -> None:
    """Build, train for two updates, and measure; numbers that are not finite are the meter's to report."""
    if config.context.next_observation == "auto":
        config = config.model_copy(
            update={"context": config.context.model_copy(update={"next_observation": True})}
        )
    data = load_task_data(TASKS, config.data)
    told = np.linspace(-1, 1, len(TASKS), dtype=np.float32)[:, None]
    agent = Agent(config, [0], 2, 2, told)
    learner = Learner(config, agent, data.tasks)
    sampler = TaskBatchSampler(
        data,
        config.resolved_batch,
        [0],
        next_observation=agent.next_observation,
    )
    streams, meter = RandomStreams([0]), Meter()
    for step in range(2):
        meter.add(learner.update(sampler.batch(step), step, streams), step)
    if isinstance(agent.context_encoder, ContextEncoder) and all(
        torch.isfinite(p).all() for p in agent.context_encoder.parameters()
    ):
        representation_metrics(agent.context_encoder, sampler.batch(0).context)
    agent.act(torch.zeros(1, 3, 2), torch.zeros(1, 3, agent.context_encoder.size))


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(
    method=st.sampled_from(METHODS),
    changes=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), min_size=1, max_size=3),
)
@example(method="spc", changes=[("context.hidden", ())])
@example(method="spc", changes=[("policy.log_std_min", math.nan)])
@example(method="spc", changes=[("policy.log_std_max", 1e308)])
@example(method="spc", changes=[("world_model.levels", (3, 10**12))])
@example(method="spc", changes=[("world_model.levels", (10**12,))])
@example(method="spc", changes=[("world_model.temperature", 1e-300)])
@example(method="spc", changes=[("objectives.infonce.radius", 1e-300)])
@example(method="spc", changes=[("batch.horizon", 10**30)])
@example(method="spc", changes=[("iql.hidden", ()), ("world_model.encoder_hidden", ())])
@example(method="spc", changes=[("backbone", "td3bc"), ("td3bc.policy_noise", 3e38)])
@example(method="spc", changes=[("world_model.consistency", "cosine"), ("network.style", "relu")])
def test_whatever_validates_builds_and_runs(method: str, changes: list[tuple[str, Any]]) -> None:
    overrides = [f"{key}={text(value)}" for key, value in changes]
    try:
        config = small_config(method, "tiny", *overrides)
    except ClwmError as error:
        if "\n" in str(error):
            raise AssertionError(f"several lines: {error}") from error
        return
    one_update(config)


def test_the_fuzz_reaches_what_it_should() -> None:
    assert {"context.hidden", "policy.log_std_min", "world_model.levels", "objectives.club.negatives"} <= {
        *KEYS
    }
    assert len(KEYS) > 60
    for method in METHODS:
        one_update(small_config(method))
    assert any(override.startswith("batch.horizon") for override in SMALL)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("context.hidden=[]", r"context\.hidden: .*at least 1 item"),
        ("policy.log_std_min=nan", r"policy\.log_std_min"),
        ("policy.log_std_min=-1e300", r"policy\.log_std_min: .*greater than or equal to -20"),
        ("batch.horizon=1000000000000", r"batch\.horizon: .*less than or equal to"),
        ("world_model.levels=[1000,1000]", r"levels .* make 1,000,000 codes: at most 65,536"),
        ("world_model.temperature=1e-300", r"world_model\.temperature: 1e-300 is too small"),
        ("objectives.infonce.radius=1e-300", r"objectives\.infonce\.radius: 1e-300 is too small"),
    ],
)
def test_impossible_values_are_refused(override: str, message: str) -> None:
    with pytest.raises(ClwmError, match=message) as error:
        small_config("spc", "tiny", override)
    assert "\n" not in str(error.value)
