from __future__ import annotations

import re
from xml.etree import ElementTree

from clwm_data.pages.charts import Chart, LegendEntry
from clwm_data.pages.panels import NARROW, Axis, Panel, span

SVG = "{http://www.w3.org/2000/svg}"


def panel(**changes: object) -> Panel:
    return Panel(Axis(0.0, 10.0, "velocity (m/s)"), Axis(-1.0, 1.0, "return", grid=True), **changes)  # type: ignore[arg-type]


def test_values_are_placed_linearly_between_the_edges() -> None:
    drawn = panel()
    left, middle, right = map(drawn.place_x, (0.0, 5.0, 10.0))
    assert right - left == drawn.inner_width
    assert middle == (left + right) / 2
    assert drawn.place_y(-1.0) - drawn.place_y(1.0) == drawn.height
    assert drawn.place_y(0.0) > drawn.place_y(0.5)


def test_an_axis_can_run_the_other_way() -> None:
    drawn = Panel(Axis(0.0, 1.0), Axis(2.5, -0.5, marks={0.0: "first", 1.0: "second"}))
    assert drawn.place_y(0.0) < drawn.place_y(1.0)


def test_spans_are_never_empty() -> None:
    for values in ([3.0, 3.0], [0.0], [-5.0], [1.0, 2.0]):
        low, high = span(values)
        assert low < min(values) <= max(values) < high


def test_axes_say_what_is_measured_and_names_are_escaped() -> None:
    drawn = panel(title="a <b>")
    drawn.symbol((5.0, 0.0), "train", title="<i>")
    text = Chart([drawn], "x & y", [LegendEntry("train", "train <&>")]).svg("T <")
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter(f"{SVG}text")]
    for expected in ("velocity (m/s)", "return", "a <b>", "train <&>", "T <", "0", "−1"):
        assert expected in words
    assert [element.text for element in root.iter(f"{SVG}title")] == ["T <", "<i>"]


def test_every_panel_of_a_document_clips_at_its_own_area() -> None:
    chart = Chart([panel(), panel()], "two")
    html = chart.html("a") + chart.html("b")
    names = re.findall(r'<clipPath id="([^"]+)"', html)
    assert len(names) == len(set(names)) == 4
    assert re.findall(r"url\(#([^)]+)\)", html) == names
    assert len(set(re.findall(r'<clipPath id="([^"]+)"', chart.svg()))) == 2


def test_wide_panels_leave_room_for_the_larger_text_of_telephones() -> None:
    narrow, wide = panel(width=NARROW), panel(width=NARROW + 1)
    assert wide.place_x(0.0) > narrow.place_x(0.0)
    assert wide.total_height > narrow.total_height
    assert 'class="chart wide"' in wide.svg("", "0")
    assert 'class="chart"' in narrow.svg("", "0")


def test_marks_stand_where_their_values_are() -> None:
    drawn = panel()
    drawn.box(4.0, [-1.0, -0.5, 0.0, 0.5, 1.0], 6.0, "id", title="t")
    drawn.interval(0.5, 3.0, (2.0, 6.0), "s1")
    drawn.band([(0.0, 0.0), (10.0, 0.5)], [(0.0, 0.2), (10.0, 0.9)], "s0")
    root = ElementTree.fromstring(f"<svg>{''.join(drawn.marks)}</svg>")
    box, interval = root.findall("g")
    rectangle = box.find("rect")
    assert rectangle is not None
    assert float(rectangle.attrib["y"]) == drawn.place_y(0.5)
    assert float(rectangle.attrib["height"]) == drawn.height / 4 * 2
    bar, stroke = interval.find("rect"), interval.find("line")
    assert bar is not None
    assert stroke is not None
    assert float(bar.attrib["x"]) == drawn.place_x(2.0)
    assert float(stroke.attrib["x1"]) == drawn.place_x(3.0)
    polygon = root.find("polygon")
    assert polygon is not None
    assert len(polygon.attrib["points"].split()) == 4


def test_a_long_label_at_the_edge_stays_inside_the_drawing() -> None:
    drawn = Panel(Axis(0.0, 20000.0, "updates"), Axis(0.0, 1.0), width=300.0)
    root = ElementTree.fromstring(f'<svg xmlns="http://www.w3.org/2000/svg">{drawn.body("0")}</svg>')
    labels = {
        text.text: float(text.attrib["x"])
        for text in root.iter(f"{SVG}text")
        if text.attrib["class"] == "tick middle"
    }
    assert "20,000" in labels
    for label, middle in labels.items():
        assert middle + 6.6 * len(str(label)) / 2 <= 300.0
    assert labels["10,000"] == drawn.place_x(10000.0), "others stay at their tick"
