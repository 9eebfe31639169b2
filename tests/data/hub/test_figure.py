from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from clwm_data.hub.figure import returns_figure
from clwm_data.opening import open_store

SVG = "{http://www.w3.org/2000/svg}"


def test_the_figure_of_a_card(collected: Path) -> None:
    store = open_store(collected)
    records = [task.record for task in store.tasks.values()]
    text = returns_figure("a <b> & c", store.family, records)
    root = ElementTree.fromstring(text)
    assert root.find(f"{SVG}title").text == "a <b> & c: return per episode"  # type: ignore[union-attr]
    dots = [circle for circle in root.iter(f"{SVG}circle") if len(circle)]
    assert len(dots) == sum(len(record.behaviours) for record in records)
    assert len(text) < 15_000
    assert "script" not in text.replace("scripted", "")
    one = ElementTree.fromstring(returns_figure("one", store.family, records[:1]))
    assert len(list(one.iter(f"{SVG}circle"))) == len(records[0].behaviours)
