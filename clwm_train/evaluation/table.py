"""The results of an evaluation as text, for a terminal or a notebook."""

from __future__ import annotations

from clwm_data.pages.aligned import aligned
from clwm_train.evaluation.protocols import Results


def results_lines(results: Results) -> list[str]:
    """Lines of the table of one agent's results; where a family joins several benchmarks, of a second one."""
    entries = [(name, part, entry) for name, parts in results.items() for part, entry in parts.items()]
    optional = [
        (title, key)
        for title, key in (("normalised (mean)", "normalised_mean"), ("success", "success"))
        if any(key in entry for _, _, entry in entries)
    ]
    rows = [
        (
            name,
            part,
            f"{entry['return_mean']:.2f}",
            *(f"{entry[key]:.3f}" if key in entry else "-" for _, key in optional),
            str(len(entry["tasks"])),
        )
        for name, part, entry in entries
    ]
    lines = aligned(("protocol", "split", "return", *(title for title, _ in optional), "tasks"), rows)
    groups = [
        (
            protocol,
            split,
            name,
            f"{group['return_mean']:.2f}",
            f"{group['success']:.3f}" if "success" in group else "-",
            str(group["tasks"]),
        )
        for protocol, split, entry in entries
        for name, group in entry.get("groups", {}).items()
    ]
    if groups:
        lines += ["", *aligned(("protocol", "split", "benchmark", "return", "success", "tasks"), groups)]
    return lines
