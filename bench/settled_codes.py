"""Train policy and critics anew on the frozen representation of a finished run.

Compare the returns with those of the run itself, whose codes moved while policy and critics learned from
them, and with those of ``--features observation``, where they see the observation in place of the codes.

Usage: OMP_NUM_THREADS=1 python bench/settled_codes.py RUN STORE [--features codes] [--steps 6000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from clwm_data import open_store
from clwm_train import EvaluationSettings, evaluate_run, load_agent, load_task_data, open_run
from clwm_train.metrics.aggregate import iqm
from clwm_train.report.scores import gather_scores
from clwm_train.runs.run import Run, describe_run, write_run
from clwm_train.settings import Execution
from clwm_train.training.trainer import Trainer

#: Nothing but policy and critics learns.
STILL = {
    "representation_every": 1_000_000_000,
    "context.learning_rate": 1e-30,
    "world_model.learning_rate": 1e-30,
    "world_model.weight_decay": 0.0,
}


def train_on(trained: Run, store: str, features: str, steps: int, out: Path, compiles: bool) -> Run:
    """A run with the context encoder and world model of another one, and a policy and critics of its own."""
    data = open_store(store)
    values = trained.config.model_dump(mode="json")
    for key, value in {**STILL, "features": features, "steps": steps}.items():
        *parents, last = key.split(".")
        inner = values
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    config = type(trained.config).model_validate(values)
    record = trained.record
    run = write_run(
        describe_run(
            out, data, config, method=record.method, preset=record.preset, seeds=record.seeds, label=features
        )
    )
    trainer = Trainer(run, load_task_data(data, config.data), compiles=compiles, trackers=())
    before, agent = load_agent(trained).eval(), trainer.learner.agent
    for name in ("context_encoder", "world_model"):
        getattr(agent, name).load_state_dict(getattr(before, name).state_dict())
    trainer.train(
        steps, on_progress=lambda step, _: step % 500 or print(f"{step:,} updates", file=sys.stderr)
    )
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store")
    parser.add_argument("--features", default="codes", choices=["codes", "observation", "both"])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder of the new run; by default it is not kept")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "run"
        trained, compiles = open_run(options.run), not options.no_compile
        run = train_on(trained, options.store, options.features, options.steps, out, compiles)
        settings = EvaluationSettings(protocols=["few-shot"], episodes=options.episodes)
        evaluation = evaluate_run(run, open_store(options.store), settings, execution=Execution())
        for score in gather_scores([(run, evaluation)]):
            if score.normalised is not None:
                print(f"{score.dataset}, {options.features}, {score.split}: IQM {iqm(score.normalised):.2f}")


if __name__ == "__main__":
    main()
