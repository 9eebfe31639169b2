"""The verbs of the command line as functions: train a run, load its agent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.store import Store
from clwm_train.agent import Agent
from clwm_train.allocator import keep_freed_memory
from clwm_train.checkpoint import AGENT, check_shapes, latest_checkpoint, load_module, read_tensors
from clwm_train.compiler import decide
from clwm_train.evaluate import Actor, PolicyActor
from clwm_train.mapped import Memory, read_task_data
from clwm_train.planning import MPPI, PlannerConfig
from clwm_train.precision import matmul_precision
from clwm_train.profile import Shares
from clwm_train.run import Run, check_same_data
from clwm_train.threads import best_threads, cpu_threads, is_large
from clwm_train.trainer import Progress, Trainer


def pick_device(name: str) -> torch.device:
    """A device by name; ``auto`` is a GPU where there is one.

    Raises:
        ClwmError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ClwmError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def train_run(
    run: Run,
    store: Store,
    *,
    steps: int | None = None,
    device: torch.device | str = "cpu",
    threads: int | None = None,
    memory: Memory = "auto",
    compiles: bool | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    profiled: Callable[[Shares], None] | None = None,
) -> bool:
    """Train a run on its store from where it stands.

    Large networks on CPU: from then on the process keeps freed memory (:mod:`clwm_train.allocator`).

    Args:
        run: new, or interrupted.
        store: the data that the run began with.
        steps: updates in all; the configuration's unless given.
        device: to train on.
        memory: whether the data is held on the device, or mapped from files of the cache; the same bits.
        threads: of the CPU; one for small networks and all cores for large ones unless given.
        compiles: compute losses and gradients as compiled graphs (:mod:`clwm_train.compiler`): quicker after
            a minute or two; sums round differently. ``None``: in runs of 10,000 updates or more, where there
            is a compiler (else a warning).
        stop: asked after every update whether to stop (with a checkpoint).
        progress: told after every update.
        profiled: trace some updates into the run's folder, and tell each part's share of the time.

    Returns:
        whether all steps are done.

    Raises:
        ClwmError: the store holds other data than the run began with, the training diverged, more steps are
            asked for than the learning rates fall over, or nothing can be compiled here.
    """
    check_same_data(run, store)
    most = run.config.steps
    if run.config.learning_rate_decay and steps is not None and steps > most:
        raise ClwmError(
            f"{run.path}: its learning rates fall to 0 at update {most:,} (learning_rate_decay), so it "
            f"cannot go on to {steps:,}: train a new run with --steps {steps}"
        )
    device = torch.device(device)
    compiles = decide(compiles, most, device)
    data = read_task_data(store, run.config.data, device=device, memory=memory)
    trainer = Trainer(run, data, device, compiles=compiles)
    agent, batch = trainer.learner.agent, run.config.batch
    if device.type == "cpu" and is_large(agent, batch):
        keep_freed_memory()
    count = threads or best_threads(agent, batch)
    with cpu_threads(count), matmul_precision(run.config.precision):
        return trainer.train(steps or run.config.steps, stop=stop, progress=progress, profiled=profiled)


def make_actor(
    agent: Agent, planner: PlannerConfig | None = None, seed: int = 0, noise: float = 0.0
) -> Actor:
    """Who acts in an evaluation: the agent's policy (with noise), or MPPI with its world model.

    Raises:
        ClwmError: a planner is wanted, and the agent has no world model.
        ValueError: noise of the policy is wanted where a planner acts.
    """
    if planner is not None and noise:
        raise ValueError("noise is the policy's, and the planner acts")
    return PolicyActor(agent, noise, seed) if planner is None else MPPI(agent, planner, seed)


def load_agent(run: Run, *, checkpoint: Path | None = None, device: torch.device | str = "cpu") -> Agent:
    """The agent of a run's checkpoint, the latest unless given.

    Raises:
        ClwmError: there is no checkpoint, it is damaged, or it does not fit the run's configuration.
    """
    folder = checkpoint or latest_checkpoint(run.checkpoints)
    record = run.record
    family = get_family(record.family)
    sizes = (run.config, record.seeds, family.observation_size, family.action_size)
    # A configuration may come from anywhere: it is built only when the tensors in the file are seen to fit.
    try:
        with torch.device("meta"):
            shapes = {name: tuple(tensor.shape) for name, tensor in Agent(*sizes).state_dict().items()}
    except (RuntimeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise ClwmError(f"{run.path}: config.yaml describes no agent that can be built: {reason}") from error
    check_shapes(folder / AGENT, shapes)
    agent = Agent(*sizes)
    load_module(agent, read_tensors(folder / AGENT), folder / AGENT)
    return agent.to(device).eval()
