"""What a card of the page Distributions can be taken away as: PNG, SVG, CSV, and the lines that reproduce it."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import streamlit as st

from explorer.analysis.quantiles import bin_bounds
from explorer.app.colours import LIGHT, LIGHT_RAMP
from explorer.app.distributions_choices import FAN
from explorer.app.distributions_code import lines
from explorer.app.distributions_data import quantiles
from explorer.app.metrics_export import file_name, to_png, to_svg
from explorer.charts.distributions import PERCENTS
from explorer.charts.export import standalone

if TYPE_CHECKING:
    from explorer.analysis.shared_axis import Histograms
    from explorer.app.distributions_pictures import Picture

_HEIGHTS: Final = {"heat": 400, "fan": 400, "ridges": 520}


def menu(picture: Picture) -> None:
    """Draw the button that opens the exports of a card; nothing is made before it is opened."""
    name = f"{picture.choices.view}_{picture.sampled.info.run_id}"
    stem = file_name(f"{picture.sampled.label}-{picture.choices.tensor}-{picture.choices.kind}")
    export_menu(
        name,
        stem,
        lambda: picture_spec(picture),
        lambda: to_csv(picture),
        "The quantiles of every sample"
        if picture.choices.view == FAN
        else "The recorded bins and counts of every sample",
        lambda: lines(picture),
    )


def export_menu(
    name: str,
    stem: str,
    spec: Callable[[], dict[str, Any]],
    table: Callable[[], bytes],
    about_table: str,
    code: Callable[[], str],
) -> None:
    """Draw a button that opens exports of a chart.

    Args:
        name: for the keys of widgets.
        stem: name of the files, without ending.
        spec: makes a specification that stands on its own.
        table: makes the CSV.
        about_table: what the CSV holds.
        code: makes the Python lines.
    """
    box = st.popover(
        "",
        icon=":material/ios_share:",
        type="tertiary",
        help="PNG, SVG, CSV, and the Python lines of this chart",
        key=f"export_{name}",
        on_change="rerun",
    )
    if not box.open:
        return
    with box, st.container(width=560):
        can = importlib.util.find_spec("vl_convert") is not None
        with st.container(horizontal=True):
            st.download_button(
                "PNG", lambda: to_png(spec()), f"{stem}.png", "image/png",
                key=f"png_{name}", icon=":material/image:", on_click="ignore", disabled=not can,
            )  # fmt: skip
            st.download_button(
                "SVG", lambda: to_svg(spec()), f"{stem}.svg", "image/svg+xml",
                key=f"svg_{name}", icon=":material/polyline:", on_click="ignore", disabled=not can,
            )  # fmt: skip
            st.download_button(
                "CSV", table, f"{stem}.csv", "text/csv",
                key=f"csv_{name}", icon=":material/table:", on_click="ignore", help=about_table,
            )  # fmt: skip
        if not can:
            st.caption("PNG and SVG need one more package: `pip install vl-convert-python`.")
        st.caption("These lines read the same files and draw the same:")
        st.code(code(), language="python")


def picture_spec(picture: Picture) -> dict[str, Any]:
    """Return the specification of the picture of a card, in the light theme."""
    title = f"{picture.choices.tensor}, {picture.sampled.label}"
    return standalone(
        picture.spec,
        tables(picture.data(False)),
        LIGHT,
        LIGHT_RAMP,
        title,
        picture.caption,
        _HEIGHTS[picture.choices.view],
    )


def tables(data: Mapping[str, bytes]) -> dict[str, pa.Table]:
    """Return the tables that a chart was sent with, by name."""
    return {name: pa.ipc.open_stream(sent).read_all() for name, sent in data.items()}


def to_csv(picture: Picture) -> bytes:
    """Return the samples in the window as CSV: the quantiles of a fan, else every recorded bin (see `bins_csv`)."""
    return quantiles_csv(picture.rows) if picture.choices.view == FAN else bins_csv(picture.rows)


def quantiles_csv(rows: Histograms) -> bytes:
    """Return one line for each sample: step, counts, moments and quantiles; empty where no value is finite."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    named = [f"{percent}%" for percent in PERCENTS]
    writer.writerow(["step", "values", "nan", "inf", "zero", "mean", "std", "min", *named, "max"])
    whole = (rows.step, rows.n, rows.nans, rows.infs, rows.zeros)
    fan = quantiles(rows)
    numbers = np.column_stack([rows.mean, rows.std, rows.min, fan, rows.max]).tolist()
    for counts, values in zip(zip(*(part.tolist() for part in whole), strict=True), numbers, strict=True):
        writer.writerow([*counts, *("" if value != value else repr(value) for value in values)])
    return out.getvalue().encode()


def bins_csv(rows: Histograms) -> bytes:
    """Return one line for each occupied bin of each sample: step, low, high, count.

    Then one for each kind of values that are in no bin, with the kind (NaN or Inf) in place of low and high.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", "low", "high", "count"])
    writer.writerows(_bins(rows))
    return out.getvalue().encode()


def _bins(rows: Histograms) -> Iterator[tuple[object, ...]]:
    for k in range(len(rows)):
        step = int(rows.step[k])
        row = slice(int(rows.offsets[k]), int(rows.offsets[k + 1]))
        low, high = bin_bounds(rows.bins[row], int(rows.m[k]))
        for a, b, count in zip(low.tolist(), high.tolist(), rows.counts[row].tolist(), strict=True):
            yield step, repr(a), repr(b), count
        for kind, number in (("NaN", int(rows.nans[k])), ("Inf", int(rows.infs[k]))):
            if number:
                yield step, kind, kind, number
