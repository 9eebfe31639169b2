"""docs/figures/results-datasets.svg, from the table in docs/results.md.

Command: ``python -m docs.generate.results_figure docs``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from clwm_data.pages.charts import Chart
from clwm_train.metrics.aggregate import Interval
from clwm_train.report.figure import QUARTER, common_axis, estimates, method_classes

COLUMNS = ("few-shot id", "few-shot ood", "zero-shot id", "zero-shot ood")
NUMBER = r"(-?\d+\.\d+)"

#: dataset -> column -> method -> IQM of normalised returns and its interval.
Table = dict[str, dict[str, dict[str, Interval]]]


def read_table(page: str) -> Table:
    """The comparison with baselines, as the page has it.

    Raises:
        ValueError: the page has no such table.
    """
    lines = page.splitlines()
    starts = [
        place for place, line in enumerate(lines) if line.startswith("| dataset | method | few-shot id")
    ]
    if len(starts) != 1:
        raise ValueError("the page must have one table of datasets and methods")
    header = _cells(lines[starts[0]])
    table: Table = {}
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        row = dict(zip(header, _cells(line), strict=True))
        for column in COLUMNS:
            found = re.fullmatch(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", row[column])
            if found is None:
                raise ValueError(f"{row[column]!r} is not an estimate with its interval")
            methods = table.setdefault(row["dataset"], {}).setdefault(column, {})
            methods[row["method"]] = Interval(*map(float, found.groups()))
    return table


def chart(table: Table) -> Chart:
    """A row per dataset, a panel per protocol and split, all on one axis."""
    methods = list(
        dict.fromkeys(method for row in table.values() for cell in row.values() for method in cell)
    )
    every = [value for row in table.values() for cell in row.values() for value in cell.values()]
    axis = common_axis(every, "normalised return (IQM)", low=0.0, high=1.0)
    css = method_classes(methods)
    panels = [
        estimates(
            {method: cell.get(method) for method in methods},
            css,
            axis,
            f"{dataset}\n{column.replace(' ', ', ')}",
            width=QUARTER,
        )
        for dataset, row in table.items()
        for column, cell in row.items()
    ]
    return Chart(panels, "SPC against baselines", columns=len(COLUMNS))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def main(docs: Path) -> None:
    """Draw the figure below a folder."""
    table = read_table((docs / "results.md").read_text(encoding="utf-8"))
    (docs / "figures" / "results-datasets.svg").write_text(chart(table).svg(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
