"""Trainer: contextual latent world models, their baselines, and their evaluation.

From data to returns on tasks that the agent was never trained on::

    run = clwm_train.train("data/point-robot.zarr", method="spc", preset="tiny")
    evaluation = clwm_train.evaluate_run(run, clwm_data.open_store("data/point-robot.zarr"))
    agent = clwm_train.load_agent(run)

Importing this package does not import torch; using its contents does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clwm_train.acting.adaptive import AdaptedPolicy
    from clwm_train.acting.adaptive import AdaptiveAgent as Agent
    from clwm_train.analysis.run import analyse
    from clwm_train.config import BatchConfig, DataConfig, TrainConfig
    from clwm_train.data.sampler import TaskBatch, TaskBatchSampler
    from clwm_train.data.task_data import TaskData, load_task_data
    from clwm_train.evaluation.protocols import evaluate
    from clwm_train.evaluation.results import Evaluation, read_evaluations, save_evaluation
    from clwm_train.evaluation.run import evaluate_run
    from clwm_train.report.point_robot_figure import point_robot_figure
    from clwm_train.runs.loading import load_agent
    from clwm_train.runs.run import Run, open_run
    from clwm_train.settings import AnalysisSettings, EvaluationSettings, Execution, PlannerConfig
    from clwm_train.train_store import train

# Name -> the module that it is imported from on first access.
_LAZY = {
    "AdaptedPolicy": "acting.adaptive",
    "AnalysisSettings": "settings",
    "BatchConfig": "config",
    "DataConfig": "config",
    "Evaluation": "evaluation.results",
    "EvaluationSettings": "settings",
    "Execution": "settings",
    "PlannerConfig": "settings",
    "Run": "runs.run",
    "TaskBatch": "data.sampler",
    "TaskBatchSampler": "data.sampler",
    "TaskData": "data.task_data",
    "TrainConfig": "config",
    "analyse": "analysis.run",
    "evaluate": "evaluation.protocols",
    "evaluate_run": "evaluation.run",
    "load_agent": "runs.loading",
    "load_task_data": "data.task_data",
    "open_run": "runs.run",
    "point_robot_figure": "report.point_robot_figure",
    "read_evaluations": "evaluation.results",
    "save_evaluation": "evaluation.results",
    "train": "train_store",
}

__all__ = [
    "AdaptedPolicy",
    "Agent",
    "AnalysisSettings",
    "BatchConfig",
    "DataConfig",
    "Evaluation",
    "EvaluationSettings",
    "Execution",
    "PlannerConfig",
    "Run",
    "TaskBatch",
    "TaskBatchSampler",
    "TaskData",
    "TrainConfig",
    "analyse",
    "evaluate",
    "evaluate_run",
    "load_agent",
    "load_task_data",
    "open_run",
    "point_robot_figure",
    "read_evaluations",
    "save_evaluation",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "Agent":  # the agent for users is the adaptive one
        return import_module(f"{__name__}.acting.adaptive").AdaptiveAgent
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
