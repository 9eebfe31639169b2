"""Lanes in worker processes, for simulators that hold Python's global interpreter lock while they step."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.families.simulation.simulator import Simulator, StepResult

#: Builds the simulator of some lanes, given their tasks; it is sent to the workers, so it must pickle.
Factory = Callable[[Sequence[int]], Simulator]

Call = tuple[str, tuple[Any, ...]]  # a method of the simulator and its arguments

_JOIN_SECONDS = 5.0


class ProcessLanes(Simulator):
    """The lanes of a simulator, dealt out to worker processes in contiguous groups.

    Lanes are independent, so the result is bit-identical to one simulator that holds them all. Workers are
    spawned: a script that uses them needs the usual ``if __name__ == "__main__":``.
    """

    def __init__(self, name: str, factory: Factory, tasks: Sequence[int], *, workers: int) -> None:
        """Start the workers and wait until each has built its simulator.

        Args:
            name: what is simulated, for messages.
            factory: see :data:`Factory`.
            tasks: task index of each lane.
            workers: number of processes; at most one per lane is started.

        Raises:
            ClwmError: a simulator could not be built, or a worker did not start.
        """
        self.tasks = np.asarray(tasks, np.int64)
        self._name = name
        lanes = np.array_split(np.arange(len(tasks)), min(workers, len(tasks)))
        self._groups = [slice(int(group[0]), int(group[-1]) + 1) for group in lanes]
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._close = weakref.finalize(self, _shut_down, self._connections, self._processes)
        self._seen: dict[int, tuple[NDArray[np.float64], NDArray[np.float64] | None]] = {}
        try:
            for group in self._groups:
                self._start(factory, tasks[group])
            self._receive(range(len(self._groups)))
        except BaseException:
            self.close()
            raise

    def _start(self, factory: Factory, tasks: Sequence[int]) -> None:
        context = multiprocessing.get_context("spawn")
        connection, worker_end = context.Pipe()
        process = context.Process(
            target=_serve, args=(worker_end, factory, list(tasks)), name=f"{self._name} lanes", daemon=True
        )
        process.start()
        worker_end.close()  # held open here, it would hide the worker's death
        self._connections.append(connection)
        self._processes.append(process)

    def reset(self, lanes: NDArray[np.int64], seeds: Sequence[int]) -> None:
        """As the simulator's; calls only the workers that hold one of ``lanes``."""
        calls: dict[int, Call] = {}
        for worker, group in enumerate(self._groups):
            own = np.flatnonzero((lanes >= group.start) & (lanes < group.stop))
            if len(own):
                calls[worker] = ("reset", (lanes[own] - group.start, [seeds[int(i)] for i in own]))
        self._call(calls)

    def step(self, action: NDArray[np.float64], active: NDArray[np.bool_]) -> StepResult:
        """As the simulator's; all workers step at the same time."""
        calls: dict[int, Call] = {
            worker: ("step", (action[group], active[group])) for worker, group in enumerate(self._groups)
        }
        results: list[StepResult] = list(self._call(calls).values())
        successes = [result.success for result in results if result.success is not None]
        cuts = [result.truncated for result in results if result.truncated is not None]
        dense = [result.dense_reward for result in results if result.dense_reward is not None]
        return StepResult(
            reward=np.concatenate([result.reward for result in results]),
            terminated=np.concatenate([result.terminated for result in results]),
            success=np.concatenate(successes) if successes else None,
            truncated=np.concatenate(cuts) if cuts else None,
            dense_reward=np.concatenate(dense) if dense else None,
        )

    def observe(self) -> NDArray[np.float64]:
        """As the simulator's; every reply of a worker contains its lanes' part."""
        return np.concatenate([observation for observation, _ in self._seen.values()])

    def privileged(self) -> NDArray[np.float64] | None:
        """As the simulator's; every reply of a worker contains its lanes' part."""
        parts = [privileged for _, privileged in self._seen.values() if privileged is not None]
        return np.concatenate(parts) if parts else None

    def get_state(self, lane: int) -> NDArray[np.float64]:
        """As the simulator's."""
        state: NDArray[np.float64] = self._call_lane(lane, "get_state")
        return state

    def set_state(self, lane: int, state: NDArray[np.float64]) -> None:
        """As the simulator's."""
        self._call_lane(lane, "set_state", state)

    def render(self, lane: int) -> NDArray[np.uint8]:
        """As the simulator's."""
        picture: NDArray[np.uint8] = self._call_lane(lane, "render")
        return picture

    def close(self) -> None:
        """End the workers; a second call does nothing."""
        self._close()

    def _call_lane(self, lane: int, method: str, *arguments: Any) -> Any:
        worker = next(w for w, group in enumerate(self._groups) if group.start <= lane < group.stop)
        return self._call({worker: (method, (lane - self._groups[worker].start, *arguments))})[worker]

    def _call(self, calls: Mapping[int, Call]) -> dict[int, Any]:
        """Make calls in several workers at once.

        Returns:
            the results by worker.

        Raises:
            ClwmError: an error in a worker, a worker that is gone, or the lanes were closed.
        """
        if not self._close.alive:
            raise UnavailableError(
                f"{self._name}: its worker processes were closed, or interrupted at work: make it anew"
            )
        try:
            for worker, call in calls.items():
                try:
                    self._connections[worker].send(call)
                except OSError:
                    raise self._gone(worker) from None
            return self._receive(calls)
        except ClwmError:
            raise
        except BaseException:  # Ctrl-C: replies are under way that the next call would take for its own
            self.close()
            raise

    def _receive(self, workers: Iterable[int]) -> dict[int, Any]:
        results: dict[int, Any] = {}
        failure: tuple[str, str] | None = None
        for worker in workers:  # all of them, even after a failure: no reply may stay in a pipe
            try:
                error, result, observation, privileged = self._connections[worker].recv()
            except (EOFError, OSError):
                raise self._gone(worker) from None
            if error is None:
                results[worker] = result
                self._seen[worker] = (observation, privileged)
            failure = failure or error
        if failure is not None:
            line, remote = failure
            raise UnavailableError(f"{self._name}: {line}") from WorkerTraceback(remote)
        return results

    def _gone(self, worker: int) -> UnavailableError:
        process = self._processes[worker]
        process.join(_JOIN_SECONDS)
        self.close()
        return UnavailableError(
            f"{self._name}: a worker process ended (exit code {process.exitcode}): use fewer workers if "
            'memory ran out; a script that starts workers needs `if __name__ == "__main__":`'
        )


class WorkerTraceback(Exception):
    """Cause of an error that happened in a worker: the worker's traceback as text."""


def _serve(connection: Connection, factory: Factory, tasks: Sequence[int]) -> None:
    """Worker: serve calls until the pipe closes, which also happens when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and closes the pipe
    try:
        simulator = factory(tasks)
        connection.send((None, None, simulator.observe(), simulator.privileged()))
    except Exception as error:
        connection.send((_described(error), None, None, None))
        return
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            break
        reply: tuple[Any, ...]
        try:
            result = getattr(simulator, method)(*arguments)
            reply = (None, result, simulator.observe(), simulator.privileged())
        except Exception as error:
            reply = (_described(error), None, None, None)
        try:
            connection.send(reply)
        except OSError:
            break
    simulator.close()


def _described(error: Exception) -> tuple[str, str]:
    """One line for the user and the traceback for ``--debug``."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ClwmError) else f"{type(error).__name__}: {text}", traceback.format_exc()


def _shut_down(connections: Sequence[Connection], processes: Sequence[BaseProcess]) -> None:
    """Close the pipes, which ends the workers; those still busy after a while are terminated."""
    for connection in connections:
        connection.close()
    for process in processes:
        process.join(_JOIN_SECONDS)
        if process.is_alive():
            process.terminate()
            process.join()
