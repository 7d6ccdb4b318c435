"""The button that every chart and table is taken away with: PNG, SVG, CSV, and the lines that reproduce it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import streamlit as st

from explorer.app.names import esc


@dataclass(frozen=True, kw_only=True)
class Export:
    """What one card can be taken away as; nothing of it is made before it is asked for.

    Attributes:
        name: for the keys of widgets; no two cards of a page share one.
        stem: what the files are named after; see `file_name`.
        spec: makes a specification that stands on its own (see `explorer.charts.export`); None for a table.
        table: makes the CSV; None for what is too long for one.
        about_table: what the CSV holds.
        code: the Python lines, or what makes them, or None.
    """

    name: str
    stem: str
    spec: Callable[[], dict[str, Any]] | None = None
    table: Callable[[], bytes] | None = None
    about_table: str = "Every point, with every digit"
    code: str | Callable[[], str] | None = None


def card_head(title: str, export: Export, *, help: str | None = None) -> None:
    """Draw the head of a card: its title (plain text), what it means (Markdown), and the button of its exports.

    All on the left: the chart's own toolbar appears on the right when the pointer is over it.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{esc(title, 160)}**", width="content", help=help)
        export_menu(export)


def below(of: str, caption: str) -> str:
    """Return what stands under the title of an exported picture: whose it is, then what is drawn.

    >>> below("digits", "3 layers"), below("", "3 layers")
    ('digits · 3 layers', '3 layers')
    """
    return f"{of} · {caption}" if of else caption


def export_menu(export: Export) -> None:
    """Draw the button that opens the exports; nothing when there is nothing to take away."""
    offered = [*(["PNG", "SVG"] if export.spec else []), *(["CSV"] if export.table else [])]
    if export.code is not None:
        offered.append("the Python lines that reproduce it")
    if not offered:
        return
    box = st.popover(
        "",
        icon=":material/ios_share:",
        type="tertiary",
        help=", ".join(offered[:-1]) + (" and " if offered[:-1] else "") + offered[-1],
        key=f"export_{export.name}",
        on_change="rerun",
    )
    if not box.open:
        return
    with box, st.container(width=560):
        with st.container(horizontal=True):
            can = _pictures(export)
            if export.table is not None:
                st.download_button(
                    "CSV", export.table, f"{file_name(export.stem)}.csv", "text/csv",
                    key=f"csv_{export.name}", icon=":material/table:", on_click="ignore", help=export.about_table,
                )  # fmt: skip
        if not can:
            st.caption("PNG and SVG need one more package: `pip install vl-convert-python`.")
        if export.code is not None:
            st.caption("These lines read the same files and give the same:")
            st.code(export.code if isinstance(export.code, str) else export.code(), language="python")


def _pictures(export: Export) -> bool:
    """Draw the buttons of both pictures, if there are any; return whether the package that draws them is here."""
    spec = export.spec
    if spec is None:
        return True
    can = importlib.util.find_spec("vl_convert") is not None
    stem = file_name(export.stem)
    st.download_button(
        "PNG", lambda: to_png(spec()), f"{stem}.png", "image/png",
        key=f"png_{export.name}", icon=":material/image:", on_click="ignore", disabled=not can,
    )  # fmt: skip
    st.download_button(
        "SVG", lambda: to_svg(spec()), f"{stem}.svg", "image/svg+xml",
        key=f"svg_{export.name}", icon=":material/polyline:", on_click="ignore", disabled=not can,
    )  # fmt: skip
    return can


def to_svg(spec: Mapping[str, Any]) -> bytes:
    """Return the picture of `spec` as SVG, made on this machine; nothing is loaded from anywhere."""
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(dict(spec), allowed_base_urls=[])
    return text.encode()


def to_png(spec: Mapping[str, Any], scale: float = 2.0) -> bytes:
    """Return the picture of `spec` as PNG, `scale` pixels for each of its units; nothing is loaded from anywhere."""
    import vl_convert

    data: bytes = vl_convert.vegalite_to_png(dict(spec), scale=scale, allowed_base_urls=[])
    return data


def file_name(text: str) -> str:
    """Return a name for a file, without ending, that holds only letters, digits, dots, dashes and underscores.

    >>> file_name("train/loss (ema)")
    'train-loss-ema'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80] or "chart"


def tables(data: Mapping[str, bytes]) -> dict[str, pa.Table]:
    """Return the tables that a chart was sent with, by name."""
    return {name: pa.ipc.open_stream(sent).read_all() for name, sent in data.items()}
