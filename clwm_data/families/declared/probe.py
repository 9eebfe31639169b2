"""Probing the sizes and the determinism of an environment (needs the extra ``sim``)."""

from __future__ import annotations

from collections.abc import Sequence

from clwm_data.errors import InvalidInputError
from clwm_data.families.base import Task
from clwm_data.families.declared.declaration import FamilyDeclaration, ProbedFacts
from clwm_data.families.declared.simulator import DeclaredSimulator, repeats


def probe(declaration: FamilyDeclaration, tasks: Sequence[Task], steps: int) -> ProbedFacts:
    """Sizes of the environments of some tasks, and whether their episodes can be repeated.

    Raises:
        ClwmError: an environment cannot be made or used.
        InvalidInputError: the tasks' spaces differ.
    """
    facts = []
    for task in tasks:
        simulator = DeclaredSimulator(declaration, [task])
        try:
            translation = simulator.translation
            facts.append(
                ProbedFacts(
                    observation_size=translation.observation_size,
                    action_size=translation.action_size,
                    discrete=translation.discrete,
                    deterministic=repeats(simulator, steps),
                )
            )
        finally:
            simulator.close()
    sizes = {(fact.observation_size, fact.action_size, fact.discrete) for fact in facts}
    if len(sizes) > 1:
        raise InvalidInputError(
            f"family {declaration.name}: observations or actions of tasks {tasks[0].index} and "
            f"{tasks[-1].index} differ in size: one agent cannot act in both"
        )
    return facts[0].model_copy(update={"deterministic": all(fact.deterministic for fact in facts)})
