"""The steps that all charts of a page show: brushed in one of them, kept in the address."""

from __future__ import annotations

import math
from typing import Final

import streamlit as st

from explorer.app import links, state
from explorer.charts.heat_map import BRUSH

Window = tuple[float, float]
# Session: how often the window was set by a brush. A chart with a new key has no brush of its own any more.
_REVISION: Final = "steps_window_revision"


def window() -> Window | None:
    """Return the window of the address; None shows all steps."""
    parts = (state.get(links.STEPS) or "").split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        return None
    return _window(low, high)


def key(name: str) -> str:
    """Return the key of a chart that takes the brush; another one after each brush."""
    return f"{name}_{st.session_state.get(_REVISION, 0)}"


def take(name: str) -> None:
    """Make what was brushed in the chart of `key(name)` the window; call it before any chart is drawn."""
    selection = (st.session_state.get(key(name)) or {}).get("selection") or {}
    values = (selection.get(BRUSH) or {}).get("x")
    found = _window(*values) if isinstance(values, list | tuple) and len(values) == 2 else None
    if found is not None:
        put(found)


def put(found: Window | None) -> None:
    """Show these steps, or all."""
    state.put(links.STEPS, None if found is None else f"{found[0]:.10g},{found[1]:.10g}")
    st.session_state[_REVISION] = st.session_state.get(_REVISION, 0) + 1


def _window(low: object, high: object) -> Window | None:
    """A window from what a browser or an address says: finite, ascending, and wide enough for an axis."""
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return None
    low, high = sorted((float(low), float(high)))
    if not (math.isfinite(low) and math.isfinite(high)) or max(abs(low), abs(high)) > 1e15:
        return None
    return (low, high) if high - low > max(abs(low), abs(high), 1.0) * 1e-9 else None
