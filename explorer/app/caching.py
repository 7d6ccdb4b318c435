"""What all sessions share: the catalogue of each root and the numbers that have been read.

Everything handed out is immutable or guards itself; nothing here belongs to one user.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import streamlit as st

from explorer.reading.catalogue import Catalogue, RunInfo
from explorer.reading.scalars import SeriesStore
from explorer.reading.tensors import TensorStore

# Reruns that follow each other faster than this share one look at the disk.
_FRESH_S: Final = 0.3


class Listing:
    """The runs of one root, looked at again when asked for later than 0.3 s after the last look."""

    def __init__(self, root: str) -> None:
        self._catalogue = Catalogue(root)
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._infos: list[RunInfo] = []

    def runs(self) -> list[RunInfo]:
        """Return all runs, newest first.

        Raises:
            RootError: the root cannot be read.
        """
        with self._lock:
            if self._looked is None or time.monotonic() - self._looked > _FRESH_S:
                self._infos = self._catalogue.refresh()
                self._looked = time.monotonic()
            return self._infos

    def forget(self) -> None:
        """Look at the disk again at the next call, whenever that is."""
        with self._lock:
            self._looked = None


@st.cache_resource(show_spinner=False, max_entries=8)
def listing(root: str) -> Listing:
    """Return the listing of `root`, one for all sessions."""
    return Listing(root)


@st.cache_resource(show_spinner=False)
def series_store() -> SeriesStore:
    """Return the store of series that have been read, one for all sessions."""
    return SeriesStore()


@st.cache_resource(show_spinner=False)
def tensor_store() -> TensorStore:
    """Return the store of histograms and statistics that have been read, one for all sessions."""
    return TensorStore()
