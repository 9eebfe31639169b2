"""Policies of one family for another: ``python -m docs.generate.transferred walker-friction walker-param``.

Writes ``clwm_data/zoo/walker-param``: two stages of policies that were trained where one scale varies, played
as at scale 1. They see no parameter of the new tasks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from clwm_data.behaviour_training.export import (
    BEST,
    EPISODES,
    EVALUATION_SEED,
    SELECTION_SEED,
    WORTHWHILE,
)
from clwm_data.behaviour_training.team import cover
from clwm_data.families import get_family
from clwm_data.zoo.card import (
    Card,
    CheckpointRecord,
    conditioning_record,
    load_policies,
    read_card,
    sha256,
    tensors_bytes,
    write_card,
)
from clwm_data.zoo.evaluation import PolicyEvaluator
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.policy_set import PolicySet, Tensors, pack, unpack

ZOO = Path(__file__).parents[2] / "clwm_data" / "zoo"
#: Most policies that share the tasks of a stage (more would not fit beside the others), and episodes by which
#: they are chosen.
POLICIES, CHOICE = 1, 2
#: Stages from which the policies half way are chosen: another dynamics changes how good they are.
BETWEEN = (25, 50, 75)


class Transfer:
    """Chooses and writes the policies.

    Args:
        source: family whose shipped policies are used; its conditioning is one scale.
        target: family with the same observations and actions.
    """

    def __init__(self, source: str, target: str) -> None:
        self._source, self._family = get_family(source), get_family(target)
        self._card = read_card(ZOO / source, self._source)
        self._tasks = list(range(len(self._family.tasks)))
        self._evaluate = PolicyEvaluator(self._family, self._tasks)

    def candidates(self, quality: int) -> list[tuple[int, Tensors]]:
        """Environment steps and tensors of the policies of a stage."""
        conditioning = self._source.conditioning
        neutral = float(conditioning.scale(np.ones(1))[0])
        size, inputs = self._source.observation_size, len(self._family.conditioning.names)
        record = self._card.checkpoint(quality)
        parts, _ = unpack(load((ZOO / self._source.name / record.file).read_bytes()))
        steps = [number for _, number, _ in record.origins]
        return [(n, blind(part, size, neutral, inputs)) for n, part in zip(steps, parts, strict=True)]

    def measured(self, tensors: Tensors) -> NDArray[np.float64]:
        """Returns [E, 2, T] by which policies are chosen."""
        return self._evaluate(LearnedPolicy(tensors), episodes=CHOICE, seed=SELECTION_SEED)

    def write(self) -> None:
        """Choose stages as training does, from policies of all stages, and write them with a card."""
        best = self.candidates(BEST)
        returns = np.asarray([self.measured(tensors) for _, tensors in best])
        scores = returns.mean(axis=(1, 2))
        low = self.measured(self.candidates(0)[0][1])[:, 0].mean(axis=0)
        chosen = cover(scores, POLICIES, WORTHWHILE * float(scores.max(axis=0).mean() - low.mean()))
        player = scores[chosen].argmax(axis=0)
        high = returns[chosen, :, 0].mean(axis=1)[player, self._tasks]
        between = [candidate for quality in BETWEEN for candidate in self.candidates(quality)]
        target = (low + high) / 2.0
        near = np.asarray(
            [-np.abs(self.measured(tensors)[:, 0] - target).mean(axis=0) for _, tensors in between]
        )
        half = cover(near, POLICIES, WORTHWHILE * float(np.abs(high - low).mean()))
        folder = ZOO / self._family.name
        folder.mkdir(exist_ok=True)
        records = [
            self._record(folder, 50, [between[index] for index in half], near[half].argmax(axis=0)),
            self._record(folder, BEST, [best[index] for index in chosen], player),
        ]
        known = self._card.model_dump(include={"seed", "observation_size", "action_size", "packages"})
        card = Card(
            **known,
            family=self._family.name,
            method=f"CrossQ (sb3-contrib) on {self._source.name}, played as at scale 1, blind to the task",
            tasks=self._tasks,
            evaluation_episodes=EPISODES,
            conditioning=conditioning_record(self._family),
            checkpoints=records,
        )
        write_card(folder, card)
        for record in card.checkpoints:
            load_policies(folder, read_card(folder, self._family), record)

    def _record(
        self, folder: Path, quality: int, team: list[tuple[int, Tensors]], player: NDArray[np.int64]
    ) -> CheckpointRecord:
        used, player = np.unique(player, return_inverse=True)
        steps = [team[index][0] for index in used]
        content = tensors_bytes(pack([team[index][1] for index in used], player))
        file = f"{quality:03d}.safetensors"
        (folder / file).write_bytes(content)
        measured = [
            self._evaluate(policy, episodes=EPISODES, seed=EVALUATION_SEED).mean(axis=0)
            for policy in PolicySet(load(content)).policies
        ]
        returns = np.asarray(measured)[player, :, self._tasks].T
        return CheckpointRecord(
            quality=quality,
            file=file,
            sha256=sha256(content),
            environment_steps=steps[0],
            specialists=steps[1:],
            minutes=self._card.checkpoint(quality).minutes,
            returns_stochastic=returns[0].round(3).tolist(),
            returns_deterministic=returns[1].round(3).tolist(),
        )


def blind(tensors: Tensors, observation_size: int, value: float, inputs: int) -> dict[str, NDArray[Any]]:
    """A policy of an observation and one number, which stays at ``value``, for ``inputs`` numbers instead.

    The value moves into the first bias; the weights of the new inputs are 0.
    """
    last = observation_size
    mean, scale, weight = tensors["input.mean"], tensors["input.scale"], tensors["layer.0.weight"]
    first = np.concatenate([weight[:last], np.zeros((inputs, weight.shape[1]), weight.dtype)])
    return {
        **tensors,
        "input.mean": np.concatenate([mean[:last], np.zeros(inputs, np.float32)]),
        "input.scale": np.concatenate([scale[:last], np.ones(inputs, np.float32)]),
        "layer.0.weight": first,
        "layer.0.bias": tensors["layer.0.bias"] + (value - mean[last]) * scale[last] * weight[last],
    }


if __name__ == "__main__":
    Transfer(*sys.argv[1:3]).write()
