"""The Model page: graph and tree with what was recorded, what it says where nothing is, and links of any kind."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from explorer import Recorder
from explorer.app.model_export import tree_csv
from explorer.app.model_paint import Painting
from explorer.app.model_source import architecture
from explorer.reading.catalogue import Catalogue
from tests.app.model_page import rows
from tests.app.page_texts import assert_nothing_failed, said

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.body = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 6] -> [N, 6]."""
        found: torch.Tensor = x + self.body(self.norm(x))
        return found


class Tied(nn.Module):
    """An embedding that is the head too, with blocks between."""

    def __init__(self, num_blocks: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.blocks = nn.Sequential(*(Block() for _ in range(num_blocks)))
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [N, T, 9]."""
        logits: torch.Tensor = self.head(self.blocks(self.embed(tokens)))
        return logits


def record(root: Path, name: str = "tied", num_blocks: int = 3, *, snapshot: bool = True) -> str:
    torch.manual_seed(0)
    model = Tied(num_blocks)
    model.blocks[0].norm.bias.requires_grad_(False)
    tokens = torch.randint(0, 9, (2, 4))
    with Recorder(name, root=root, quiet=True, system_every_s=None) as rec:
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        rec.watch(model, optimizer)
        for step in range(3):
            loss = model(tokens).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.log({"loss": loss}, step=step)
        if snapshot:
            rec.snapshot(model, step=2)
        rec.program(model, tokens, kind="tokens", vocabulary=list("abcdefghi"))
    return rec.run_id


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the second with a block more."""
    folder = tmp_path_factory.mktemp("model") / "logs"
    record(folder, "three")
    record(folder, "four", 4)
    return folder


@pytest.fixture
def open_recorded(recorded: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> OpenApp:
    """Open the page on the recorded runs."""
    monkeypatch.setenv("EXPLORER_ROOT", str(recorded))
    run = {path.name.rpartition("-")[0]: path.name for path in recorded.iterdir()}
    return lambda name="three", **query: open_app("model", run=run[name], runs=",".join(run.values()), **query)


def boxes(app: AppTest) -> dict[str, dict[str, Any]]:
    """What the chart has been sent, by key of the box or frame."""
    (chart,) = app.get("vega_lite_chart")
    tables = {data.name: pa.ipc.open_stream(data.data.data).read_all() for data in chart.proto.datasets}
    hover, drawn = tables["hover"].to_pylist(), tables["boxes"].to_pylist()
    found = {row["key"]: row for row in hover}
    return found | {row["key"]: {**row, **box} for row, box in zip(hover[-len(drawn) :], drawn, strict=True)}


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("model")
    assert_nothing_failed(app)
    assert "Nothing recorded yet" in said(app)


def test_the_graph_opens_on_whole_levels_painted_with_the_update_ratio(open_recorded: OpenApp) -> None:
    app = open_recorded()
    assert_nothing_failed(app)
    found = boxes(app)
    assert {"frame:blocks", "module:embed", "module:head"} <= found.keys()
    assert found["frame:blocks"]["t1"] == "Sequential"
    assert found["module:embed"]["t3"] == "54"
    assert len({box["fill"] for key, box in found.items() if key.startswith("module:")}) > 2
    assert "reproduced the model's own output to the last bit" in said(app)


def test_a_link_opens_modules_and_looks_at_one(open_recorded: OpenApp) -> None:
    app = open_recorded(opened="blocks,blocks.1", module="blocks.1.body")
    assert_nothing_failed(app)
    found = boxes(app)
    assert {"module:blocks.0", "module:blocks.1.norm", "module:blocks.1.body", "frame:blocks.1"} <= found.keys()
    assert "**blocks.1.body**" in said(app)
    assert [row["tensor"] for row in rows(app, "tensor")] == ["weight", "bias"]


def test_a_module_is_opened_and_closed_from_its_panel(open_recorded: OpenApp) -> None:
    app = open_recorded(opened="none", module="blocks")
    next(button for button in app.button if button.key == "model_open").click().run()
    assert_nothing_failed(app)
    assert {"module:blocks.0", "frame:blocks"} <= boxes(app).keys()
    next(button for button in app.button if button.key == "model_open").click().run()
    assert "module:blocks.0" not in boxes(app)
    next(button for button in app.button if button.key == "model_up").click().run()
    assert "The whole model" in said(app)


CLICKS = """
import streamlit as st
from explorer.app import model_opened
from explorer.inference.folding import Box, FoldedGraph

module = Box("module:a", "module", "a", "a", "Linear", ("x",), "")
operator = Box("node:y", "operator", "add", "b", "", ("y",), "b")
graph = FoldedGraph((module, operator), (), ("b",))
for picked, opened in st.session_state.reports:
    selection = {"picked": [{"key": picked}], "opened": [{"key": opened}] if opened else []}
    st.session_state["chart"] = {"selection": selection}
    model_opened.clicked("chart", "picked", "opened", graph)
st.session_state.found = dict(st.query_params)
"""


@pytest.mark.parametrize(
    ("reports", "wanted"),
    [
        ([("module:a", "")], {"module": "a"}),
        ([("node:y", "")], {"module": "b", "node": "y"}),
        ([("frame:b", "")], {"module": "b"}),
        ([("module:a", ""), ("module:a", "module:a")], {"module": "a", "opened": "a,b"}),
        ([("frame:b", "frame:b")], {"module": "b", "opened": "none"}),
        ([("module:a", "module:a"), ("node:y", "module:a")], {"module": "b", "node": "y", "opened": "a,b"}),
        ([("module:../../etc", "<b>")], {}),
        ([(5, None)], {}),
    ],
)
def test_a_click_looks_at_a_box_and_a_double_click_opens_or_closes_it(
    reports: list[tuple[Any, Any]], wanted: dict[str, str]
) -> None:
    app = AppTest.from_string(CLICKS)
    app.session_state["reports"] = reports
    app.run()
    assert not app.exception
    assert app.session_state["found"] == wanted


def test_opening_a_module_opens_those_around_it(open_recorded: OpenApp) -> None:
    app = open_recorded(opened="none", module="blocks.1")
    assert "module:blocks" in boxes(app)
    next(button for button in app.button if button.key == "model_open").click().run()
    assert {"frame:blocks", "frame:blocks.1", "module:blocks.1.body"} <= boxes(app).keys()


def test_many_blocks_share_boxes_and_one_can_be_taken_out(root: Path, open_app: OpenApp) -> None:
    record(root, "deep", 44)
    app = open_app("model", opened="blocks")
    assert_nothing_failed(app)
    groups = [key for key in boxes(app) if key.startswith("group:")]
    assert groups
    assert len(boxes(app)) <= 41  # and a frame
    assert "share" in said(app)
    looked = open_app("model", opened="blocks", module="blocks", node=groups[0])
    assert_nothing_failed(looked)
    next(button for button in looked.button if str(button.key).startswith("model_member_")).click().run()
    assert_nothing_failed(looked)
    assert "module:blocks.0" in boxes(looked)


def test_the_buttons_open_and_close_by_levels(open_recorded: OpenApp) -> None:
    app = open_recorded(opened="none")
    for name, wanted in (("more", "module:blocks.0"), ("more", "module:blocks.0.body"), ("less", "module:blocks.0")):
        next(button for button in app.button if button.key == f"model_{name}").click().run()
        assert_nothing_failed(app)
        assert wanted in boxes(app)
    next(button for button in app.button if button.key == "model_reset").click().run()
    assert "opened" not in app.query_params


def test_the_tree_tells_shapes_parameters_ties_and_what_is_frozen(open_recorded: OpenApp) -> None:
    app = open_recorded(part="Tree")
    assert_nothing_failed(app)
    by_name = {row["module"].strip(): row for row in rows(app)}
    assert by_name["embed"]["output"] == "N × T × 6"
    assert by_name["Tied"]["parameters"] == 54 + 3 * (12 + 42)
    assert by_name["norm"]["own"] == "weight 6, bias 6"
    assert by_name["embed"]["tied"] == "head.weight" or by_name["head"]["tied"] == "embed.weight"
    assert [row["frozen"] for row in rows(app) if row["frozen"]] == ["6"] * 4
    assert by_name["body"]["painted"] > 0
    assert 0 < by_name["body"]["bar"] <= 1


def test_the_tree_is_filtered_sorted_and_cut_to_levels(open_recorded: OpenApp) -> None:
    assert {row["type"] for row in rows(open_recorded(part="Tree", q="layernorm"))} == {"LayerNorm"}
    sizes = [row["parameters"] for row in rows(open_recorded(part="Tree", by="size"))]
    assert sizes == sorted(sizes, reverse=True)
    values = [row["painted"] for row in rows(open_recorded(part="Tree", by="painted")) if row["painted"] is not None]
    finite = [value for value in values if value == value]
    assert finite == sorted(finite, reverse=True)
    assert len(rows(open_recorded(part="Tree", levels="1"))) == 4


def test_a_tick_in_the_tree_looks_at_the_module(open_recorded: OpenApp) -> None:
    app = open_recorded(part="Tree")
    place = [row["module"].strip() for row in rows(app)].index("head")
    app.session_state["model_tree"] = {"selection": {"rows": [place], "columns": [], "cells": []}}
    app.run()
    assert_nothing_failed(app)
    assert "**head**" in said(app)


def test_runs_of_other_architectures_are_told_apart(open_recorded: OpenApp) -> None:
    app = open_recorded(part="Differences")
    assert_nothing_failed(app)
    found = rows(app, "what")
    assert {(row["what"], row["module"]) for row in found} == {
        ("added", f"blocks.3{part}") for part in ("", ".norm", ".body")
    }


def test_a_module_leads_to_an_edit_of_it(open_recorded: OpenApp) -> None:
    app = open_recorded(module="head")
    menu = next(found for found in app.get("menu_button") if found.key == "model_edit")
    assert any("Ablate its output" in option for option in menu.proto.options)
    assert any("Halve its weights" in option for option in menu.proto.options)


def test_an_operator_tells_its_line_and_what_can_be_edited(open_recorded: OpenApp) -> None:
    app = open_recorded(opened="blocks,blocks.0")
    add = next(key for key, box in boxes(app).items() if box["t1"] == "aten.add.Tensor")
    looked = open_recorded(opened="blocks,blocks.0", module="blocks.0", node=add.removeprefix("node:"))
    assert_nothing_failed(looked)
    assert "Source line: **test_model_page.py:" in said(looked)
    assert "The run recorded the commit" in said(looked) or "the code itself is not recorded" in said(looked)


def test_every_input_and_output_can_be_looked_at(open_recorded: OpenApp) -> None:
    app = open_recorded()
    for key in [key for key in boxes(app) if key.startswith(("input:", "output:"))]:
        assert_nothing_failed(open_recorded(node=key))


@pytest.mark.parametrize(
    "query",
    [
        {"module": "../../etc/passwd", "node": "nowhere"},
        {"opened": "nowhere,blocks.9,%00,blocks.0.body"},
        {"paint": "<b>", "at": "-1e9", "part": "Nothing", "levels": "99", "by": "painted"},
        {"paint": "time", "device": "/dev/null"},
        {"node": "group:nowhere", "module": "blocks"},
        {"module": "x" * 15_000},
    ],
)
def test_a_link_to_what_is_not_there_opens_the_page_all_the_same(open_recorded: OpenApp, query: dict[str, str]) -> None:
    app = open_recorded(**query)
    assert_nothing_failed(app)
    assert app.get("vega_lite_chart")


def test_a_layer_with_a_parametrized_weight_shows_what_its_weight_is_computed_from(
    root: Path, open_app: OpenApp
) -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU())
    with Recorder("norm", root=root, quiet=True, system_every_s=None) as rec:
        rec.program(model, torch.randn(2, 4))
    app = open_app("model", module="0")
    assert_nothing_failed(app)
    tables = [found.value for found in app.dataframe if "tensor" in found.value]
    assert list(tables[0]["tensor"]) == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1",
    ]  # fmt: skip


def test_a_program_that_would_not_be_run_is_drawn_and_says_so(recorded: Path, root: Path, open_app: OpenApp) -> None:
    run_id = record(root, "refused")
    assert "does not run this program" not in said(open_app("model"))
    (path,) = (root / run_id / "program").glob("*.json.gz")
    document = json.loads(gzip.decompress(path.read_bytes()))
    node = document["graph"]["nodes"][-1]
    node["op"], node["source"] = "aten.from_file.default", "model.py:7"
    document.pop("checksum", None)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    app = open_app("model")
    assert_nothing_failed(app)
    (warning,) = app.warning
    told = str(warning.value).replace("\\", "")
    assert "aten.from_file.default** (model.py:7)" in told
    assert "do not trust this run" in told
    assert [found for found in app.tabs if found.label == "Graph"]


def test_hostile_names_are_shown_letter_by_letter(recorded: Path, root: Path, open_app: OpenApp) -> None:
    run_id = record(root, "hostile")
    (path,) = (root / run_id / "program").glob("*.json.gz")
    text = gzip.decompress(path.read_bytes()).decode()
    document = json.loads(text)
    names = {"embed": "<img src=x onerror=alert(1)>", "head": "🦊" * 300 + "</script>" + "a" * 700}
    for module in document["modules"]:
        module["path"] = names.get(module["path"], module["path"])
        module["type"] = "[click](javascript:alert(1)) **bold**"
    document.pop("checksum", None)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    for query in ({}, {"part": "Tree"}, {"module": names["embed"]}, {"opened": "blocks,blocks.0"}):
        app = open_app("model", **query)
        assert_nothing_failed(app)
        markdown = "\n".join(str(found.value) for kind in ("markdown", "caption") for found in app.get(kind))
        assert not re.search(r"(?<!\\)<img", markdown)
        assert not re.search(r"(?<!\\)\[click", markdown)


def test_the_csv_holds_every_module_and_disarms_formulas(recorded: Path) -> None:
    info = next(info for info in Catalogue(recorded).refresh() if info.name == "three")
    model = architecture(info)
    text = tree_csv(list(model.rows.values()), model, Painting("none", ""), None).decode()
    found = list(csv.DictReader(io.StringIO(text)))
    assert [row["module"] for row in found] == list(model.rows)
    sizes = {row["module"]: int(row["parameters"]) for row in found}
    assert sizes["embed"] == sizes["head"] == 54
    assert sizes[""] == sizes["embed"] + sizes["blocks"]


def test_the_time_of_each_module_is_measured_and_painted(open_recorded: OpenApp) -> None:
    app = open_recorded()
    next(button for button in app.button if button.key == "model_measure").click().run(timeout=120)
    assert_nothing_failed(app)
    found = boxes(app)
    assert found["module:embed"]["t4"].endswith(" ms")
    assert "Median of" in said(app)
    tree = open_recorded(part="Tree", paint="time")
    assert_nothing_failed(tree)
