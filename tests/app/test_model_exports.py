"""Every card of the pages Layers and Weights becomes a picture and a table, and its lines run as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from explorer.app import export_menu, layers_table, weights_table
from explorer.app.export_menu import Export, to_png, to_svg
from explorer.app.weights_layer import difference
from tests.app.model_runs import weights, write_everything
from tests.app.page_texts import assert_nothing_failed

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]
CARDS = {
    "Overview": 5, "Update ratio": 2, "Gradient flow": 2, "Compare": 1, "Weights": 1, "Spectra": 1, "Path": 1, "CKA": 1,
}  # fmt: skip


TABLES = ("layers_table", "weights_diff")


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[Export]:
    """What the cards of a page offer, in their order."""
    found: list[Export] = []
    for module in (export_menu, layers_table, weights_table):
        monkeypatch.setattr(module, "export_menu", found.append)
    return found


@pytest.fixture
def run(root: Path, make_run: MakeRun) -> str:
    run_id = make_run("inside")
    write_everything(root / run_id)
    return run_id


def executed(code: str) -> dict[str, Any]:
    """Run the lines without a screen; drawing needs matplotlib, which is no part of ours."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    space: dict[str, Any] = {}
    exec(compile(code, "lines", "exec"), space)
    import matplotlib.pyplot as plt

    plt.close("all")
    return space


def code_of(export: Export) -> str:
    assert export.code is not None
    return export.code if isinstance(export.code, str) else export.code()


def assert_taken_away(export: Export) -> None:
    assert export.table is not None
    rows = list(csv.reader(io.StringIO(export.table().decode())))
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}
    executed(code_of(export))
    if export.spec is None:
        assert export.name in TABLES
        return
    svg = to_svg(export.spec()).decode()
    texts = {element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert any(text and export.spec()["title"]["text"].startswith(text.rstrip("…")) for text in texts)
    image = np.asarray(Image.open(io.BytesIO(to_png(export.spec(), 1.0))).convert("RGB"))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("tab", CARDS)
def test_every_card_of_a_tab_becomes_a_picture_a_table_and_lines_that_run(
    open_app: OpenApp, run: str, exports: list[Export], tab: str
) -> None:
    assert_nothing_failed(open_app("layers", tab=tab))
    assert len(exports) == CARDS[tab]
    for export in exports:
        assert_taken_away(export)


def test_spectra_over_snapshots_are_taken_away_and_pictures_name_their_run(
    open_app: OpenApp, run: str, exports: list[Export]
) -> None:
    assert_nothing_failed(open_app("layers", tab="Spectra", every="true"))
    assert len(exports) > 4
    for export in exports:
        executed(code_of(export))
        assert export.spec is not None
        assert export.spec()["title"]["subtitle"][0].startswith("inside · ")


@pytest.mark.parametrize("mode", ["steps", "runs"])
def test_comparisons_are_taken_away_too(
    open_app: OpenApp, run: str, make_run: MakeRun, root: Path, exports: list[Export], mode: str
) -> None:
    write_everything(root / make_run("other"), seed=1)
    assert_nothing_failed(open_app("layers", tab="Compare", mode=mode))
    assert len(exports) == (3 if mode == "runs" else 1)
    for export in exports:
        assert_taken_away(export)


def test_every_card_of_the_page_weights_is_taken_away(open_app: OpenApp, run: str, exports: list[Export]) -> None:
    assert_nothing_failed(open_app("weights", tensor="body.weight"))
    assert [export.name for export in exports] == [
        "weights_diff",
        "weights_histogram",
        "weights_rows_12",
        "weights_picture",
    ]
    for export in exports:
        assert_taken_away(export)


def test_the_lines_of_an_opened_tensor_count_what_its_cards_draw(
    open_app: OpenApp, run: str, exports: list[Export]
) -> None:
    assert_nothing_failed(open_app("weights", tensor="body.weight"))
    changed = difference(weights(0)["body.weight"], weights(30)["body.weight"])
    _, histogram, rows, _ = exports
    space = executed(code_of(histogram))
    np.testing.assert_array_equal(space["difference"], changed)
    assert space["counts"].sum() == changed.size
    assert histogram.table is not None
    drawn = [float(row["share"]) for row in csv.DictReader(io.StringIO(histogram.table().decode()))]
    # The histogram that is drawn was folded to bins: a value at an end of a bar may stand in the next one.
    np.testing.assert_allclose(np.cumsum(space["shares"]), np.cumsum(drawn), atol=0.03)
    change = executed(code_of(rows))["change"]
    expected = np.linalg.norm(changed, axis=1) / np.linalg.norm(weights(0)["body.weight"], axis=1)
    np.testing.assert_allclose(change, expected)
    assert rows.table is not None
    told = [float(row["Relative change of each row"]) for row in csv.DictReader(io.StringIO(rows.table().decode()))]
    np.testing.assert_allclose(told, change, rtol=1e-6)


def test_a_card_without_a_table_offers_the_rest(open_app: OpenApp, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.app.layers_image._MAX_CSV", 1)
    app = open_app("layers", tab="Weights", tensor="head.weight")
    assert_nothing_failed(app)
    helps = [box.proto.popover.help for box in app.get("popover")]
    assert "PNG, SVG and the Python lines that reproduce it" in helps
    assert not [text for text in helps if "CSV" in text]


def test_the_lines_of_a_comparison_give_the_values_of_its_dots(
    open_app: OpenApp, run: str, make_run: MakeRun, root: Path, exports: list[Export]
) -> None:
    other = make_run("other")
    write_everything(root / other, seed=1)
    assert_nothing_failed(open_app("layers", tab="Compare", mode="runs", run=run, at="20"))
    first, _, depth = exports
    grid = executed(code_of(first))["grid"]
    assert grid.loc["body.weight", 20] == pytest.approx(np.linalg.norm(weights(20)["body.weight"]), rel=1e-5)
    table = executed(code_of(depth))["table"]
    assert list(table.columns) == ["inside", "other"]
    assert table.loc["body.weight", "other"] == pytest.approx(np.linalg.norm(weights(20, 1)["body.weight"]), rel=1e-5)
