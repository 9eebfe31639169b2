"""One update of SPC: the package's beside the straightforward one of bench/reference.py and one in JAX.

Usage: OMP_NUM_THREADS=1 python bench/bench_update.py [--sizes paper small tiny] [--compile] [--jax]
       [--seeds 6] [--json FILE]
       python bench/bench_update.py --device cuda --jax --seeds 6 --quick --budget 110

All learn from 20 tasks of 5 episodes of 200 steps (17 observations, 6 actions; the values do not matter to
the speed) and take turns. Columns: a world-model step (which includes the policy step), a policy-only step,
their mean (they alternate), and the draw of a batch. A ratio is the median of the ratios of neighbouring
rounds. On one thread of a CPU the time is the process's processor time, which depends little on what else the
machine does; otherwise wall time. ``--compile`` times every precision (``--precisions``: those named) with
compiled graphs as well, ``--seeds N`` N seeds together (ratios per seed), ``--jax`` bench/jax_update.py, if
JAX is installed, ``--products`` the matrix products of the package's fp32 update alone: the same calls with
the same operands.

On a GPU, compiled updates are recorded as CUDA graphs, as training does; their updates include the draw of
the batch, all others' do not. A time is that of 20 updates after one another, by 20. ``--quick``: the
published size, the contestants that matter most, few rounds; what has not begun after ``--budget`` seconds is
left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from reference import Reference, RowSampler, copy_weights
from synthetic import synthetic_task
from torch.utils._python_dispatch import TorchDispatchMode

from clwm_train.config import TrainConfig
from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.data.task_data import load_task_data
from clwm_train.kernels.streams import RandomStreams
from clwm_train.methods.resolve import resolve
from clwm_train.model.agent import Agent
from clwm_train.training.allocator import keep_freed_memory
from clwm_train.training.learner import Learner
from clwm_train.training.precision import Precision, matmul_precision
from clwm_train.training.recorded import RecordedUpdates

OBSERVATION, ACTION, TASKS, EPISODES, LENGTH = 17, 6, 20, 5, 200
WORLD_MODEL, POLICY, MEAN, SAMPLER = "world-model step", "policy-only step", "mean of both", "sampler"
PARTS = (WORLD_MODEL, POLICY, MEAN, SAMPLER)
PRECISIONS: tuple[Precision, ...] = ("fp32", "mixed", "bf16")
STRAIGHTFORWARD, PRODUCTS = "straightforward", "matrix products of fp32 alone"
#: What the straightforward implementation of SPC knows, where a preset differs from the paper.
PUBLISHED = ("policy.head=gaussian", "iql.inverse_temperature=10")
#: Updates of each kind before timing: they compile and are recorded.
WARM_UP = 5


@dataclass
class Contestant:
    """Something that trains; ``update`` takes the number of the iteration, ``sample`` too."""

    name: str
    update: Callable[[int], object]
    sample: Callable[[int], object] | None = None
    wait: Callable[[], object] = lambda: None
    precision: Precision = "fp32"
    seeds: int = 1
    warm_up: float = 0.0
    times: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """How the package's update is run."""

    precision: Precision
    compiles: bool = False
    seeds: int = 1
    eager: bool = False


@dataclass(frozen=True)
class Setting:
    """What all contestants of a size share."""

    config: TrainConfig
    tasks: dict[int, Any]
    device: str

    @staticmethod
    def of_size(size: str, device: str, method: str = "spc") -> Setting:
        changes = ["context.next_observation=false", *(PUBLISHED if method == "spc" else ())]
        config = resolve(method, size, changes)
        tasks = {
            index: synthetic_task(index, EPISODES, LENGTH, OBSERVATION, ACTION) for index in range(TASKS)
        }
        return Setting(config, tasks, device)

    @property
    def wait(self) -> Callable[[], object]:
        return (lambda: None) if self.device == "cpu" else torch.cuda.synchronize


def straightforward(setting: Setting) -> Contestant:
    reference = Reference(setting.config, OBSERVATION, ACTION, TASKS)
    copy_weights(reference, Agent(setting.config, [0], OBSERVATION, ACTION), 0)
    reference.to(setting.device)
    rows = RowSampler([task.load() for task in setting.tasks.values()], setting.config.batch, LENGTH)
    batch = rows.batch(OBSERVATION, ACTION).to(setting.device)
    return Contestant(
        STRAIGHTFORWARD,
        lambda step: reference.update(batch, represent=step % 2 == 0),
        lambda step: rows.batch(OBSERVATION, ACTION),
        setting.wait,
    )


def name_of(way: Way) -> str:
    return (
        way.precision
        + ", compiled" * way.compiles
        + ", eager" * way.eager
        + (f", {way.seeds} seeds" if way.seeds > 1 else "")
    )


def ours(setting: Setting, way: Way) -> Contestant:
    precision, compiles, seeds = way.precision, way.compiles, way.seeds
    device, config = setting.device, setting.config.model_copy(update={"precision": precision})
    data = load_task_data(setting.tasks, config.data, device=device)
    agent = Agent(config, range(seeds), OBSERVATION, ACTION).to(device)
    learner = Learner(config, agent, range(TASKS), compiles=compiles).to(device)
    sampler = TaskBatchSampler(data, config.batch, range(seeds), next_observation=False)
    streams = RandomStreams(range(seeds), device)
    batch = sampler.batch(0)
    update: Callable[[int], object] = lambda step: learner.update(batch, step, streams)  # noqa: E731
    if device != "cpu" and not way.eager:
        update = RecordedUpdates(learner, sampler, streams).update
    return Contestant(name_of(way), update, sampler.batch, setting.wait, precision, seeds)


class Products(TorchDispatchMode):
    """Keeps the matrix products that are computed, with their operands."""

    KINDS = (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm)

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], object]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in self.KINDS:
            operands = [each.detach() if isinstance(each, torch.Tensor) else each for each in args]
            self.calls.append(lambda: func(*operands, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def products(setting: Setting) -> Contestant:
    update = ours(setting, Way("fp32")).update
    kinds = []
    for step in range(2):
        with Products() as recorded:
            update(step)
        kinds.append(recorded.calls)

    @torch.no_grad()
    def replay(step: int) -> None:
        for call in kinds[step % 2]:
            call()

    return Contestant(PRODUCTS, replay, wait=setting.wait)


def in_jax(setting: Setting, precision: Precision) -> Contestant:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the GPU's memory is shared
    import jax
    from jax_update import JaxSPC, synthetic_batch

    platform = "cpu" if setting.device == "cpu" else "gpu"
    place = jax.devices(platform)[0]
    products = "tensorfloat32" if precision == "mixed" and platform == "gpu" else "highest"
    with jax.default_device(place):
        trainer = JaxSPC(setting.config, OBSERVATION, ACTION, TASKS, bf16=precision == "bf16")
        batch = synthetic_batch(setting.config, OBSERVATION, ACTION, TASKS)

    def update(step: int) -> object:
        with jax.default_device(place), jax.default_matmul_precision(products):
            return trainer.update(batch, represent=step % 2 == 0)

    return Contestant(
        f"JAX, {precision}", update, wait=lambda: jax.block_until_ready(trainer.state), precision=precision
    )


def entries(options: argparse.Namespace, setting: Setting) -> Iterator[tuple[str, Callable[[], Contestant]]]:
    """Names of the contestants, and how each is made; the straightforward one first."""
    yield STRAIGHTFORWARD, lambda: straightforward(setting)
    if options.products:
        yield PRODUCTS, lambda: products(setting)
    many, on_gpu = options.seeds, setting.device != "cpu"
    if options.quick and on_gpu:
        ways = [Way("fp32", eager=True), Way("fp32"), Way("bf16"), Way("mixed")]
        ways += [Way("fp32", seeds=many), Way("bf16", seeds=many)] * (many > 1)
        # What takes longest to make comes last.
        ways += [Way("bf16", compiles=True), Way("fp32", compiles=True)]
    elif options.quick:
        ways = [Way("fp32"), Way("bf16")]
        ways += [Way("fp32", compiles=True)] * options.compile
    else:
        ways = [Way(p, eager=True) for p in options.precisions] * on_gpu
        compilations = (False, True) if options.compile else (False,)
        counts = (1, many) if many > 1 else (1,)
        ways += [Way(p, c, n) for n in counts for p in options.precisions for c in compilations]
    jax_ways = [(p, lambda p=p: in_jax(setting, p)) for p in ("fp32", "bf16", "mixed")] * options.jax
    if setting.device == "cpu":
        jax_ways = jax_ways[:1]
    for way in ways:
        if way.compiles:
            yield from ((f"JAX, {name}", make) for name, make in jax_ways)
            jax_ways = []
        yield name_of(way), lambda way=way: ours(setting, way)
    yield from ((f"JAX, {name}", make) for name, make in jax_ways)


def timed(contestant: Contestant, function: Callable[[int], object], step: int, repeats: int) -> float:
    """Seconds of one call; on a GPU of several, by their number."""
    clock = time.process_time if repeats == 1 and torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    for _ in range(repeats):
        function(step)
    contestant.wait()
    return (clock() - begin) / repeats


def prepared(make: Callable[[], Contestant]) -> Contestant:
    """A contestant that has compiled, recorded and run each kind of update."""
    begin = time.perf_counter()
    contestant = make()
    with matmul_precision(contestant.precision):
        for step in range(2 * WARM_UP):
            contestant.update(step)
    contestant.wait()
    contestant.warm_up = time.perf_counter() - begin
    return contestant


def measure(field_: list[Contestant], rounds: int, repeats: int) -> None:
    for number in range(rounds + 1):
        for contestant in field_:
            with matmul_precision(contestant.precision):
                times = {
                    WORLD_MODEL: timed(contestant, contestant.update, 0, repeats),
                    POLICY: timed(contestant, contestant.update, 1, repeats),
                }
                if contestant.sample is not None:
                    times[SAMPLER] = timed(contestant, contestant.sample, number, repeats)
            times[MEAN] = (times[WORLD_MODEL] + times[POLICY]) / 2
            if number > 0:  # the first round warms up
                for name, seconds in times.items():
                    contestant.times.setdefault(name, []).append(seconds)


def ratio(contestant: Contestant, base: Contestant, name: str) -> float:
    """How many times as quick as ``base``, per seed."""
    pairs = zip(base.times[name], contestant.times[name], strict=True)
    return contestant.seeds * statistics.median(a / b for a, b in pairs)


def report(size: str, field_: list[Contestant]) -> list[dict[str, Any]]:
    base = field_[0]
    print(f"\n{size}: milliseconds, and how many times as quick as {base.name} (per seed)\n")
    print(f"| | {' | '.join(PARTS)} | first {2 * WARM_UP} updates, s |")
    print("|---|" + "---:|" * (len(PARTS) + 1))
    rows = []
    for contestant in field_:
        cells, row = [], {"size": size, "name": contestant.name, "seeds": contestant.seeds}
        for name in PARTS:
            if name not in contestant.times:
                cells.append("")
                continue
            row[name] = 1e3 * statistics.median(contestant.times[name])
            cells.append(f"{row[name]:,.2f}")
            if contestant is not base and name in base.times:
                row[f"{name}, ratio"] = ratio(contestant, base, name)
                cells[-1] += f" ({row[f'{name}, ratio']:.2f} x)"
        row["warm_up"] = contestant.warm_up
        print(f"| {contestant.name} | {' | '.join(cells)} | {contestant.warm_up:.1f} |", flush=True)
        rows.append(row)
    return rows


def run(size: str, options: argparse.Namespace, until: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the table, and the names of contestants that failed."""
    setting, field_, failed = Setting.of_size(size, options.device), [], []
    for name, make in entries(options, setting):
        if time.perf_counter() > until:
            print(f"{size}: {name}: left out: the time is spent", flush=True)
            continue
        try:
            field_.append(prepared(make))
            print(f"{size}: {name}: ready after {field_[-1].warm_up:.1f} s", flush=True)
        except Exception:
            failed.append(f"{size}: {name}")
            print(f"{size}: {name}: failed\n{traceback.format_exc(limit=-6)}", flush=True)
    measure(field_, options.rounds, 1 if options.device == "cpu" else 20)
    rows = report(size, field_)
    alone = next((each for each in field_ if each.name == PRODUCTS), None)
    for each in field_ if alone is not None else ():
        if each is not alone and each.precision == "fp32":
            print(f"{size}: {each.name}: {ratio(alone, each, MEAN) / each.seeds:.2f} times its products")
    return rows, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=None)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=1, help="time so many seeds together as well")
    parser.add_argument("--compile", action="store_true", help="time compiled graphs as well")
    parser.add_argument("--jax", action="store_true", help="time a JAX implementation as well")
    parser.add_argument("--products", action="store_true", help="time the matrix products alone as well")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="the contestants that matter most, few rounds")
    parser.add_argument("--smallest", action="store_true", help="tiny networks, one round")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds to begin contestants in")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    begin = time.perf_counter()
    options.quick |= options.smallest
    sizes = options.sizes or (
        ["tiny"] if options.smallest else ["paper"] if options.quick else ["paper", "small", "tiny"]
    )
    options.rounds = options.rounds or (1 if options.smallest else 4 if options.quick else 9)
    keep_freed_memory()
    on_cpu = options.device == "cpu"
    where = torch.backends.cpu.get_cpu_capability() if on_cpu else torch.cuda.get_device_name()
    print(f"torch {torch.__version__}, {where}, {torch.get_num_threads()} threads", flush=True)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    for size in sizes:
        more, failures = run(size, options, begin + options.budget)
        rows, failed = rows + more, failed + failures
        if options.json is not None:
            result = {"torch": torch.__version__, "where": where, "rows": rows}
            options.json.write_text(json.dumps(result, indent=1))
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
