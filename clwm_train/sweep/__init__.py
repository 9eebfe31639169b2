"""Experiments: methods x stores x seeds, trained, evaluated and analysed, resumable at any moment."""

from clwm_train.sweep.engine import ENGINES, Engine
from clwm_train.sweep.experiment import Experiment, check_names, list_jobs, narrow, read_experiment
from clwm_train.sweep.job import Job, JobState, check_job, job_state, run_job

__all__ = [
    "ENGINES",
    "Engine",
    "Experiment",
    "Job",
    "JobState",
    "check_job",
    "check_names",
    "job_state",
    "list_jobs",
    "narrow",
    "read_experiment",
    "run_job",
]
