"""Evaluation of all tasks of a family at once: beside one after another, and beside stepping alone.

Usage: OMP_NUM_THREADS=1 python bench/evaluation.py [--family cheetah-vel] [--preset paper] [--rounds 3]
       [--episodes 1] [--store STORE]

An agent as initialised acts zero-shot: z is inferred anew after every step. With a store, few-shot as well:
processor time an episode of a whole evaluation, and of what it cannot do without: the same actions in the
same episodes, the contexts read from the store, verified, and embedded, and the actions computed. Evaluations
while training keep the contexts that they have read.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from measure import interleaved

from clwm_data.families import TaskFamily, get_family
from clwm_data.opening import open_store
from clwm_data.store import Store
from clwm_train.acting.context import RememberingTask, infer_tasks
from clwm_train.evaluation import PolicyActor, RunningBelief, roll_out
from clwm_train.evaluation.protocols import Callbacks, evaluate
from clwm_train.evaluation.rollout import Episodes
from clwm_train.methods.resolve import resolve
from clwm_train.model.agent import Agent
from clwm_train.model.nn import Linear
from clwm_train.runs.run import resolve_for
from clwm_train.settings import CONTEXT_SIZE, EvaluationSettings


def seconds(agent: Agent, family: TaskFamily, groups: Sequence[Sequence[int]], episodes: int) -> float:
    """Time of one roll-out per group of tasks."""
    begin = time.perf_counter()
    for group in groups:
        lanes = [index for index in group for _ in range(episodes)]
        belief = RunningBelief(agent, len(lanes))
        roll_out(PolicyActor(agent), family, lanes, belief, range(len(lanes)))
    return time.perf_counter() - begin


def zero_shot(agent: Agent, family: TaskFamily, episodes: int, rounds: int) -> None:
    """Print the times of all tasks together and one after another."""
    tasks = [index for split in ("train", "id", "ood") for index in family.split(split)]
    together, apart = [], []
    for _ in range(rounds):
        together.append(seconds(agent, family, [tasks], episodes))
        apart.append(seconds(agent, family, [[index] for index in tasks], episodes))
    ratio = statistics.median(a / b for a, b in zip(apart, together, strict=True))
    print(f"{len(tasks)} tasks, {episodes} episodes each, zero-shot")
    print(f"together {statistics.median(together):.2f} s, one after another {statistics.median(apart):.2f} s")
    print(f"{ratio:.1f} x")


def products_of_acting(agent: Agent, kept: Sequence[Episodes]) -> Callable[[], None]:
    """The matrix products of all actions of some episodes."""
    lanes = len(kept[0].tasks)
    inputs: list[tuple[Linear, torch.Tensor]] = []
    linears = [module for module in agent.modules() if isinstance(module, Linear)]
    hooks = [
        linear.register_forward_pre_hook(lambda linear, args: inputs.append((linear, args[0].clone())))
        for linear in linears
    ]
    with torch.no_grad():  # in inference mode the layers' own functions are not called
        feature = agent.features(torch.zeros(1, lanes, agent.observation_size))
        agent.policy.mode(torch.cat([feature, torch.zeros(1, lanes, agent.context_encoder.size)], -1))
    for hook in hooks:
        hook.remove()

    @torch.no_grad()
    def run() -> None:
        for _ in range(sum(part.actions.shape[2] for part in kept)):
            for linear, x in inputs:
                torch.bmm(x, linear.weight)

    return run


def few_shot(agent: Agent, family: TaskFamily, store: Store, episodes: int, rounds: int) -> None:
    """Print the processor times of an evaluation and of its parts."""
    settings = EvaluationSettings(protocols=("few-shot",), episodes=episodes)
    kept: list[Episodes] = []
    callbacks = Callbacks(on_episodes=lambda protocol, part: kept.append(part))
    evaluate(agent, family, store.tasks, settings, callbacks=callbacks)
    count = sum(len(part.tasks) for part in kept)

    def step_alone() -> None:
        for part in kept:
            env = family.make_vec_env(list(part.tasks))
            env.reset(seed=list(part.seeds))
            for step in range(part.actions.shape[2]):
                env.step(part.actions[0, :, step])
            env.close()

    def contexts() -> None:
        infer_tasks(agent, list(store.tasks.values()), CONTEXT_SIZE, 0)

    def reading() -> None:
        for task in store.tasks.values():
            task.load()

    def act_alone() -> None:
        for part in kept:
            observations = torch.from_numpy(part.observations)
            z = torch.zeros(1, len(part.tasks), agent.context_encoder.size)
            for step in range(part.actions.shape[2]):
                agent.act(observations[:, :, step], z)

    products = products_of_acting(agent, kept)
    remembering = {index: RememberingTask(task) for index, task in store.tasks.items()}
    contestants = {
        "few-shot": lambda: evaluate(agent, family, store.tasks, settings),
        "few-shot, contexts kept": lambda: evaluate(agent, family, remembering, settings),
        "stepping alone": step_alone,
        "contexts alone": contexts,
        "of these, reading and verifying": reading,
        "acting alone": act_alone,
        "of this, matrix products": products,
    }
    times = interleaved(contestants, rounds)
    print(f"{len(store.tasks)} tasks, {episodes} episodes each, few-shot; processor time of an episode")
    for name, (_, processor) in times.items():
        ratio = processor / times["stepping alone"][1]
        print(f"{name}: {1e3 * processor / count:.2f} ms, {ratio:.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="cheetah-vel")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=1, help="per task")
    parser.add_argument("--store", help="a store of the family; times few-shot, too")
    parser.add_argument("--only-few-shot", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    family = get_family(options.family)
    config = resolve_for(family, resolve("spc", options.preset))
    agent = Agent(config, [0], family.observation_size, family.action_size).eval()
    print(f"{family.name}, {options.preset}")
    if not options.only_few_shot:
        zero_shot(agent, family, options.episodes, options.rounds)
    if options.store:
        few_shot(agent, family, open_store(options.store), options.episodes, options.rounds)


if __name__ == "__main__":
    main()
