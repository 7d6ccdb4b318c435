"""The modules of a model as a table: a tree of rows, sorted, filtered, with what is painted as numbers and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import streamlit as st

from explorer.app import linked, links, model_opened
from explorer.app.distributions_data import kept
from explorer.app.export_menu import Export, export_menu
from explorer.app.model_export import lines, tree_csv
from explorer.app.model_opened import Picked
from explorer.app.model_paint import NOTHING, SIZE, TIME, Painting, scale
from explorer.app.model_shapes import shape_text
from explorer.app.names import esc, matching, plain
from explorer.charts import arrow

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture, ModuleRow
    from explorer.app.model_timing import Times
    from explorer.reading.catalogue import RunInfo

SORT: Final = "by"  # keys of the address
LEVELS: Final = "levels"
MAX_ROWS: Final = 1_000
_TABLE: Final = "model_tree"
_TICKED: Final = "model.ticked"  # session: paths of the rows that are drawn, and which of them is ticked
_ALL: Final = "all"
_HEIGHT: Final = 430  # pixels; 12 rows and the header, so that what is ticked is seen below
_INDENT: Final = "\u2003"


def tree(info: RunInfo, model: Architecture, found: Picked, painted: Painting, times: Times | None) -> None:
    """Draw the table with its controls."""
    _take_tick()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=300):
            text = linked.search("Filter", links.SEARCH, "part of a path, a type or a tensor's name")
        with st.container(width=250):
            order = linked.select("Sort by", SORT, orders(painted, times), "order")
        deepest = max(row.depth for row in model.rows.values())
        levels = [*(str(depth) for depth in range(1, min(deepest, 5) + 1)), _ALL] if deepest > 1 else [_ALL]
        level = linked.segments("Levels", LEVELS, levels, _ALL) if deepest > 1 else _ALL
    rows = arranged(model, text, order, None if level == _ALL else int(level), painted, times)
    if not rows:
        st.info("No module matches the filter.", icon=":material/search_off:")
        return
    is_tree = order == "order" and not text
    _table(rows[:MAX_ROWS], model, found, painted, times, is_tree)
    parts = [f"{len(rows):,} of {len(model.rows):,} modules"]
    if len(rows) > MAX_ROWS:
        parts.append(f"the first {MAX_ROWS:,} are shown, filter for others")
    parts.append("counts include what is inside a module · tick a row to see it below, a header sorts")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(" · ".join(parts), width="stretch")
        export_menu(
            Export(
                name="model_tree",
                stem=f"model {info.run_id}",
                table=lambda: tree_csv(rows, model, painted, times),
                about_table="Every module with every digit",
                code=lines(info),
            )
        )


def orders(painted: Painting, times: Times | None) -> dict[str, str]:
    """Return what the table can be sorted by, with titles."""
    found = {"order": "Order in the model", "name": "Path", "size": "Parameters, most first"}
    if times is not None:
        found |= {"total": "Time, longest first", "self": "Own time, longest first"}
    if painted.key not in (NOTHING, SIZE, TIME):
        found["painted"] = f"{painted.title}, largest first"
    return found


def arranged(
    model: Architecture, text: str, order: str, levels: int | None, painted: Painting, times: Times | None
) -> list[ModuleRow]:
    """Return the rows that match a search text and are at most so many levels deep, in an order of `orders`."""
    rows = [row for row in model.rows.values() if levels is None or row.depth <= levels]
    if text:
        named = {f"{row.path} {row.type} {' '.join(weight.name for weight in row.weights)}": row for row in rows}
        rows = [named[line] for line in matching(named, text)]
    if order == "name":
        return sorted(rows, key=lambda row: row.path)
    if order == "size":
        return sorted(rows, key=lambda row: -row.num_parameters)
    if order in ("total", "self") and times is not None:
        spent = times.total_ms if order == "total" else times.self_ms
        return sorted(rows, key=lambda row: -spent.get(row.path, -1.0))
    if order == "painted":
        return sorted(rows, key=lambda row: _rank(painted, row.path))
    return rows


def _rank(painted: Painting, path: str) -> tuple[int, float]:
    """NaN first, then the largest; without a value last."""
    value = painted.values.get(path)
    if value is None:
        return 2, 0.0
    return (0, 0.0) if np.isnan(value.value) else (1, -value.value)


def _table(
    rows: Sequence[ModuleRow],
    model: Architecture,
    found: Picked,
    painted: Painting,
    times: Times | None,
    is_tree: bool,
) -> None:
    paths = [row.path for row in rows]
    ticked = [paths.index(found.path)] if found.path in paths and (found.path or not found.node) else []
    now: Any = (st.session_state.get(_TABLE) or {}).get("selection") or {}
    if list(now.get("rows", ())) != ticked:
        st.session_state[_TABLE] = {"selection": {"rows": ticked, "columns": [], "cells": []}}
    st.session_state[_TICKED] = (paths, ticked)
    st.dataframe(
        kept(
            ("model tree", model, painted, times, is_tree, *paths),
            lambda: arrow.table(columns(rows, model, painted, times, is_tree)),
        ),
        key=_TABLE,
        hide_index=True,
        height="content" if len(rows) <= 12 else _HEIGHT,
        placeholder="",
        column_config=_config(painted, times),
        on_select="rerun",
        selection_mode="single-row",
        alt="Modules: one row for each, with what is in it",
    )


def _take_tick() -> None:
    """Look at the row that was ticked since the table was drawn."""
    drawn = st.session_state.get(_TICKED)
    if drawn is None or _TABLE not in st.session_state:
        return
    paths, ticked = drawn
    report: Any = (st.session_state[_TABLE] or {}).get("selection") or {}
    rows = list(report.get("rows", ()))
    if rows != ticked and rows and isinstance(rows[0], int) and rows[0] < len(paths):
        st.session_state[_TICKED] = (paths, rows)
        model_opened.pick(paths[rows[0]])
        st.rerun()


def columns(
    rows: Sequence[ModuleRow], model: Architecture, painted: Painting, times: Times | None, is_tree: bool
) -> dict[str, pa.Array]:
    """Return the columns of the table; columns that would be empty are left out."""
    names = [_name(row, model, is_tree) for row in rows]
    found = {"module": arrow.texts(names), "type": arrow.texts([plain(row.type, 40) for row in rows])}
    if painted.key not in (NOTHING, SIZE, TIME):
        values = [painted.values.get(row.path) for row in rows]
        shades = scale(painted, [value.value for value in values if value is not None], dark=False)
        found["painted"] = arrow.numbers([None if value is None else value.value for value in values])
        found["bar"] = arrow.numbers(
            [
                None if value is None or shades is None or not np.isfinite(value.value)
                else max(shades.share(value.value), 0.02)
                for value in values
            ]
        )  # fmt: skip
    if times is not None:
        whole = times.total_ms.get("", 0.0) or 1.0
        found["total"] = arrow.numbers([times.total_ms.get(row.path) for row in rows])
        found["self"] = arrow.numbers([times.self_ms.get(row.path) for row in rows])
        found["share"] = arrow.numbers([times.total_ms.get(row.path, 0.0) / whole for row in rows])
    if model.program is not None:
        found["output"] = arrow.texts(
            [", ".join(shape_text(shape, model.sizes) for shape in row.shapes) for row in rows]
        )
        found["dtype"] = arrow.texts([" ".join(dtype for dtype in row.dtypes if dtype) for row in rows])
    found["parameters"] = arrow.numbers([row.num_parameters for row in rows], pa.int64())
    found["own"] = arrow.texts([_own(row) for row in rows])
    if model.root.num_buffers:
        found["buffers"] = arrow.numbers([row.num_buffers for row in rows], pa.int64())
    if any(weight.tied for row in model.rows.values() for weight in row.weights):
        found["tied"] = arrow.texts(
            [", ".join(plain(name, 60) for w in row.weights for name in w.tied) for row in rows]
        )
    found["frozen"] = arrow.texts([_frozen(row) for row in rows])
    if model.program is not None:
        found["calls"] = arrow.numbers([row.num_calls for row in rows], pa.int64())
        found["operators"] = arrow.numbers([row.num_nodes for row in rows], pa.int64())
    return found


def _name(row: ModuleRow, model: Architecture, is_tree: bool) -> str:
    if not row.path:
        return plain(model.root.type or "the model", 60)
    name = row.path.rpartition(".")[2] if is_tree else row.path
    return _INDENT * (row.depth if is_tree else 0) + plain(name, 120)


def _own(row: ModuleRow) -> str:
    parts = [f"{plain(w.name.rpartition('.')[2], 30)} {shape_text(w.shape, {})}" for w in row.weights[:6]]
    return ", ".join(parts) + (f" and {len(row.weights) - 6} more" if len(row.weights) > 6 else "")


def _frozen(row: ModuleRow) -> str:
    if not row.num_parameters:
        return ""
    if row.num_frozen is None:
        return "not recorded"
    return "" if not row.num_frozen else "all" if row.num_frozen == row.num_parameters else f"{row.num_frozen:,}"


def _config(painted: Painting, times: Times | None) -> Mapping[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    milliseconds = "" if times is None else f" {esc(times.about, 300)}"
    sizes = [abs(value.value) for value in painted.values.values() if value.value and np.isfinite(value.value)]
    digits = "%.2e" if sizes and min(sizes) < 1e-3 else "%.3g"  # the grid writes 3e-6 as 0.00000300 with %g
    return {
        "module": text("module", pinned=True, width=190),
        "type": text("type", width=110),
        "painted": number(plain(painted.title, 40), format=digits, width=105, help=esc(painted.about, 300) or None),
        "bar": st.column_config.ProgressColumn(
            "", format=" ", min_value=0.0, max_value=1.0, width=80,
            help="Between the ends of these rows" + (", by their logarithm" if painted.is_log else ""),
        ),
        "total": number("total ms", format="%.3g", width=75, help=f"With all that is in it.{milliseconds}"),
        "self": number("own ms", format="%.3g", width=75, help=f"Of its own operators.{milliseconds}"),
        "share": st.column_config.ProgressColumn(
            "of the run", format="percent", min_value=0.0, max_value=1.0, width=95
        ),
        "output": text("output", width=150, help="Letters stand for sizes that may vary"),
        "dtype": text("dtype", width=70),
        "parameters": number("parameters", format="localized", width=90, help="Elements, with what is in it"),
        "own": text("own tensors", width=230),
        "buffers": number("buffers", format="localized", width=75, help="Elements of buffers, with what is in it"),
        "tied": text("tied to", width=130, help="Other names of the same tensor"),
        "frozen": text("frozen", width=90, help="Parameters without a gradient"),
        "calls": number("calls", width=55, help="In one run of the model"),
        "operators": number("operators", width=75),
    }  # fmt: skip
