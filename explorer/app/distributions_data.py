"""One tensor of several runs: read, cut to the steps that are shown, and put on bins that all of them share.

Results are kept by the identity of what they were made from: the store hands out the same histograms as long as a run
has not recorded more.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.analysis.quantiles import histogram_quantiles
from explorer.analysis.shared_axis import SharedAxis, shared_axis
from explorer.app.caching import tensor_store
from explorer.app.metrics_memo import Memo
from explorer.charts.distributions import PERCENTS
from explorer.charts.step_axis import sample_edges
from explorer.charts.value_axis import Scale, ValueAxis

if TYPE_CHECKING:
    from explorer.analysis.shared_axis import Histograms
    from explorer.reading.catalogue import RunInfo

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

# A multiple of every number of bars that a slice or a ridge may have.
NUM_BINS: Final = 240
MAX_RUNS: Final = 8  # as many as there are colours
_FEW: Final = 64
_MAX_BYTES: Final = 128 << 20


@dataclass(frozen=True, eq=False)
class Sampled:
    """One tensor of one run.

    Attributes:
        info: the run.
        label: of the run, unique among those shown.
        place: of the run in the palette.
        rows: the histograms, steps ascending.
    """

    info: RunInfo
    label: str
    place: int
    rows: Histograms

    @cached_property
    def edges(self) -> Floats:
        """Where the cells of samples meet: float64[n + 1]."""
        return sample_edges(self.rows.step)

    def inside(self, window: tuple[float, float] | None) -> Histograms:
        """Return the rows whose cells are in the window; the same object when all of them are."""
        if window is None:
            return self.rows
        shown = (self.edges[1:] > window[0]) & (self.edges[:-1] < window[1])
        return self.rows if shown.all() else kept(("take", self.rows, window), lambda: self.rows.take(shown))


@dataclass(frozen=True, eq=False)
class Shared:
    """Histograms of several runs on the same bins.

    Attributes:
        axis: the bins, as places of values.
        found: the shares on them.
    """

    axis: ValueAxis
    found: SharedAxis

    @cached_property
    def whole(self) -> tuple[npt.NDArray[np.float32], ...]:
        """For each run float32[bins, n], with the exact zeros in the bin that holds 0."""
        out = []
        for shares, zeros in zip(self.found.shares, self.found.zeros, strict=True):
            joined = shares.copy()
            if self.found.zero is not None:
                joined[self.found.zero] += np.nan_to_num(zeros).astype(np.float32)
            out.append(joined)
        return tuple(out)

    @property
    def num_bins(self) -> int:
        """How many bins there are; fewer than `NUM_BINS` where one value is a large share of all (quantile scale)."""
        return len(self.axis.edges) - 1

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take, with `whole`."""
        return 2 * sum(part.nbytes for part in self.found.shares) + 10_000


def read(
    infos: Sequence[RunInfo], labels: Mapping[str, str], places: Mapping[str, int], tensor: str, kind: str
) -> tuple[list[Sampled], list[str]]:
    """Return the tensor of each run that has recorded it, and the labels of those that have not."""
    found, without = [], []
    for info in infos:
        rows = tensor_store().histograms(info.path, tensor, kind)
        if len(rows):
            found.append(Sampled(info, labels[info.run_id], places[info.run_id], rows))
        else:
            without.append(labels[info.run_id])
    return found, without


def shared(parts: Sequence[Histograms], scale: Scale) -> Shared:
    """Return the rows of all parts (at least one) on bins that they share."""

    def make() -> Shared:
        found = shared_axis(parts, NUM_BINS, scale)
        return Shared(ValueAxis(found.edges, scale), found)

    return kept(("shared", tuple(parts), scale), make)


def quantiles(rows: Histograms) -> Floats:
    """Return float64[n, 7] at `PERCENTS`; NaN in rows without a finite value."""
    return kept(("quantiles", rows), lambda: histogram_quantiles(rows, np.array(PERCENTS) / 100))


def kept(key: tuple[object, ...], make: Callable[[], T]) -> T:
    """Return what `make` returns, made once for `key`, which names all that it is made from.

    Objects in the key count by identity and are not kept alive by it: a growing run leaves no old histograms behind.
    What `make` returns must not hold them either.
    """
    made: T = _memo().get(_numbers().named(key), make)
    return made


class _Numbers:
    """A number for each object that is never given twice; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = itertools.count()
        self._given: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()

    def named(self, part: object) -> Hashable:
        """Return plain values and tuples of them as they are, and other objects as their numbers."""
        if part is None or isinstance(part, str | int | float):
            return part
        if isinstance(part, tuple):
            return tuple(self.named(one) for one in part)
        with self._lock:
            number = self._given.get(part)
            if number is None:
                number = self._given[part] = next(self._next)
        return ("object", number)


def bars(shares: npt.NDArray[np.float32], num: int) -> Floats:
    """Return float64[num, n] from `[bins, n]`: neighbouring bins joined; `num` divides the bins."""
    joined: Floats = shares.reshape(num, -1, shares.shape[1]).sum(axis=1, dtype=np.float64)
    return joined


def num_bars(num_values: int, num_bins: int) -> int:
    """Return how many bars suit a histogram of so many values: a divisor of the bins, so that all are alike.

    >>> [num_bars(n, 240) for n in (1, 288, 10_000, 10_000_000)]
    [20, 24, 80, 240]
    """
    return _divisor(max(20, round(3.2 * max(num_values, 1) ** (1 / 3))), num_bins)


def num_rows(num_values: int, num_bins: int) -> int:
    """Return how many rows suit a heat map: all bins for few values, whose courses are then seen one by one.

    >>> [num_rows(n, 240) for n in (10, 288, 1_000, 100_000)]
    [240, 60, 80, 240]
    """
    return num_bins if num_values <= _FEW else _divisor(round(8 * num_values ** (1 / 3)), num_bins)


def _divisor(wanted: int, num_bins: int) -> int:
    """The smallest divisor of the number of bins that is at least as large as wanted."""
    return next(num for num in range(min(wanted, num_bins), num_bins + 1) if num_bins % num == 0)


@st.cache_resource(show_spinner=False)
def _numbers() -> _Numbers:
    return _Numbers()


@st.cache_resource(show_spinner=False)
def _memo() -> Memo[Any]:
    return Memo(_MAX_BYTES, _num_bytes)


def _num_bytes(made: object) -> int:
    """About how much memory a result takes; what is not an array is small, or bytes to be sent."""
    if isinstance(made, dict):
        return 1_000 + sum(len(data) for data in made.values())
    size = getattr(made, "num_bytes", None) or getattr(made, "nbytes", None)
    return int(size) if size else 1_000
