"""Updates on a GPU, recorded as CUDA graphs: an update is a few hundred short kernels, and launching them one
by one takes the host longer than the GPU takes to run them.
"""

from __future__ import annotations

import torch

from clwm_train.data.sampler import TaskBatchSampler
from clwm_train.kernels.streams import RandomStreams
from clwm_train.kernels.tape import Tape
from clwm_train.training.learner import Learner, Metrics

#: Updates of a kind before one is recorded: they compile, create the optimisers' moments and choose kernels.
WARM_UP = 3


class RecordedUpdates:
    """Draws batches and updates a learner, with the same random numbers as an update without a recording.

    The draw of the batch from data on the GPU is part of the recording, so the host's work is to draw random
    numbers and to start one graph. With and without an update of the representation are two recordings.

    Args:
        learner: the learner, on a GPU.
        sampler: draws the batches, from data on the same GPU.
        streams: random numbers of that GPU.
    """

    def __init__(self, learner: Learner, sampler: TaskBatchSampler, streams: RandomStreams) -> None:
        self._learner = learner
        self._sampler = sampler
        self._streams = streams
        self._recordings: dict[bool, _Recording] = {}
        learner.use_recordable_optimisers(streams.device)

    def update(self, step: int, pace: float = 1.0) -> Metrics:
        """Update ``step``; see :meth:`Learner.update`. The next update overwrites the metrics."""
        self._learner.set_pace(pace)
        kind = self._learner.represents(step)
        if kind not in self._recordings:
            self._recordings[kind] = _Recording(self._learner, self._sampler, Tape(self._streams))
        with torch.cuda.device(self._streams.device):
            return self._recordings[kind].run(step)


class _Recording:
    """One kind of update: run a few times, then recorded, then replayed."""

    def __init__(self, learner: Learner, sampler: TaskBatchSampler, tape: Tape) -> None:
        self._learner = learner
        self._sampler = sampler
        self._tape = tape
        self._done = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._metrics: Metrics = {}

    def run(self, step: int) -> Metrics:
        self._tape.rewind(step)
        if self._done < WARM_UP:
            self._done += 1
            return self._warm_up(step)
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            for parameter in self._learner.parameters():
                parameter.grad = None  # the recording allocates its own
            with torch.cuda.graph(self._graph):  # records, and runs nothing
                self._metrics = self._learn(step)
        self._graph.replay()
        return self._metrics

    def _learn(self, step: int) -> Metrics:
        return self._learner.learn(self._sampler.batch(step, self._tape), step, self._tape)

    def _warm_up(self, step: int) -> Metrics:
        """An update on a stream of its own, as torch asks for before a recording."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            metrics = self._learn(step)
        torch.cuda.current_stream().wait_stream(stream)
        return metrics
