"""Models that are not plain, recorded through the public interface: every page about the inside draws or explains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.app.layers_choices import TABS
from tests.app.metrics_page import charts
from tests.app.odd_models import record_odd, record_without_parameters
from tests.app.page_texts import assert_nothing_failed, said

OpenApp = Callable[..., AppTest]
TENSORS = (
    "one", "number", "empty", "constant", "nothing", "phase", "flags", "count", "bytes", "words.weight", "body.weight",
    "extra.weight", "head.bias",
)  # fmt: skip
INSIDE = [("layers", tab) for tab in TABS] + [("weights", ""), ("distributions", ""), ("drift", "")]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A root with three runs: the odd model, one without a layer, and one without parameters."""
    root = tmp_path_factory.mktemp("odd") / "logs"
    odd = record_odd(root)
    return {
        "root": root,
        "odd": odd,
        "gone": record_odd(root, "gone", gone=True),
        "none": record_without_parameters(root),
    }


@pytest.fixture
def open_odd(recorded: dict[str, Any], open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> OpenApp:
    monkeypatch.setenv("EXPLORER_ROOT", str(recorded["root"]))

    def open_page(page: str, which: str = "odd", **query: str) -> AppTest:
        return open_app(page, **{"runs": recorded[which], **query})

    return open_page


@pytest.mark.parametrize(("page", "tab"), INSIDE)
def test_every_page_opens_on_a_model_with_tensors_of_every_kind(open_odd: OpenApp, page: str, tab: str) -> None:
    app = open_odd(page, **({"tab": tab} if tab else {}))
    assert_nothing_failed(app)
    assert charts(app)


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("tab", ["Weights", "Spectra", "Path"])
def test_a_tensor_of_a_snapshot_is_drawn_or_explained(open_odd: OpenApp, tab: str, tensor: str) -> None:
    app = open_odd("layers", tab=tab, tensor=tensor)
    assert_nothing_failed(app)
    assert charts(app) or app.info


@pytest.mark.parametrize("tensor", TENSORS)
def test_a_tensor_of_two_snapshots_is_compared_or_explained(open_odd: OpenApp, tensor: str) -> None:
    app = open_odd("weights", tensor=tensor)
    assert_nothing_failed(app)
    assert tensor in [heading.value.replace("\\", "") for heading in app.subheader]


@pytest.mark.parametrize("kind", ["param", "grad", "update", "activation"])
@pytest.mark.parametrize("page", ["distributions", "drift"])
def test_every_recorded_tensor_is_drawn_or_explained(open_odd: OpenApp, page: str, kind: str) -> None:
    app = open_odd(page, kind=kind)
    offered = [] if page == "drift" else next(box for box in app.selectbox if box.label == "Tensor").options
    for tensor in offered or [""]:
        app = open_odd(page, kind=kind, tensor=tensor)
        assert_nothing_failed(app)
        assert charts(app)


def test_a_layer_that_only_one_run_has_is_named_in_every_comparison(
    open_odd: OpenApp, recorded: dict[str, Any]
) -> None:
    both = f"{recorded['odd']},{recorded['gone']}"
    layers = open_odd("layers", runs=both, run=recorded["odd"], tab="Compare", mode="runs")
    assert_nothing_failed(layers)
    assert "only in odd: extra.weight, extra.bias" in said(layers)
    assert "body.weight" in said(layers)
    weights = open_odd("weights", runs=both, run=recorded["odd"], **{"with": recorded["gone"]})
    assert_nothing_failed(weights)
    assert "extra.weight" in said(weights)
    distributions = open_odd("distributions", runs=both, tensor="extra.weight")
    assert_nothing_failed(distributions)
    assert "Not recorded in gone." in said(distributions)


def test_what_is_not_recorded_is_told_with_its_reason(open_odd: OpenApp) -> None:
    app = open_odd("layers")
    assert "it is on the meta device, which holds no values" in said(app)
    assert "elsewhere" in said(app)
    weights = said(open_odd("weights"))
    for reason in ("it is sparse", "it is quantised", "it is on the meta device"):
        assert reason in weights


@pytest.mark.parametrize(("page", "tab"), INSIDE)
def test_a_model_without_parameters_is_drawn_or_explained(open_odd: OpenApp, page: str, tab: str) -> None:
    app = open_odd(page, "none", **({"tab": tab} if tab else {}))
    assert_nothing_failed(app)
    assert charts(app) or app.info
    if page == "weights" or tab in ("Weights", "Spectra"):
        assert "the model had no parameters and no buffers" in said(app)


def test_a_million_rows_are_a_picture_within_the_budget(open_odd: OpenApp) -> None:
    for app in (open_odd("layers", tab="Weights", tensor="words.weight"), open_odd("weights", tensor="words.weight")):
        assert_nothing_failed(app)
        for chart in app.get("vega_lite_chart"):
            assert sum(len(data.data.data) for data in chart.proto.datasets) + len(chart.proto.spec) < 100_000
    assert "1,000,000 × 2" in said(app)
