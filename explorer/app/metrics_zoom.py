"""One window on the x axis for all charts, moved from any of them and kept in the address.

Every chart reports its own zoom as a selection. The chart that was moved last is the source; the others follow because
their rows and the ends of their axes are those of the window. A chart that still holds an older zoom of its own gets a
new key: nothing else takes a selection away from it.
"""

from __future__ import annotations

import hashlib
from typing import Final

import streamlit as st

from explorer.app import state
from explorer.app.windows import Window, as_window
from explorer.charts.curves import ZOOM

# Two numbers and the x axis they belong to, with commas between.
LINK: Final = "zoom"
_SESSION: Final = "metrics_zoom"


class Zoom:
    """The window of all charts in the unit of the x axis `axis`, and what each chart last reported."""

    def __init__(self) -> None:
        self.window: Window | None = None
        self._axis = ""
        self._scale = 1.0
        self._source: str | None = None
        self._reported: dict[str, Window | None] = {}
        self._revisions: dict[str, int] = {}

    def key(self, chart: str) -> str:
        """Return the widget key of a chart that is drawn now."""
        name = hashlib.sha256(chart.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        key = f"curves_{name}_{self._revisions.get(name, 0)}"
        self._reported.setdefault(key, None)
        return key

    def begin(self, axis: str, scale: float) -> None:
        """Take in what the address and the charts say; call it before any chart is drawn.

        Args:
            axis: what stands on the x axis.
            scale: size of its unit; the address holds the window times this, so that it outlives a change of unit.
        """
        self._axis, self._scale = axis, scale
        text = state.get(LINK)
        linked = _parse(text, axis)
        if text is not None and linked is None:  # of another axis, or no window at all
            state.put(LINK, None)
        window = None if linked is None else (linked[0] / scale, linked[1] / scale)
        if window is None or self.window is None or not _close(window, self.window):
            self.window, self._source = window, None
        for key, before in list(self._reported.items()):
            if key not in st.session_state:
                self._forget(key)
                continue
            now = reported(key)
            if now == before:
                continue
            self._reported[key] = now
            if now is not None:
                self._move(now, key)
            elif key == self._source:
                self._move(None, None)
        for key, own in list(self._reported.items()):
            if own is not None and key != self._source:
                self._forget(key)

    def reset(self) -> None:
        """Show everything again."""
        self._move(None, None)

    def _move(self, window: Window | None, source: str | None) -> None:
        self.window, self._source = window, source
        text = None if window is None else f"{window[0] * self._scale!r},{window[1] * self._scale!r},{self._axis}"
        state.put(LINK, text)

    def _forget(self, key: str) -> None:
        """Let the chart of this key start anew, without a zoom of its own."""
        del self._reported[key]
        name = key.split("_")[1]
        self._revisions[name] = self._revisions.get(name, 0) + 1


def session_zoom() -> Zoom:
    """Return the zoom of this session."""
    zoom: Zoom = st.session_state.setdefault(_SESSION, Zoom())
    return zoom


def reported(key: str) -> Window | None:
    """Return the window that the chart of this key reports, None when it has none of its own."""
    selection = (st.session_state.get(key) or {}).get("selection") or {}
    values = (selection.get(ZOOM) or {}).get("x")
    return as_window(*values) if isinstance(values, list | tuple) and len(values) == 2 else None


def _parse(text: str | None, axis: str) -> Window | None:
    parts = (text or "").split(",", 2)
    if len(parts) != 3 or parts[2] != axis:
        return None
    try:
        return as_window(float(parts[0]), float(parts[1]))
    except ValueError:
        return None


def _close(one: Window, other: Window) -> bool:
    width = max(one[1] - one[0], other[1] - other[0])
    return all(abs(a - b) <= width * 1e-6 for a, b in zip(one, other, strict=True))
