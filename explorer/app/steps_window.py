"""The steps that all charts of a page show: brushed in one of them, kept in the address."""

from __future__ import annotations

from typing import Final

import streamlit as st

from explorer.app import links, state
from explorer.app.windows import Window, as_window
from explorer.charts.heat_map import BRUSH

# Session: how often the window was set by a brush. A chart with a new key has no brush of its own any more.
_REVISION: Final = "steps_window_revision"


def window() -> Window | None:
    """Return the window of the address; None shows all steps."""
    parts = (state.get(links.STEPS) or "").split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        return None
    return as_window(low, high)


def key(name: str) -> str:
    """Return the key of a chart that takes the brush; another one after each brush."""
    return f"{name}_{st.session_state.get(_REVISION, 0)}"


def take(name: str) -> None:
    """Make what was brushed in the chart of `key(name)` the window; call it before any chart is drawn."""
    selection = (st.session_state.get(key(name)) or {}).get("selection") or {}
    values = (selection.get(BRUSH) or {}).get("x")
    found = as_window(*values) if isinstance(values, list | tuple) and len(values) == 2 else None
    if found is not None:
        put(found)


def put(found: Window | None) -> None:
    """Show these steps, or all."""
    state.put(links.STEPS, None if found is None else f"{found[0]:.10g},{found[1]:.10g}")
    st.session_state[_REVISION] = st.session_state.get(_REVISION, 0) + 1
