"""One chart of the Metrics page: title, curves, what is drawn, export."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import streamlit as st

from explorer.app import metrics_export
from explorer.app.caching import series_store
from explorer.app.export_menu import tables
from explorer.app.metrics_caption import caption
from explorer.app.metrics_hover import hover
from explorer.app.metrics_memo import Memo
from explorer.app.metrics_options import RELATIVE, Options, axis_title
from explorer.app.metrics_series import Prepared, prepare, relative_unit, x_metric
from explorer.app.metrics_tables import Drawn, Frame, Part, draw, visible
from explorer.app.metrics_zoom import Zoom
from explorer.app.names import esc, plain
from explorer.charts import arrow
from explorer.charts.curves import ZOOM, curves_spec
from explorer.charts.look import CurveLook, domain

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.scalars import SeriesStore

# What smoothing and means made, which long series make large; and the bytes that were sent for charts.
_MAX_PREPARED_BYTES: Final = 128 << 20
_MAX_SENT_BYTES: Final = 16 << 20
# Height of a chart and width of its legend in pixels, by charts side by side.
_SIZES: Final = {1: (380, 940), 2: (290, 420), 3: (250, 250), 4: (230, 160)}


@dataclass(frozen=True)
class Shown:
    """What all charts of one script run share: the runs, their labels and places in the palette, what is asked for."""

    infos: tuple[RunInfo, ...]
    labels: Mapping[str, str]
    places: Mapping[str, int]
    options: Options


@dataclass(frozen=True, eq=False)
class Picture:
    """One chart, ready to be drawn or exported."""

    metric: str
    look: CurveLook
    prepared: Prepared
    drawn: Drawn
    datasets: Mapping[str, bytes]
    caption: str
    window: tuple[float, float] | None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The series and which of their values are inside the window."""
        return visible(self.prepared.curves, self.drawn.window, self.look.log_x)

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The tables that are drawn, by name."""
        return tables(self.datasets)

    @property
    def name(self) -> str:
        """A short name for the keys of widgets, whatever the metric is called."""
        return hashlib.sha256(self.metric.encode("utf-8", "surrogatepass")).hexdigest()[:12]


_Sent = tuple[Drawn, dict[str, bytes]]


@st.cache_resource(show_spinner=False)
def _memos() -> tuple[Memo[Prepared], Memo[_Sent]]:
    return (
        Memo(_MAX_PREPARED_BYTES, lambda prepared: prepared.num_bytes),
        Memo(_MAX_SENT_BYTES, lambda sent: sum(len(data) for data in sent[1].values()) + 1_000),
    )


def picture(metric: str, shown: Shown, window: tuple[float, float] | None) -> Picture:
    """Return what the chart of `metric` shows in `window` (None: everything)."""
    options = shown.options
    having = [info for info in shown.infos if metric in info.metrics]
    prepared_memo, sent_memo = _memos()
    store = series_store()
    what = (
        metric,
        options.x,
        relative_unit(shown.infos) if options.x == RELATIVE else None,
        options.smoothing,
        options.group,
        tuple(_version(store, metric, info, shown) for info in having),
    )
    prepared = prepared_memo.get(what, lambda: prepare(store, metric, shown.infos, shown.labels, shown.places, options))
    frame = Frame(window, options.log_x, options.log_y, options.reach)

    def make() -> _Sent:
        drawn = draw(prepared.curves, frame)
        tables = {**drawn.tables, "hover": hover(drawn, options.x_kind, options.log_x)}
        # Without what refers to whole series, which would keep them in memory.
        return replace(drawn, tables={}, parts=()), {name: arrow.ipc(table) for name, table in tables.items()}

    drawn, datasets = sent_memo.get((what, frame), make)
    look = CurveLook(
        domain=domain(prepared.places),
        shown=tuple(curve.label for curve in prepared.curves),
        x_title=axis_title(options.x, prepared.x_unit),
        x_kind=options.x_kind,
        log_x=options.log_x,
        log_y=options.log_y,
        smooth=prepared.halflife > 0 and not any(curve.count is not None for curve in prepared.curves),
        height=_SIZES[options.per_row][0],
        legend_px=_SIZES[options.per_row][1],
    )
    return Picture(metric, look, prepared, drawn, datasets, caption(prepared, drawn, options), window)


def card(metric: str, shown: Shown, zoom: Zoom) -> None:
    """Draw one chart with its title, caption and exports."""
    with st.container(border=True, gap=None):
        made = picture(metric, shown, zoom.window)
        # On the left: the chart's own toolbar appears on the right when the pointer is over it.
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{esc(metric, 80)}**", width="content")
            metrics_export.menu(made, shown)
        spec: dict[str, Any] = {**curves_spec(made.look), "datasets": dict(made.datasets)}
        st.vega_lite_chart(
            spec,
            key=zoom.key(metric),
            on_select="rerun",
            selection_mode=[ZOOM],
            # Part of the specification: a text that changes would draw a new chart.
            alt=plain(f"Curves of {metric}, told in numbers by its tooltip and its caption", 300),
        )
        st.caption(esc(made.caption, 600))
        if made.prepared.problems:
            named = "  \n".join(esc(problem, 200) for problem in made.prepared.problems[:3])
            more = len(made.prepared.problems) - 3
            st.warning(
                named + (f"  \nand {more} more" if more > 0 else ""),
                title="Rows are missing from this chart",
                icon=":material/broken_image:",
            )


def _version(store: SeriesStore, metric: str, info: RunInfo, shown: Shown) -> tuple[object, ...]:
    """What changes when the run has grown, was renamed or moved to another group; series compare by identity."""
    other = x_metric(info, shown.options.x)
    return (
        store.series(info.path, metric),
        None if other is None else store.series(info.path, other),
        shown.labels[info.run_id],
        shown.places[info.run_id],
        info.group,
    )
