"""Where the edits start to matter: how much each operator's value changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import streamlit as st

from explorer.app import inference_session
from explorer.app.names import esc
from explorer.charts.arrow_stream import stream
from explorer.charts.model_lines import nodes_spec, nodes_table
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene

_MAX_BARS: Final = 400
_MAX_NAMED: Final = 40
_MODULE, _OPERATOR = "Each module", "Each operator"


def nodes(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> None:
    """Draw the difference of every operator's value between the original and the edited model, for this example."""
    if not recipe:
        alone = " A drawing alone reaches all of them." if drawn is not None else ""
        st.caption(f"Add an edit to see which operators it reaches.{alone}")
        return
    answer = inference_session.ask(scene, "run", recipe, inputs=scene.inputs(drawn), nodes=True)
    table: pd.DataFrame = answer["nodes"]
    changed = (table["largest_change"] != 0) | ~table["same_shape"].astype(bool)
    if not changed.any():
        st.info("The edits change no operator's value for this example: nothing of them reaches the output.")
        return
    first = table[changed].iloc[0]
    last = table.iloc[-1]
    change = table["relative_l2"].to_numpy(dtype=np.float64)
    where = first["module"] or "the model itself"
    st.markdown(
        f"They start to matter at **{esc(first['node'], 80)}** in {esc(where, 80)}; {int(changed.sum()):,} of "
        f"{len(table):,} values change, the last one by {_text(float(last['relative_l2']), bool(last['same_shape']))}."
    )
    if not np.isfinite(change).all():
        st.caption(
            f"{int((~np.isfinite(change)).sum())} values have no bar: the original is all zero, or has another shape."
        )
    by = st.segmented_control(
        "One bar", [_MODULE, _OPERATOR], default=_MODULE if len(table) > _MAX_NAMED else _OPERATOR, required=True,
        key=f"inference.nodes.by.{len(table)}",
        help="A module's bar is the last value that is computed in it, of its last call.",
    )  # fmt: skip
    drawn_rows = by_module(table) if by == _MODULE else table
    shown = drawn_rows.head(_MAX_BARS)
    same = shown["same_shape"].astype(bool)
    texts = [_text(float(value), bool(ok)) for value, ok in zip(shown["relative_l2"], same, strict=True)]
    modules = [name or "model" for name in shown["module"]]
    rows = nodes_table(
        shown["relative_l2"].to_numpy(dtype=np.float64), modules if by == _MODULE else list(shown["node"]), modules,
        list(shown["op"]), texts,
    )  # fmt: skip
    st.vega_lite_chart(
        {**nodes_spec(len(shown) <= _MAX_NAMED), "datasets": {"nodes": stream(rows)}},
        key="inference.nodes",
        alt="Relative change of every operator's value, told in numbers by the table below",
    )
    if len(drawn_rows) > _MAX_BARS:
        st.caption(f"The first {_MAX_BARS} of {len(drawn_rows):,}.")
    if drawn is not None:
        st.caption("Both sides see the drawing, so that this is what the edits do.")
    with st.expander("Numbers", icon=":material/table:"):
        st.dataframe(
            table[["node", "module", "op", "relative_l2", "largest_change"]],
            hide_index=True,
            height=390,
            column_config={
                name: st.column_config.NumberColumn(format="%.4g") for name in ("relative_l2", "largest_change")
            },
        )


def by_module(table: pd.DataFrame) -> pd.DataFrame:
    """The last value of each module, in the order in which these are computed."""
    return table.drop_duplicates("module", keep="last", ignore_index=True)


def _text(change: float, same_shape: bool) -> str:
    if not same_shape:
        return "another shape"
    return "from all zero" if np.isinf(change) else "not a number" if np.isnan(change) else f"{change:.3g}"
