"""The reference of the Python interface: a hook of mkdocs puts it where docs/api.md has a mark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import clwm_data
import clwm_train

MARK = "<!-- api -->"

#: Every public name of the two packages, once, in the order of the page.
GROUPS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "Stores": (clwm_data, ("open_store", "Store", "StoredTask", "TaskArrays", "Episode", "validate")),
    "Collecting and recording": (
        clwm_data,
        ("collect", "Manifest", "load_manifest", "Recorder", "recover_recording"),
    ),
    "Other formats": (clwm_data, ("convert_from", "convert_to")),
    "Editing": (clwm_data, ("select", "merge", "delete_episodes", "relabel")),
    "Sharing": (clwm_data, ("push", "pull")),
    "Task families": (
        clwm_data,
        (
            *("get_family", "family_names", "register_family", "TaskFamily", "Task", "splits_of"),
            *("Simulator", "StepResult"),
        ),
    ),
    "Training": (
        clwm_train,
        ("train", "TrainConfig", "DataConfig", "BatchConfig", "Execution", "open_run", "Run"),
    ),
    "Agents": (clwm_train, ("load_agent", "Agent", "AdaptedPolicy")),
    "Evaluation and analysis": (
        clwm_train,
        (
            *("evaluate_run", "evaluate", "EvaluationSettings", "PlannerConfig", "Evaluation"),
            *("save_evaluation", "read_evaluations", "analyse", "AnalysisSettings", "point_robot_figure"),
        ),
    ),
    "Your own loop": (clwm_train, ("load_task_data", "TaskData", "TaskBatchSampler", "TaskBatch")),
    "Errors": (
        clwm_data,
        (
            *("ClwmError", "InvalidInputError", "NotFoundError", "DamagedDataError", "ConflictError"),
            *("UnavailableError", "DivergedError"),
        ),
    ),
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs' hook: the text of a page, before it is rendered."""
    return markdown.replace(MARK, "\n".join(reference())) if MARK in markdown else markdown


def on_page_content(html: str, **_: Any) -> str:
    """mkdocs' hook: the rendered page. Of roles in docstrings (``:class:``) the name stays, of ``::`` one."""
    html = re.sub(r":(?:class|func|meth|mod|attr|data):<code>~?([^<]*)</code>", r"<code>\1</code>", html)
    return html.replace("::</p>", ":</p>")


def reference() -> Iterator[str]:
    """Lines of Markdown: every public name under the heading of its group, by the name it is imported by."""
    for title, (package, names) in GROUPS.items():
        yield f"## {title}\n"
        for name in names:
            object_ = getattr(package, name)
            yield f"::: {object_.__module__}.{object_.__qualname__}"
            yield "    options:"
            yield f"      heading: {package.__name__}.{name}"
            yield f"      toc_label: {name}\n"
