"""The Layers page on odd runs: NaN, layers that disappear or move far, hostile names, a thousand layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from explorer.app import layers_choices
from tests.app.metrics_page import captions, charts, spec_of, table
from tests.app.model_runs import (
    STEPS,
    stored,
    weights,
    write_statistics,
    write_weights,
)
from tests.app.page_texts import assert_drawn, said

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]
TABS = tuple(layers_choices.TABS)


def test_partly_nan_tensors_are_counted_beside_their_norms(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run("torn")
    torn = np.array([[1.0, np.nan], [np.inf, 2.0]])
    write_statistics(
        root / run_id,
        {0: {"w": np.ones((2, 2)), "v": np.ones((2, 2))}, 10: {"w": torn, "v": np.ones((2, 2))}},
        activations=(),
    )
    app = open_app("layers")
    assert_drawn(app)
    assert "1 with NaN or Inf in the last samples" in said(app)
    assert app.dataframe[0].value.set_index("name")["not finite"].to_dict() == {"w": 4, "v": 0}
    flow = "NaN or infinite values at this step in the gradient of 1 layer**: w"
    assert flow in said(open_app("layers", tab="Gradient flow"))
    assert flow not in said(open_app("layers", tab="Gradient flow", at="0"))


def test_layers_that_moved_a_thousand_times_further_than_others_are_on_the_axis(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    run_id, still = make_run(), np.ones((4, 4))
    steps = {
        step: {"far.weight": still * (1 + step), "near.weight": still * (1 + 1e-5 * step), "still.weight": still}
        for step in STEPS
    }
    write_statistics(root / run_id, steps)
    app = open_app("layers", stats="mean", layers="far.weight,near.weight,still.weight")
    assert_drawn(app)
    assert "outside the y axis" not in captions(app)
    view = table(charts(app)[0], "view").iloc[0]
    assert view.y_low <= 1.0
    assert view.y_high >= 31.0


def test_a_change_that_is_not_defined_is_no_nan(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    for step in (0, 1):
        write_weights(root / run_id, step, [stored("w", np.ones((3, 2), np.float32))])
    app = open_app("layers", tab="Spectra")
    assert_drawn(app)
    change = app.dataframe[0].value.set_index("measure")["change"]
    assert (change["alpha"], change["spectral norm"]) == ("–", "0")


def test_a_layer_that_disappears_keeps_its_last_values(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    over_steps = {step: weights(step) for step in STEPS}
    for step in STEPS[2:]:
        del over_steps[step]["head.weight"]
    write_statistics(root / run_id, over_steps)
    app = open_app("layers", layers="head.weight", stats="norm")
    assert_drawn(app)
    assert list(table(charts(app)[0], "lines")["x"]) == [0, 10]
    assert_drawn(open_app("layers", tab="Gradient flow"))


def test_nan_everywhere_is_marked_and_counted(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    write_statistics(root / run_id, {step: {"w.weight": np.full((3, 3), np.nan)} for step in STEPS})
    for tab in TABS[:4]:
        assert_drawn(open_app("layers", tab=tab))
    app = open_app("layers", stats="nans", layers="w.weight")
    assert list(table(charts(app)[0], "lines")["y"]) == [1.0] * 4


def test_a_name_from_a_file_is_no_markdown_and_no_field(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    name = "**bold** [x](http://evil.example) :red[a].b[0]"
    run_id = make_run()
    write_statistics(root / run_id, {step: {name: np.ones((2, 2)) * (1 + step)} for step in STEPS})
    for step in STEPS:
        write_weights(root / run_id, step, [stored(name, np.ones((2, 2), np.float32) * (1 + step))])
    for tab in TABS:
        app = open_app("layers", tab=tab)
        assert_drawn(app)
        assert not any("[x](http" in element.value for element in (*app.markdown, *app.caption, *app.info))
    layers = spec_of(charts(open_app("layers"))[0])["layer"]
    assert all(name not in str(layer.get("encoding", {}).get("y", {})) for layer in layers)


def test_no_chart_is_larger_than_its_budget(open_app: OpenApp, make_run: MakeRun, root: Path) -> None:
    run_id = make_run()
    shapes = {f"blocks.{k}.weight": (8, 8) for k in range(60)}
    write_statistics(root / run_id, {step: weights(step, shapes=shapes) for step in range(60)}, activations=())
    big = [stored("big", np.random.default_rng(0).normal(size=(900, 700)).astype(np.float32))]
    write_weights(root / run_id, 0, big)
    for tab in (*TABS[:4], "Weights"):
        for chart in charts(open_app("layers", tab=tab)):
            assert sum(len(data.data.data) for data in chart.datasets) < 110_000
            assert max(len(table(chart, data.name)) for data in chart.datasets) <= 4_000
