"""The sparklines of the runs table: a few points of one metric for each run, read once and kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import streamlit as st

from explorer.app.caching import series_store
from explorer.errors import ExplorerError
from explorer.reading.catalogue import RunInfo
from explorer.reading.downsample import m4

_NUM_PIXELS: Final = 12  # four points for each at most: no spike is lost
_MAX_KEPT: Final = 20_000

Points = tuple[float, ...]


class Trends:
    """Points by run and metric, for all sessions. A run that has grown is read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[int, Points]] = {}

    def read(self, infos: Sequence[RunInfo], metric: str, budget_s: float) -> tuple[list[Points], int]:
        """Return the points of each run in order, and how many could not be read in `budget_s` seconds.

        A run that was not read shows the points of its last reading; it has none before, and none without the metric.
        """
        until = time.monotonic() + budget_s
        out: list[Points] = []
        num_left = 0
        for info in infos:
            key = (str(info.path), metric)
            with self._lock:
                rows, points = self._kept.get(key, (-1, ()))
            if metric in info.metrics and rows != info.rows:
                if time.monotonic() < until:
                    points = _points(info, metric)
                    self._keep(key, info.rows, points)
                else:
                    num_left += 1
            out.append(points)
        return out, num_left

    def _keep(self, key: tuple[str, str], rows: int, points: Points) -> None:
        with self._lock:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (rows, points)


@st.cache_resource(show_spinner=False)
def trends() -> Trends:
    """Return the sparklines of all sessions."""
    return Trends()


def _points(info: RunInfo, metric: str) -> Points:
    try:
        series = series_store().series(info.path, metric)
    except (ExplorerError, OSError):
        return ()
    finite = np.isfinite(series.value)
    x, y = series.step[finite].astype(np.float64), series.value[finite]
    if len(x) == 0:
        return ()
    picked = y[m4(x, y, x[0], x[-1], _NUM_PIXELS)] if len(x) > 4 * _NUM_PIXELS else y
    return tuple(np.asarray(picked, dtype=np.float32).tolist())
