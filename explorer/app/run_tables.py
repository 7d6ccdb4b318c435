"""Tables of the Run page: its metrics, settings and environment, all as text that is safe to show."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from explorer.analysis.settings import setting_text
from explorer.app import linked
from explorer.app.names import matching, plain, unique_labels
from explorer.app.run_text import NONE, block_text, bytes_text, number_text, value_text
from explorer.app.runs_fields import as_float
from explorer.app.runs_trends import trends
from explorer.app.table_heights import table_height
from explorer.reading.info import flatten

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

SEARCH: Final = "within"  # key of the address
MAX_ROWS: Final = 2_000
_TRENDS_S: Final = 0.2  # time to read the courses of metrics; those that are left come at the next look
_MAX_CHARS: Final = 1_000  # of one setting


def search(placeholder: str) -> str:
    """Draw the search box of a page and return its text."""
    return linked.search("Search", SEARCH, placeholder, hide_label=True)


def metrics(info: RunInfo) -> None:
    """Draw the course and the totals of every metric: last, smallest and largest value with their steps, and counts."""
    summaries = info.metrics
    if not summaries:
        st.info(
            'Nothing has been logged yet. Values appear here after `rec.log({"train/loss": loss}, step=step)`.',
            icon=":material/hourglass_empty:",
        )
        return
    names = matching(sorted(summaries), search("part of a metric's name"))
    _say_count(len(names), len(summaries), "metrics")
    until = time.monotonic() + _TRENDS_S
    frame = pd.DataFrame(
        {
            "metric": unique_labels(names[:MAX_ROWS]),
            "course": [
                list(trends().read([info], name, until - time.monotonic())[0][0]) for name in names[:MAX_ROWS]
            ],
            **{
                column: number_column(getattr(summaries[name], field) for name in names[:MAX_ROWS])
                for column, field in (
                    ("last", "last"), ("at step", "last_step"), ("min", "min"), ("min at", "min_step"),
                    ("max", "max"), ("max at", "max_step"), ("values", "n"), ("NaN", "num_nan"), ("Inf", "num_inf"),
                )
            },
        }
    )  # fmt: skip
    values = ("last", "min", "max")
    counts = [column for column in frame.columns[2:] if column not in values]
    style = frame.style.format({**dict.fromkeys(values, _value), **dict.fromkeys(counts, _count)})
    style = style.map(lambda count: "font-weight: bold" if count else "color: gray", subset=["NaN", "Inf"])
    st.dataframe(
        style,
        hide_index=True,
        height=table_height(len(frame)),
        placeholder="",
        column_config={
            "metric": st.column_config.TextColumn("metric", pinned=True, width="medium"),
            **{column: st.column_config.Column(alignment="right") for column in values},
            "course": st.column_config.LineChartColumn("course", width="small", help="Finite values over steps"),
        },
        alt="Totals of each metric of this run",
    )


def settings(config: Mapping[str, Any]) -> None:
    """Draw the config with dotted keys, searchable by key and value."""
    flat = {key: setting_text(value) for key, value in flatten(config).items()}
    if not flat:
        st.info(
            'This run has no config. Give it one with `Recorder("name", config={"lr": 1e-3})`, or later with '
            "`rec.config.update(...)`.",
            icon=":material/tune:",
        )
        return
    text = search("part of a setting or its value")
    lines = {f"{key} {value}": key for key, value in flat.items()}
    keys = [lines[line] for line in matching(lines, text)]
    _say_count(len(keys), len(flat), "settings")
    table({key: flat[key] for key in sorted(keys)}, "setting", "value")


def environment(found: Mapping[str, Any], seed: Mapping[str, Any] | None, argv: Iterable[str]) -> None:
    """Draw what the run ran on: machine, Python, seed, command line, packages, environment variables."""
    command = " ".join(argv)
    if command:
        st.markdown("**Command**")
        st.code(block_text(command, 20_000), language=None, wrap_lines=True)
    if not found:
        st.info("The recorder has written no environment for this run.", icon=":material/memory:")
        return
    parts = {key: dict(found[key]) for key in ("versions", "variables") if isinstance(found.get(key), Mapping)}
    machine = {key: _readable(key, value) for key, value in flatten(found).items() if key.split(".")[0] not in parts}
    machine |= {f"seed.{key}": _readable(key, value) for key, value in flatten(seed or {}).items()}
    left, right = st.columns(2)
    with left:
        st.markdown("**Machine**")
        table(machine, "property", "value")
        if parts.get("variables"):
            st.markdown("**Environment variables**")
            table({key: str(value) for key, value in parts["variables"].items()}, "variable", "value")
    with right:
        st.markdown("**Packages**")
        table({key: setting_text(value) for key, value in parts.get("versions", {}).items()}, "package", "version")


def table(rows: Mapping[str, str], key: str, value: str) -> None:
    """Draw names and texts as a table of two columns."""
    shown = dict(list(rows.items())[:MAX_ROWS])
    frame = pd.DataFrame({key: unique_labels(shown), value: [plain(text, _MAX_CHARS) for text in shown.values()]})
    st.dataframe(
        frame,
        hide_index=True,
        height=table_height(len(frame)),
        column_config={key: st.column_config.TextColumn(key, width="medium")},
        alt=f"Table of {key} and {value}",
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) else value_text(value) if isinstance(value, float) else ""


def _count(value: object) -> str:
    return number_text(value) if isinstance(value, float) else ""


def _say_count(found: int, total: int, what: str) -> None:
    if found < total or found > MAX_ROWS:
        shown = f"{found:,} of {total:,} {what}"
        st.caption(shown + (f"; the first {MAX_ROWS:,} are shown, search for others" if found > MAX_ROWS else ""))


def _readable(key: str, value: object) -> str:
    if value is None:
        return NONE
    if key.endswith("_bytes") and isinstance(value, int | float) and not isinstance(value, bool):
        return bytes_text(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    return setting_text(value)


def number_column(values: Iterable[float | int | None]) -> pd.Series:
    """A column of numbers, None where there is none; as text where the browser's table could not show one of them.

    It shows NaN as if it was missing, and numbers beyond 2**53 cut off in the middle.
    """
    numbers = [as_float(value) for value in values]
    if any(value is not None and (math.isnan(value) or 2**53 <= abs(value) < math.inf) for value in numbers):
        return pd.Series([None if value is None else value_text(value) for value in numbers], dtype=object)
    return pd.Series(numbers, dtype="float64")
