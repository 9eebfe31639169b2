"""A family declared in YAML, as a :class:`TaskFamily`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any

from clwm_data.families.base import Task, TaskFamily
from clwm_data.families.declared.declaration import FamilyDeclaration, ProbedFacts
from clwm_data.families.simulation.simulator import Simulator
from clwm_data.functions import is_code
from clwm_data.trust import check_allowed, remember

#: Steps of the episodes that tell whether an environment is deterministic.
PROBE_STEPS = 25


class DeclaredFamily(TaskFamily):
    """Tasks over a Gymnasium environment; see :class:`FamilyDeclaration`.

    Args:
        declaration: the declaration.
        trusted: the user wrote the declaration; otherwise it came with data, and code that it names is run
            only if :mod:`clwm_data.trust` allows it.
    """

    benchmark = "gymnasium"
    has_states = False

    def __init__(self, declaration: FamilyDeclaration, *, trusted: bool) -> None:
        self.declaration = declaration
        self._trusted = trusted
        self.name = declaration.name
        self.horizon = declaration.horizon
        self.dynamics_vary = declaration.varies == "dynamics"
        self.has_success = declaration.success is not None
        from clwm_data.families.declared.batched import can_batch

        self._batched = can_batch(declaration)
        # Of environments that each step on their own, more gain nothing.
        self.lanes = TaskFamily.lanes if self._batched else 8
        names = ", ".join(declaration.task_list()[0].parameters)
        self.summary = declaration.summary or f"{declaration.env}; what varies: {names}"

    def list_tasks(self) -> Iterable[Task]:
        """As declared."""
        return self.declaration.task_list()

    @property
    def observation_size(self) -> int:  # type: ignore[override]
        """Entries of the flattened observation."""
        return self.probed.observation_size

    @property
    def action_size(self) -> int:  # type: ignore[override]
        """Entries of the flattened action, or number of discrete actions."""
        return self.probed.action_size

    @property
    def discrete(self) -> bool:  # type: ignore[override]
        """Actions are discrete."""
        return self.probed.discrete

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        """An episode follows from its seed and its actions."""
        return self.probed.deterministic

    @cached_property
    def probed(self) -> ProbedFacts:
        """The facts in the declaration, or else those probed from the first and the last task's environments.

        Raises:
            ClwmError: they cannot be made, or their spaces cannot be used or differ.
        """
        if self.declaration.probed is not None:
            return self.declaration.probed
        self._check_allowed()
        from clwm_data.families.declared.probe import probe

        return probe(self.declaration, (self.tasks[0], self.tasks[-1]), min(PROBE_STEPS, self.horizon))

    def resolved(self) -> FamilyDeclaration:
        """The declaration with the probed facts, as stores and runs keep it.

        If the user wrote the declaration, the code that it names is trusted from now on.
        """
        resolved = self.declaration.model_copy(update={"probed": self.probed})
        if self._trusted:
            remember(self._code)
        return resolved

    @property
    def _code(self) -> list[str]:
        """The functions that the declaration names; environments that Gymnasium knows need no permission."""
        names = (self.declaration.env, self.declaration.apply)
        return [name for name in names if name is not None and is_code(name)]

    def _check_allowed(self) -> None:
        if not self._trusted:
            check_allowed(self._code, f"family {self.name}")

    def make_simulator(
        self, tasks: Sequence[int], *, threads: int = 1, render_mode: str | None = None
    ) -> Simulator:
        """A loop over environments, in worker processes given several threads and lanes.

        Contexts over Gymnasium's MuJoCo environments are stepped side by side where that is known to give the
        same bits.
        """
        self._check_allowed()
        if self._batched:
            from clwm_data.families.declared.batched import batched_simulator

            chosen = [self.tasks[task] for task in tasks]
            return batched_simulator(self.declaration, chosen, threads=threads, render_mode=render_mode)
        make = partial(_simulator, self.declaration, render_mode)
        if threads > 1 and len(tasks) > 1:
            # Here, since whoever only asks for tasks needs no processes.
            from clwm_data.families.simulation.process_lanes import ProcessLanes

            return ProcessLanes(self.name, make, tasks, workers=threads)
        return make(tasks)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles as its declaration."""
        return declared_family, (self.declaration, self._trusted)


def _simulator(declaration: FamilyDeclaration, render_mode: str | None, tasks: Sequence[int]) -> Simulator:
    from clwm_data.families.declared.simulator import DeclaredSimulator

    known = declaration.task_list()
    return DeclaredSimulator(declaration, [known[task] for task in tasks], render_mode=render_mode)


def declared_family(declaration: FamilyDeclaration, trusted: bool) -> DeclaredFamily:
    """The family of a declaration; the same object for the same content."""
    return _built(declaration.model_dump_json(), trusted)


@lru_cache(maxsize=64)
def _built(declaration: str, trusted: bool) -> DeclaredFamily:
    return DeclaredFamily(FamilyDeclaration.model_validate_json(declaration), trusted=trusted)
