"""One metric of the compared runs as curves, small, under their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import linked, live, metrics_export, shell
from explorer.app.colours import run_places
from explorer.app.compare_choices import CURVE
from explorer.app.metrics_chart import Shown, picture
from explorer.app.metrics_options import Options
from explorer.app.metrics_zoom import reported
from explorer.app.names import esc, metric_names, plain
from explorer.app.runs_fields import default_trend
from explorer.charts.curves import ZOOM, curves_spec

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_SMALL: Final = Options(per_row=3)


def curves(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw the chosen metric of all runs in one chart; running ones are followed."""
    names = metric_names(infos)
    if not names:
        return  # the table of metrics has said so
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        metric = linked.select("Curves of", CURVE, names, default_trend(infos) or names[0], format_func=plain)
        if st.button("All metrics", icon=":material/show_chart:", help="The same runs on the page Metrics"):
            shell.go("metrics", runs=[info.run_id for info in infos])
    live.follow(infos, lambda now: _chart(metric, now, labels), "The curves")


def _chart(metric: str, infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    shown = Shown(
        infos=tuple(infos),
        labels=labels,
        places=run_places(shell.root(), infos),
        options=_SMALL,
    )
    key = f"compare_curve_{hashlib.sha256(metric.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    made = picture(metric, shown, reported(key))
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{esc(metric, 80)}**", width="content")
            metrics_export.menu(made, shown)
        spec = {**curves_spec(made.look), "datasets": dict(made.datasets)}
        alt = plain(f"{metric} of the compared runs", 300)  # constant: a new text would draw the chart anew
        st.vega_lite_chart(spec, key=key, on_select="rerun", selection_mode=[ZOOM], alt=alt)
        st.caption(f"{esc(made.caption, 600)} · Ctrl or ⌘ with the wheel zooms, a double click shows everything")
    if made.prepared.problems:
        named = "\n".join(f"- {esc(problem, 300)}" for problem in made.prepared.problems[:5])
        st.warning(named, title="Rows are missing from these curves", icon=":material/broken_image:")
