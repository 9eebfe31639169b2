"""docs/images/tracking.svg, from a run: ``python -m docs.generate.tracking RUN STORE [OUT]``."""

from __future__ import annotations

import sys
from pathlib import Path

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.opening import open_store
from clwm_data.store.atomic import replacing
from clwm_train.report.tracking_figure import mean_errors, reached_by, tracking_chart
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import open_run


def main(run: Path, store: str, out: Path) -> None:
    """Roll the agent of a run out on every task of a store, and draw what it reaches."""
    opened = open_run(run)
    family = get_family(opened.record.family)
    reached = reached_by(load_agent(opened), family, open_store(store).tasks)
    with replacing(out) as temporary:
        temporary.write_text(tracking_chart(family, reached).svg(), encoding="utf-8")
    for split, error in mean_errors(family, reached).items():
        sys.stdout.write(f"{split}: {error:.2f} off on average\n")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], Path(*sys.argv[3:] or ["docs/images/tracking.svg"]))
    except ClwmError as error:
        sys.exit(str(error))
