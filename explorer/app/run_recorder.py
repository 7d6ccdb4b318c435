"""What recording cost a run, what it lost and what it warned of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.analysis.settings import setting_text
from explorer.app.names import esc
from explorer.app.run_tables import table
from explorer.app.run_text import NONE, duration_text, number_text
from explorer.app.runs_fields import as_float
from explorer.reading.info import flatten

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_FEW_TIMED: Final = 5


def recorder(info: RunInfo) -> None:
    """Draw the recorder's own measurements of the newest attempt, losses over all attempts, and warnings."""
    overhead = info.overhead
    columns = st.columns(5)
    worst = _number(overhead, "caller_worst_us")
    columns[0].metric(
        "Cost of a call",
        micros_text(_number(overhead, "caller_us_per_call")),
        help="Time of log() on the training's own thread: median of the calls that were timed, one every two seconds"
        + (f". The slowest took {micros_text(worst)}." if worst is not None else ""),
    )
    columns[1].metric(
        "Share of the run",
        share_text(_number(overhead, "fraction")),
        help="Time in log() and CPU time of the writer, divided by the time of the attempt",
    )
    columns[2].metric(
        "Writer",
        duration_text(_number(overhead, "writer_s")),
        help="CPU time of the thread that writes; it runs beside the training",
    )
    columns[3].metric("Rows dropped", number_text(info.dropped_rows), help="Rows that did not reach the disk")
    columns[4].metric("Values refused", number_text(info.refused_values), help="Values that were no numbers")
    if info.warnings:
        lines = "\n".join(f"- {esc(text, 1000)}" for text in info.warnings[:50])
        st.warning(lines, title="What the recorder warned of", icon=":material/report:")
    timed = _number(overhead, "samples")
    if timed is not None and timed < _FEW_TIMED:
        calls = f"{timed:,.0f} call was" if timed == 1 else f"{timed:,.0f} calls were"
        st.caption(f"Only {calls} timed, in so short a run: the first calls cost more than later ones.")
    if not info.warnings and not info.dropped_rows and not info.refused_values:
        st.caption("No warning, no row dropped, no value refused.")
    if overhead:
        st.markdown("**As measured by the recorder, newest attempt**")
        table({key: _text(key, value) for key, value in sorted(flatten(overhead).items())}, "measure", "value")
    else:
        st.info("The recorder of this run has not written what it cost yet.", icon=":material/hourglass_empty:")


def micros_text(micros: float | None) -> str:
    """A short time, given in microseconds.

    >>> micros_text(1.234), micros_text(7630.0), micros_text(None)
    ('1.23 µs', '7.63 ms', '–')
    """
    if micros is None:
        return NONE
    return (
        f"{micros:.3g} µs"
        if micros < 1000
        else duration_text(micros / 1e6)
        if micros >= 1e6
        else f"{micros / 1e3:.3g} ms"
    )


def share_text(fraction: float | None) -> str:
    """A fraction in percent; below a ten-thousandth of a percent it is only said that it is below.

    >>> share_text(0.00123), share_text(2e-9), share_text(0.0), share_text(None)
    ('0.123 %', 'below 0.0001 %', '0 %', '–')
    """
    if fraction is None:
        return NONE
    return "below 0.0001 %" if 0 < fraction < 1e-6 else f"{100 * fraction:.3g} %"


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    return None if isinstance(value, bool) else as_float(value)


def _text(key: str, value: object) -> str:
    number = None if isinstance(value, bool) else as_float(value)
    if number is not None and "_us" in key:
        return micros_text(number)
    if number is not None and key == "fraction":
        return share_text(number)
    if number is not None and key.endswith("_s"):
        return f"{number:.4g} s"
    return setting_text(value)
