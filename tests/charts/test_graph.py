"""The chart of a graph: valid, small, the same specification for the same picture, and painted as its scale says."""

import json

import pyarrow as pa
import pytest
import vl_convert

from explorer.charts import arrow
from explorer.charts.export import standalone
from explorer.charts.graph import NUM_TIPS, TABLES, Look, Paint, Shade, graph_spec, graph_tables
from explorer.charts.graph_picture import Frame, Item, draw

LOOK = Look("#97a3b3", "#5b6675", "#f2f5f9")
SHADE = Shade("#eaf1fb", "#93b8ea", "#1b2430")
TITLES = ("name", "type", "output", "parameters", "")


def picture(num=40):
    edges = [(k, k + 1) for k in range(num - 1)] + [(k, k + 3) for k in range(0, num - 3, 3)]
    items = [Item(f"module:{k}", f"layer.{k}", "Linear") for k in range(num)]
    return draw(items, edges, [Frame("frame:body", "body", tuple(range(3, min(num, 7))))][: num > 3])


def tables(drawn, ends=None, chosen=None):
    keys = [item.key for item in drawn.items] + [frame.key for frame, _ in drawn.frames]
    return graph_tables(drawn, [SHADE] * len(drawn.items), {key: ["text"] * NUM_TIPS for key in keys}, ends, chosen)


@pytest.mark.parametrize("kind", ["linear", "log", "diverging", None])
def test_the_specification_is_valid_and_names_its_tables(kind):
    paint = None if kind is None else Paint("Norm", kind, ("#eef4fc", "#123362"))
    spec = graph_spec(500, LOOK, TITLES, paint)
    assert {layer["data"]["name"] for layer in spec["layer"]} == {*TABLES} - (set() if paint else {"legend"})
    assert vl_convert.vegalite_to_vega(spec)
    assert graph_spec(500, LOOK, TITLES, paint) is spec


def test_the_largest_graph_of_the_page_is_a_small_chart():
    sent = tables(picture(), (0.1, 1.0), "module:3")
    assert set(sent) == {*TABLES}
    assert sum(table.num_rows for table in sent.values()) <= 4_000
    spec = graph_spec(2_000, LOOK, TITLES, Paint("Norm", "log", ("#eef4fc", "#123362")))
    assert len(json.dumps(spec)) + sum(len(arrow.ipc(table)) for table in sent.values()) <= 100_000


def test_boxes_come_after_frames_where_the_pointer_looks():
    drawn = picture(12)
    keys = tables(drawn)["hover"].column("key").to_pylist()
    assert keys == ["frame:body", *(f"module:{k}" for k in range(12))]


def test_what_is_looked_at_is_marked_and_something_unknown_marks_nothing():
    drawn = picture(12)
    (marked,) = tables(drawn, chosen="module:3")["chosen"].to_pylist()
    box = tables(drawn)["boxes"].to_pylist()[3]
    assert marked["x"] < box["x"] < box["x2"] < marked["x2"]
    assert tables(drawn, chosen="module:99")["chosen"].num_rows == 0


def test_the_legend_has_the_ends_of_the_scale():
    assert tables(picture(3), (0.5, 2.0))["legend"].column("share").to_pylist() == [0.5, 2.0]
    assert tables(picture(3))["legend"].num_rows == 0


def test_a_picture_of_it_can_be_drawn_without_the_app():
    drawn = picture(6)
    paint = Paint("Norm", "log", ("#eef4fc", "#123362"))
    sent: dict[str, pa.Table] = tables(drawn, (0.5, 2.0))
    spec = standalone(graph_spec(400, LOOK, TITLES, paint), sent, ["#1d5fd1"], (), "Graph", "what is drawn", 500)
    svg = vl_convert.vegalite_to_svg(spec)
    assert all(f">layer.{k}<" in svg for k in range(6))
    assert ">Norm<" in svg
