"""Engines that run the jobs of an experiment: a pool of processes, or Ray."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol

from clwm_data.collection.ray_pool import join_cluster
from clwm_data.disk import describe
from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.extras import require
from clwm_data.pages.numbers import plural
from clwm_data.workers import end_with_parent
from clwm_train.sweep.job import Job, run_job
from clwm_train.training.trainer import UpdateCallback

#: A job and why it failed, or ``None``.
Outcome = tuple[Job, str | None]


class Engine(Protocol):
    """Runs jobs."""

    def __call__(self, jobs: Sequence[Job], workers: int, until: float | None) -> Iterator[Outcome]:
        """Run jobs, and yield each when it ends; a job that fails does not affect the others.

        Args:
            jobs: the jobs.
            workers: number of jobs at a time.
            until: time at which jobs stop, finished or not, in seconds since the epoch.
        """


def attempt(
    job: Job,
    until: float | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_progress: UpdateCallback | None = None,
) -> str | None:
    """Run a job until it is done, ``until`` is reached or ``stop`` returns true; returns why it failed, or
    ``None``.

    Tracebacks of failures that are not the user's mistake (out of memory, a bug) go to standard error.
    """
    try:
        run_job(
            job, stop=lambda: stop() or (until is not None and time.time() > until), on_progress=on_progress
        )
    except ClwmError as error:
        return str(error)
    except OSError as error:
        return describe(error, job.run)
    except Exception as error:  # whatever it is, the other jobs must continue
        traceback.print_exc()
        return f"{job.run}: {type(error).__name__}: {error}"
    return None


def local(jobs: Sequence[Job], workers: int, until: float | None) -> Iterator[Outcome]:
    """Run each job in a process on this machine. The processes end with this one, however it ends; if one
    dies (killed for lack of memory, for example), only its own job fails.
    """
    # Spawned, not forked: torch and simulators hold threads that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    waiting = list(jobs)
    running: dict[Any, tuple[Job, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, until, sender))
                process.start()
                sender.close()  # now only the process holds it, so that its death closes it
                running[receiver] = job, process
            for ended in wait(list(running)):
                job, process = running.pop(ended)
                yield job, _outcome(job, ended, process)
    finally:
        for _, process in running.values():
            process.terminate()


def _work(job: Job, until: float | None, sender: Connection[Any, Any]) -> None:
    end_with_parent()
    sender.send(attempt(job, until))


def _outcome(job: Job, receiver: Any, process: SpawnProcess) -> str | None:
    try:
        error: str | None = receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        names = {int(one): one.name for one in signal.Signals}  # not of every signal
        how = f"killed by {names.get(-code, f'signal {-code}')}" if code < 0 else f"exit code {code}"
        return f"{job.run}: its process died ({how}; out of memory?): train fewer at once with --jobs"
    process.join()
    return error


def ray(jobs: Sequence[Job], workers: int, until: float | None) -> Iterator[Outcome]:
    """Run jobs as tasks on a Ray cluster whose machines share the folders of stores and runs.

    Raises:
        UnavailableError: Ray is not installed, there is no cluster to join, or none of its machines has what
            a job takes: Ray would wait for one for ever.
    """
    library: Any = require("ray", "ray", "--engine ray")
    begun_here = not library.is_initialized()
    if begun_here:
        join_cluster(library)
    task = library.remote(max_retries=0)(attempt)
    waiting = list(jobs)
    running: dict[Any, Job] = {}
    try:
        machines = [machine["Resources"] for machine in library.nodes() if machine["Alive"]]
        shares = {job.run: _share(job, machines) for job in waiting}
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                options = task.options(**shares[job.run])
                running[options.remote(_for_other_machines(job), until)] = job
            for reference in library.wait(list(running))[0]:
                job = running.pop(reference)
                try:
                    yield job, library.get(reference)
                except library.exceptions.RayError as error:
                    yield job, f"{job.run}: its Ray task was lost ({type(error).__name__}; out of memory?)"
    finally:
        for reference in running:
            library.cancel(reference, force=True)
        if begun_here:
            library.shutdown()


def _share(job: Job, machines: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """CPUs and GPUs that a job takes of one of the machines, as Ray calls them."""
    cpus, device = job.execution.threads or 1, job.execution.device
    gpus = int(device != "cpu" and (device != "auto" or any(machine.get("GPU", 0) for machine in machines)))
    if not any(machine.get("CPU", 0) >= cpus and machine.get("GPU", 0) >= gpus for machine in machines):
        needed = plural(cpus, "CPU") + (" and a GPU" if gpus else "")
        raise UnavailableError(
            f"no machine of the Ray cluster has {needed}: use fewer --threads or --device cpu, or add one"
        )
    return {"num_cpus": cpus, "num_gpus": gpus}


def _for_other_machines(job: Job) -> Job:
    """The job with absolute paths, since a task has another working folder."""

    def absolute(name: str) -> str:
        return str(Path(name).absolute()) if name.endswith((".yaml", ".yml")) else name

    return replace(
        job,
        run=job.run.absolute(),
        store=job.store.absolute(),
        method=absolute(job.method),
        preset=absolute(job.preset),
    )


ENGINES: dict[str, Engine] = {"local": local, "ray": ray}
