"""Snapshots for all sessions: which there are, their tensors, and what was worked out from them, until files change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app.metrics_memo import Memo
from explorer.reading.snapshots import Snapshot, SnapshotInfo, list_snapshots, open_snapshot

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

T = TypeVar("T")

MAX_TENSOR_BYTES: Final = 512 << 20
"""A larger tensor is told, not drawn: its values and a copy would not fit beside other sessions."""
_MAX_VALUES_BYTES: Final = 768 << 20
_MAX_DERIVED_BYTES: Final = 64 << 20
_FRESH_S: Final = 2.0


class _Listings:
    """The snapshots of runs, looked at again when asked for later than two seconds after the last look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, tuple[SnapshotInfo, ...]]] = {}

    def get(self, path: str) -> tuple[SnapshotInfo, ...]:
        with self._lock:
            looked, found = self._kept.get(path, (-_FRESH_S, ()))
        now = time.monotonic()
        if now - looked > _FRESH_S or not found:
            lowest: dict[int, SnapshotInfo] = {}
            for one in list_snapshots(path):
                lowest.setdefault(one.step, one)
            found = tuple(lowest.values())
            with self._lock:
                if len(self._kept) > 1_000:
                    self._kept.clear()
                self._kept[path] = (now, found)
        return found


@st.cache_resource(show_spinner=False)
def _listings() -> _Listings:
    return _Listings()


@st.cache_resource(show_spinner=False)
def _memos() -> tuple[Memo[npt.NDArray[Any]], Memo[tuple[Any, int]]]:
    return Memo(_MAX_VALUES_BYTES, lambda array: array.nbytes), Memo(_MAX_DERIVED_BYTES, lambda made: made[1])


def snapshots_of(info: RunInfo) -> tuple[SnapshotInfo, ...]:
    """Return the snapshots of a run by step, each of the lowest rank; damaged ones say so in their `problem`."""
    return _listings().get(str(info.path))


def usable(info: RunInfo) -> tuple[SnapshotInfo, ...]:
    """Return the snapshots of a run that can be read, by step.

    Those whose values are in a file of the user's own, outside the run, are left out: a page never opens such a file.
    """
    return tuple(one for one in snapshots_of(info) if one.problem is None and not one.has_reference)


def not_usable(info: RunInfo) -> list[str]:
    """Return what is told of snapshots that cannot be read: one text for each kind of reason, at most six."""
    found = snapshots_of(info)
    referring = sum(one.has_reference for one in found)
    told = [f"step {one.step:,}: {one.problem}" for one in found if one.problem is not None]
    if referring:
        told.insert(0, f"{referring:,} snapshots are in files of your own outside the run, which are not opened here")
    return told[:6]


def identity(info: RunInfo, step: int) -> Hashable:
    """Return what changes when the snapshot of this step is another one."""
    found = next((one for one in snapshots_of(info) if one.step == step), None)
    return None if found is None else (str(info.path), step, found.attempt, found.rank, found.size_bytes)


def open_cached(info: RunInfo, step: int) -> Snapshot:
    """Return the open snapshot of a step; its index is read once for all sessions.

    Raises:
        SnapshotNotFound, FileError: there is none, or its file is damaged.
    """
    return derived(("open", identity(info, step)), lambda: open_snapshot(info.path, step), lambda _: 20_000)


def read_value(info: RunInfo, step: int, name: str) -> npt.NDArray[Any]:
    """Return the values of a tensor in a snapshot, read-only.

    Raises:
        SnapshotNotFound, TensorNotFound, FileError: it is not there, or its file is damaged.
    """

    def make() -> npt.NDArray[Any]:
        values = open_cached(info, step).read(name)
        shared = values.view()
        shared.flags.writeable = False
        return shared

    return _memos()[0].get((identity(info, step), name), make)


def derived(key: Hashable, make: Callable[[], T], num_bytes: Callable[[T], int] | None = None) -> T:
    """Return what `make` works out, kept under `key` for all sessions; the key holds the identity of every file.

    Args:
        key: of the result.
        make: works it out.
        num_bytes: tells the size of the result; without it, that of the arrays inside.
    """

    def sized() -> tuple[T, int]:
        made = make()
        return made, (num_bytes or _size)(made)

    found: tuple[T, int] = _memos()[1].get(key, sized)
    return found[0]


def as_real(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values with complex ones as pairs of real ones, which keeps norms and angles; others as they are."""
    if not np.iscomplexobj(values):
        return values
    return np.ascontiguousarray(values).view(values.real.dtype).reshape(*values.shape, 2)


def _size(value: object) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes) + 200
    if isinstance(value, dict):
        return 200 + sum(_size(one) for one in value.values())
    if isinstance(value, list | tuple):
        return 200 + sum(_size(one) for one in value)
    return 200 + sum(_size(one) for one in vars(value).values()) if hasattr(value, "__dict__") else 200
