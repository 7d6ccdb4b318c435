"""The table of layers: what each tensor is, how it moved, and which ones are picked to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import streamlit as st

from explorer.app import linked, links, state
from explorer.app.csv_text import csv_bytes
from explorer.app.export_menu import Export, export_menu
from explorer.app.layers_curves import MAX_LAYERS
from explorer.app.layers_data import ACTIVATION, GRAD, PARAM, STATISTICS, LayerStatistics
from explorer.app.names import matching, plain, unique_labels
from explorer.app.table_heights import table_height
from explorer.charts import arrow
from explorer.reading.downsample import m4

if TYPE_CHECKING:
    from explorer.app.layers_read import Layer, Layers

SORT: Final = "by"  # keys of the address
PICKED: Final = "layers"
WHAT: Final = "what"
MAX_ROWS: Final = 200
_DRAWN: Final = "layers_drawn"  # session: names of the rows of the table that the browser shows
_TABLE: Final = "layers_table"
_SPARK_PX: Final = 6  # four points for each at most: no spike is lost

# Column of the table to statistic: of parameters, and of activations.
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "parameters": {
        "norm": "norm",
        "update ratio": "update_ratio",
        "gradient norm": "grad_norm",
        "drift (1 − cosine)": "drift",
    },
    "activations": {"norm": "act_norm", "std": "act_std", "dead": "dead", "saturated": "saturated"},
}
_ORDERS: Final = {
    "order": "Model order",
    "name": "Name",
    "size": "Parameters, most first",
    **{f"last {column}": f"Last {column}, largest first" for columns in _COLUMNS.values() for column in columns},
}


class Row(NamedTuple):
    """One row of the table: the layer, and each column's last value (None: never recorded) and course.

    `not_finite` counts NaN and infinite elements of the last samples, which the other numbers leave out.
    """

    layer: Layer
    not_finite: int
    last: Mapping[str, float | None]
    course: Mapping[str, Sequence[float]]


def choose(layers: Layers) -> list[str]:
    """Draw the controls and the table, and return the names of the picked layers, at most eight."""
    kinds = [kind for kind in _COLUMNS if any(layer.group == kind for layer in layers.rows)]
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        with st.container(width=300):
            text = linked.search("Filter", links.SEARCH, "part of a name, a type or a shape")
        with st.container(width=270):
            orders = [key for key in _ORDERS if key in ("order", "name", "size") or key[5:] in _columns_of(kinds)]
            order = linked.select("Sort by", SORT, orders, "order", format_func=_ORDERS.__getitem__)
        kind = linked.segments("Of", WHAT, kinds, kinds[0]) if len(kinds) > 1 else kinds[0]
    made = _rows_of(layers, kind)
    found = {f"{row.layer.name} {row.layer.type} {row.layer.shape_text} {row.layer.dtype}": row for row in made}
    rows = sort_rows([found[line] for line in matching(found, text)], order)
    _take_ticks()
    picked = picked_names(layers, kind)
    if not rows:
        st.info("No layer matches the filter.", icon=":material/search_off:")
        return picked
    _table(rows[:MAX_ROWS], kind, picked)
    parts = [f"{len(rows):,} of {sum(one.group == kind for one in layers.rows):,} tensors"]
    if len(rows) > MAX_ROWS:
        parts.append(f"the first {MAX_ROWS} are shown, filter for others")
    torn = sum(row.not_finite > 0 for row in rows)
    parts.append(f"{torn:,} with NaN or Inf in the last samples" if torn else "no NaN or Inf in the last samples")
    parts.append(f"courses: finite values over steps · tick up to {MAX_LAYERS} to draw them, a header sorts")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(" · ".join(parts), width="stretch")
        export_menu(
            Export(
                name="layers_table",
                stem=f"layers {layers.info.run_id}",
                table=lambda: write_csv(rows, kind),
                about_table="The table without its courses, with every digit",
                code=lambda: _code(layers),
            )
        )
    return picked


def picked_names(layers: Layers, kind: str) -> list[str]:
    """Return the picked layers that exist; when nobody picked any, the first weights or activations (at most four)."""
    text = state.get(PICKED)
    known = {layer.name for layer in layers.rows}
    if text is not None:
        return [name for name in links.split(text) if name in known][:MAX_LAYERS]
    shown = [layer for layer in layers.rows if layer.group == kind]
    shown = [layer for layer in shown if layer.num_values] or shown
    weights = [layer.name for layer in shown if len(layer.shape) > 1]
    return (weights or [layer.name for layer in shown])[:4]


def _rows_of(layers: Layers, kind: str) -> list[Row]:
    """The rows of the table, made once for these statistics and this record of the model."""
    what = ("rows", kind, layers.rows)
    memo = layers.statistics.memo
    if what not in memo:
        memo[what] = [make_row(layer, layers.statistics) for layer in layers.rows if layer.group == kind]
    rows: list[Row] = memo[what]
    return rows


def make_row(layer: Layer, statistics: LayerStatistics) -> Row:
    """Return the row of a layer."""
    last: dict[str, float | None] = {}
    course: dict[str, Sequence[float]] = {}
    for column, key in _COLUMNS[layer.group].items():
        series = statistics.series(layer.name, key)
        if series is None or not series.step.size:
            last[column], course[column] = None, ()
            continue
        last[column] = float(series.value[-1])
        finite = np.isfinite(series.value)
        x, y = series.step[finite].astype(np.float64), series.value[finite]
        if y.size > 4 * _SPARK_PX:
            y = y[m4(x, y, x[0], x[-1], _SPARK_PX)]
        course[column] = y.astype(np.float32).tolist()
    kinds = (PARAM, GRAD) if layer.group == "parameters" else (ACTIVATION,)
    return Row(layer, sum(statistics.not_finite(layer.name, kind) for kind in kinds), last, course)


def sort_rows(rows: Sequence[Row], order: str) -> list[Row]:
    """Return the rows sorted: by `order` of the model, `name`, `size`, or `last <column>`; without a value last."""
    if order == "name":
        return sorted(rows, key=lambda row: row.layer.name)
    if order == "size":
        return sorted(rows, key=lambda row: -row.layer.num_values)
    if order.startswith("last "):
        column = order[5:]

        def key(row: Row) -> tuple[int, float]:
            value = row.last.get(column)
            return (2, 0.0) if value is None else (0, 0.0) if np.isnan(value) else (1, -value)

        return sorted(rows, key=key)
    return list(rows)


def _columns_of(kinds: Sequence[str]) -> set[str]:
    return {column for kind in kinds for column in _COLUMNS[kind]}


def _table(rows: Sequence[Row], kind: str, picked: Sequence[str]) -> None:
    names = [row.layer.name for row in rows]
    ticked = [place for place, name in enumerate(names) if name in set(picked)]
    now: Any = (st.session_state.get(_TABLE) or {}).get("selection") or {}
    if sorted(now.get("rows", ())) != ticked:
        st.session_state[_TABLE] = {"selection": {"rows": ticked, "columns": [], "cells": []}}
    st.session_state[_DRAWN] = (names, ticked)
    columns = list(_COLUMNS[kind])
    st.dataframe(
        _arrow_table(rows, columns),
        key=_TABLE,
        hide_index=True,
        height=table_height(len(rows)) if len(rows) > 10 else "content",
        placeholder="",
        column_config=_config(columns),
        on_select="rerun",
        selection_mode="multi-row",
        alt="Layers: one row for each tensor, with its last values and their course",
    )


def _take_ticks() -> None:
    """Take over what was ticked since the table was drawn; layers that it does not show stay picked."""
    drawn = st.session_state.get(_DRAWN)
    if drawn is None or _TABLE not in st.session_state:
        return
    before, ticked = drawn
    event: Any = (st.session_state[_TABLE] or {}).get("selection") or {}
    rows = sorted(event.get("rows", ()))
    if rows == ticked:
        return
    picked = [before[row] for row in rows if row < len(before)]
    kept = [name for name in links.split(state.get(PICKED) or "") if name not in set(before)]
    chosen = [*kept, *picked]
    if len(chosen) > MAX_LAYERS:
        st.toast(f"At most {MAX_LAYERS} layers are drawn: the first {MAX_LAYERS} ticked ones.")
    state.put(PICKED, links.join(chosen[:MAX_LAYERS]) or "none")


def _arrow_table(rows: Sequence[Row], columns: Sequence[str]) -> pa.Table:
    table = {
        "name": arrow.texts(unique_labels(row.layer.name for row in rows)),
        "type": arrow.texts([plain(row.layer.type, 40) for row in rows]),
        "shape": arrow.texts([row.layer.shape_text for row in rows]),
    }
    if any(row.not_finite for row in rows):
        table["not finite"] = arrow.numbers([row.not_finite for row in rows], pa.int64())
    for column in columns:
        table[f"{column}, course"] = arrow.number_lists([row.course[column] for row in rows])
        table[column] = arrow.numbers([row.last[column] for row in rows])
    table |= {
        "values": arrow.numbers([row.layer.num_values for row in rows], pa.int64()),
        "dtype": arrow.texts([plain(row.layer.dtype, 20) for row in rows]),
        "trainable": arrow.numbers([row.layer.trainable for row in rows], pa.bool_()),
    }
    return arrow.table(table)


def _config(columns: Sequence[str]) -> Any:  # noqa: ANN401 - Streamlit's own mapping
    config: dict[str, Any] = {
        "name": st.column_config.TextColumn("tensor", pinned=True, width=160),
        "type": st.column_config.TextColumn("module", width=80),
        "shape": st.column_config.TextColumn("shape", width=85),
        "dtype": st.column_config.TextColumn("dtype", width=70),
        "not finite": st.column_config.NumberColumn(
            "not finite",
            format="localized",
            width=70,
            help="NaN and infinite elements of the last samples, of gradients too; all other numbers leave them out",
        ),
        "values": st.column_config.NumberColumn("values", format="localized", width=80, help="Elements of the tensor"),
        "trainable": st.column_config.CheckboxColumn("trains", width=55, help="Whether it requires a gradient"),
    }
    for column in columns:
        about = next(STATISTICS[keys[column]] for keys in _COLUMNS.values() if column in keys)
        config[f"{column}, course"] = st.column_config.LineChartColumn(
            column, width=98, help=f"{about.title} over steps, each with its own scale"
        )
        digits = "%.2e" if column == "update ratio" else "%.3g"  # the grid writes 3e-6 as 0.00000300 with %g
        config[column] = st.column_config.NumberColumn("last", format=digits, width=66, help=f"{about.title}, last")
    return config


def write_csv(rows: Sequence[Row], kind: str) -> bytes:
    """Return the table without its courses: every digit, one line per tensor."""
    columns = list(_COLUMNS[kind])
    header = [
        "tensor",
        "module",
        "shape",
        "dtype",
        "values",
        "trainable",
        "not finite",
        *(f"last {one}" for one in columns),
    ]
    facts = ((row.layer, row.not_finite, [row.last[column] for column in columns]) for row in rows)
    return csv_bytes(
        header,
        (
            [one.name, one.type, one.shape_text, one.dtype, one.num_values, one.trainable, torn, *numbers]
            for one, torn, numbers in facts
        ),
    )


def _code(layers: Layers) -> str:
    return (
        "from explorer import open_run\n\n"
        f"table = open_run({str(layers.info.path)!r}).tensors()\n"
        "last = table.sort_values('step').groupby(['kind', 'name']).last()\n"
        "print(last[['norm', 'update_ratio', 'cosine_init', 'mean', 'std', 'min', 'max']])"
    )
