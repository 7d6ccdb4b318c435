"""The metrics of several runs beside each other, with their differences to the reference run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import pandas as pd
import streamlit as st

from explorer.analysis.comparison import metric_table, wide_metric_table
from explorer.analysis.settings import pick_statistic
from explorer.app.compare_choices import OFF, Choices, explain
from explorer.app.csv_text import csv_bytes
from explorer.app.drawn_once import drawn_once
from explorer.app.names import matching, metric_names, plain, unique_labels
from explorer.app.run_tables import number_column
from explorer.app.run_text import percent_text, value_text
from explorer.app.runs_fields import ABOUT
from explorer.app.table_heights import table_height

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

MAX_ROWS: Final = 100  # a styled cell costs 40 us
_FIELDS: Final = ("value", "difference", "percent")
_MARKS: Final = ("verdict", "recorded")
_TITLES: Final[Mapping[str, str]] = {"value": "value", "difference": "Δ", "percent": "Δ %"}
# Blue and orange tell apart with any kind of sight; translucent, they stand on light and on dark alike.
_COLOURS: Final[Mapping[str, str]] = {"better": "#1d7df24d", "worse": "#e07b0059", "same": "", "": ""}


def metrics(infos: Sequence[RunInfo], labels: Mapping[str, str], choices: Choices) -> None:
    """Draw the table of metrics, what its colours mean, and its CSV."""
    names = metric_names(infos)
    if not names:
        st.info("None of these runs has logged a metric yet.", icon=":material/hourglass_empty:")
        return
    found = matching(names, choices.search)
    # Beside the title: over its right end the toolbar of the table appears.
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.subheader(f"Metrics, {choices.statistic} value", anchor=False, width="content")
        st.download_button(
            "CSV",
            lambda: write_csv(compare(infos, found, choices), {info.run_id: info.name for info in infos}, choices),
            "comparison.csv",
            "text/csv",
            icon=":material/download:",
            help="One line for each metric and run, with every digit",
            on_click="ignore",
        )
    if not found:
        st.info("No metric holds the text that you search for.", icon=":material/search_off:")
        return
    _draw(infos, labels, found, choices)


def compare(infos: Sequence[RunInfo], names: Sequence[str], choices: Choices) -> pd.DataFrame:
    """The chosen number of each metric and run, with its difference to the reference (see `metric_table`)."""
    directions = choices.directions(names)
    values = {
        info.run_id: {
            name: pick_statistic(
                choices.statistic,
                last=info.metrics[name].last,
                low=info.metrics[name].min,
                high=info.metrics[name].max,
                better=directions.get(name),
            )
            for name in names
            if name in info.metrics
        }
        for info in infos
    }
    for numbers in values.values():  # a metric that only some runs have is a row all the same
        numbers.update({name: numbers.get(name) for name in names})
    return metric_table(values, choices.reference, better=None if choices.better == OFF else directions)


@drawn_once
def _draw(infos: Sequence[RunInfo], labels: Mapping[str, str], found: Sequence[str], choices: Choices) -> None:
    without_best = set(found) - set(choices.directions(found)) if choices.statistic == "best" else set()
    drawn = [name for name in found if name not in without_best][:MAX_ROWS]
    _draw_table(compare(infos, drawn, choices), infos, labels, choices)
    notes = [explain(choices, found)]
    if choices.statistic != "last" and any(info.num_attempts > 1 for info in infos):
        notes.append(f"{choices.statistic.capitalize()}: {ABOUT[choices.statistic].lower()}.")
    if len(found) > MAX_ROWS:
        notes.append(f"The first {MAX_ROWS:,} of {len(found):,} metrics are shown; search for others, or take the CSV.")
    if choices.better != OFF:
        notes.append("Blue: better than the reference. Orange: worse.")
    if any(notes):
        st.caption(" ".join(note for note in notes if note))


def _draw_table(table: pd.DataFrame, infos: Sequence[RunInfo], labels: Mapping[str, str], choices: Choices) -> None:
    others = [info.run_id for info in infos if info.run_id != choices.reference]
    runs = [choices.reference, *others]
    wide = wide_metric_table(table, runs, (*_FIELDS, *_MARKS))
    shown = [
        (choices.reference, "value"),
        *((run, field) for run in others for field in ("value", *choices.differences)),
    ]
    columns = {(run, field): wide[run, field].tolist() for run in runs for field in (*_FIELDS, *_MARKS)}
    verdicts = [[""] * len(wide) if field == "value" else columns[run, "verdict"] for run, field in shown]
    frame = pd.DataFrame(
        {
            place: number_column(
                value if recorded and (field == "value" or not math.isnan(value)) else None
                for value, recorded in zip(columns[run, field], columns[run, "recorded"], strict=True)
            )
            for place, (run, field) in enumerate(shown)
        }
    )
    frame.columns = pd.MultiIndex.from_tuples(
        [(labels[run], "reference" if run == choices.reference else _TITLES[field]) for run, field in shown]
    )
    frame.index = pd.Index(unique_labels(wide.index), name="metric")
    colours = pd.DataFrame(
        {place: [_background(verdict) for verdict in column] for place, column in enumerate(verdicts)},
        index=frame.index,
    ).set_axis(frame.columns, axis="columns")
    formats = {column: _FORMATS[field] for column, (_, field) in zip(frame.columns, shown, strict=True)}
    right = {place + 1: st.column_config.Column(alignment="right") for place in range(len(shown))}
    style = frame.style.format(formats).apply(lambda _: colours, axis=None)  # type: ignore[arg-type]
    st.dataframe(
        style,
        height=table_height(len(wide)),
        placeholder="",
        column_config=cast(dict[str, Any], {0: st.column_config.Column(width=_name_px(frame.index)), **right}),
        alt="Metrics of the compared runs",
    )


def _name_px(names: pd.Index) -> int:
    """Width of the names: the grid would cut off `watch/grad_norm_before_clipping` to that of its neighbour."""
    return min(max(24 + 6 * max(map(len, names), default=0), 90), 260)


def _background(verdict: str) -> str:
    return f"background-color: {_COLOURS[verdict]}" if _COLOURS[verdict] else ""


def _value_text(value: object) -> str:
    return value if isinstance(value, str) else value_text(value) if isinstance(value, float) else ""


def _difference_text(value: object) -> str:
    if not isinstance(value, float):
        return str(value or "")
    return "" if math.isnan(value) else value_text(value, digits=3, sign=True)


def _percent_text(value: object) -> str:
    return percent_text(value) if isinstance(value, float) else str(value or "")


_FORMATS: Final = {"value": _value_text, "difference": _difference_text, "percent": _percent_text}


def write_csv(table: pd.DataFrame, names: Mapping[str, str], choices: Choices) -> bytes:
    """The comparison as CSV, one line per metric and run, every digit; missing values are empty."""
    columns = ("metric", "run", "recorded", "value", "difference", "percent")
    return csv_bytes(
        ["metric", "run_id", "run", "statistic", "value", "reference", "difference", "percent"],
        (
            [
                metric, run, plain(names[run]), choices.statistic, value if recorded else None, choices.reference,
                *(None if math.isnan(number) else number for number in differences),
            ]
            for metric, run, recorded, value, *differences in zip(
                *(table[name].tolist() for name in columns), strict=True
            )
        ),
    )  # fmt: skip
