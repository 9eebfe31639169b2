"""Whatever diverges ends in one line, and what was good before is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clwm_data.errors import DivergedError
from clwm_data.store import Store
from clwm_train.config import BACKBONES
from clwm_train.methods.resolve import resolve
from clwm_train.model.fsq import FSQ
from clwm_train.runs.checkpoint import latest_checkpoint
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run, describe_run, open_run, write_run
from clwm_train.training.divergence import check_finite
from clwm_train.training.train import train_run
from tests.train.helpers import distinct_methods, small_config

LINE = (
    r"^\S+: (\S+ of seed 3|features of the context encoder) (is|are) not finite (at|after) update \d+; "
    r"(the last good checkpoint is \S+step-0\d+|there is no checkpoint yet); try a lower learning rate"
)


def new_run(path: Path, store: Store, method: str, *overrides: str) -> Run:
    config = small_config(method, "tiny", "steps=40", "checkpoint_every=1", *overrides)
    return write_run(describe_run(path, store, config, method=method, preset="tiny", seeds=(3,)))


@pytest.mark.parametrize("wild", ["learning rates", "rewards"])
@pytest.mark.parametrize(
    ("method", "backbone", "precision"),
    [
        *((method, "iql", "fp32") for method in distinct_methods()),
        *(("spc", backbone, precision) for backbone in BACKBONES for precision in ("fp32", "bf16")),
    ],
)
def test_every_part_of_a_method_ends_in_a_line(
    store: Store, tmp_path: Path, method: str, backbone: str, precision: str, wild: str
) -> None:
    has = resolve(method, "tiny")
    parts = [backbone, "context", *(["world_model"] if has.world_model is not None else [])]
    overrides = (
        ["data.reward_scale=1e30"] if wild == "rewards" else [f"{part}.learning_rate=1e30" for part in parts]
    )
    options = (*overrides, f"backbone={backbone}", f"precision={precision}")
    run = new_run(tmp_path / "run", store, method, *options)
    with pytest.raises(DivergedError, match=LINE):
        train_run(run, store)
    assert not list(run.path.rglob("*.partial"))
    if run.checkpoints.exists():
        agent = load_agent(open_run(run.path))  # whatever is kept is sound
        assert all(torch.isfinite(value).all() for value in agent.state_dict().values())


def test_the_last_good_checkpoint_is_kept(store: Store, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", store, "spc")
    train_run(run, store, steps=4)
    for config in (run.path / "config.yaml", *run.checkpoints.glob("*/checkpoint.yaml")):
        config.write_text(config.read_text().replace("learning_rate: 0.001", "learning_rate: 1.0e+30"))
    with pytest.raises(DivergedError, match=r"the last good checkpoint is .*step-0000000\d\d"):
        train_run(open_run(run.path), store)
    assert latest_checkpoint(run.checkpoints).name >= "step-000000004"


@pytest.mark.parametrize("levels", [[5, 3], [2, 4, 7]])
def test_the_index_of_nan_is_in_the_range(levels: list[int]) -> None:
    quantiser = FSQ(levels)
    x = torch.randn(50, 6, len(levels)) * 3
    sound = quantiser.index(x)
    for value in (torch.nan, torch.inf, -torch.inf):
        damaged = x.clone()
        damaged[7, 2, 0] = value
        index = quantiser.index(damaged)
        assert 0 <= int(index.min()) <= int(index.max()) < quantiser.codes
        others = torch.ones(50, 6, dtype=torch.bool)
        others[7, 2] = False
        assert torch.equal(index[others], sound[others])


def test_a_moment_that_overflowed_is_told_with_its_seed() -> None:
    """Adam would stand still for ever, with finite weights and losses."""
    moment = torch.zeros(2, 3, 4)
    moment[1, 2, 0] = torch.inf
    with pytest.raises(DivergedError, match=r"^exp_avg_sq of seed 9 is not finite after update 17$"):
        check_finite({"step": torch.tensor(3.0), "exp_avg_sq": moment}, (4, 9), 17)
