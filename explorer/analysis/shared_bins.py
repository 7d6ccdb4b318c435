"""Several histograms on the bins that any of them occupies: what drift and heat maps are computed from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from explorer.analysis.quantiles import bin_bounds
from explorer.storage.bins import WHOLE_NUMBERS, Histograms

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)

_NUM_SLOTS: Final = 1 << 16  # of int16 bin numbers
_ZERO_SLOT: Final = 1 << 15
_MAX_PAIRS: Final = 1024  # compared at a time: 16 MB at 2,000 bins
_MAX_ROWS: Final = 32  # numbered at a time: temporary arrays stay below 128 kB, which the allocator keeps


class Scratch:
    """Memory for large intermediate arrays, used again for the next tensor.

    Pages that are fresh from the system cost more than all the arithmetic on them. One caller at a time: an array is
    overwritten by the next one of its name.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, npt.NDArray[np.uint8]] = {}

    def array(self, name: str, size: int, dtype: type[Number]) -> npt.NDArray[Number]:
        """Uninitialised `dtype[size]`."""
        num_bytes = size * np.dtype(dtype).itemsize
        if name not in self._buffers or len(self._buffers[name]) < num_bytes:
            self._buffers[name] = np.empty(num_bytes, np.uint8)
        found: npt.NDArray[Number] = self._buffers[name][:num_bytes].view(dtype)
        return found


class Span(NamedTuple):
    """Neighbouring rows `start:stop` of some histograms."""

    rows: Histograms
    start: int
    stop: int

    @property
    def entries(self) -> slice:
        """Their part of `bins` and `counts`."""
        return slice(int(self.rows.offsets[self.start]), int(self.rows.offsets[self.stop]))

    @property
    def num_entries(self) -> Ints:
        """How many entries each row has: int64[stop - start]."""
        return np.diff(self.rows.offsets[self.start : self.stop + 1])


class SharedBins(NamedTuple):
    """Shares of r rows on k bins, ascending, with gaps between them where no row has a value.

    Attributes:
        below: float64[k + 1, r], share of a row's finite values below bin j; 1 at the end, which is the share up to the
            end of the last bin. All 0 in a row without finite values. Rows stand side by side, so that whatever runs
            along the bins is a few vector operations.
        low, high: float64[k], ends of the bins.
    """

    below: Floats
    low: Floats
    high: Floats


def shared_bins(spans: Sequence[Span], m: int, scratch: Scratch) -> SharedBins:
    """Return the rows of all spans, one after the other, at m mantissa bits (or `WHOLE_NUMBERS`).

    Rows that have fewer than m keep their own bin numbers: they are there to keep spans whole, and not to be used.
    `below` lies in `scratch`, until that is used again.
    """
    num_entries = np.concatenate([span.num_entries for span in spans])
    num_rows, size = len(num_entries), int(num_entries.sum())
    slots, counts = scratch.array("slots", size, np.int64), scratch.array("counts", size, np.float64)
    start = 0
    for span in spans:
        part = slice(start, start + span.entries.stop - span.entries.start)
        np.add(folded(span, m), _ZERO_SLOT, out=slots[part], dtype=np.int64)
        counts[part] = span.rows.counts[span.entries]
        start = part.stop
    seen = np.zeros(_NUM_SLOTS, bool)
    seen[slots] = True
    occupied = np.flatnonzero(seen)
    place_of = np.zeros(_NUM_SLOTS, np.int64)
    place_of[occupied] = np.arange(1, len(occupied) + 1) * num_rows
    places = np.take(place_of, slots, out=scratch.array("places", size, np.int64), mode="clip")
    ends = np.concatenate([[0], np.cumsum(num_entries)])
    for first in range(0, num_rows, _MAX_ROWS):
        last = min(first + _MAX_ROWS, num_rows)
        places[ends[first] : ends[last]] += np.repeat(np.arange(first, last), num_entries[first:last])
    flat = scratch.array("below", (len(occupied) + 1) * num_rows, np.float64)
    flat.fill(0.0)
    np.add.at(flat, places, counts)  # folded bins can repeat within a row; counts stay exact in float64
    below = flat.reshape(-1, num_rows)
    for place in range(1, len(below)):  # three times faster than cumsum, which adds one number at a time
        np.add(below[place], below[place - 1], out=below[place])
    # Divided once and last, so equal shares are equal numbers whatever the sizes.
    below /= np.maximum(below[-1], 1.0)
    low, high = bin_bounds((occupied - _ZERO_SLOT).astype(np.int16), m)
    return SharedBins(below, low, high)


def folded(span: Span, m: int) -> npt.NDArray[np.int16]:
    """Bin numbers of the span's entries at m mantissa bits, not merged; where a row has fewer, as they are."""
    bins, own = span.rows.bins[span.entries], span.rows.m[span.start : span.stop]
    if m == WHOLE_NUMBERS or (own <= m).all():
        return bins
    shift = np.repeat(np.maximum(own.astype(np.int16) - np.int16(m), 0), span.num_entries)
    magnitude = np.abs(bins) >> shift  # a bin's number is at most 255 << 7, so its size fits
    numbers: npt.NDArray[np.int16] = np.where(bins < 0, -magnitude, magnitude)
    return numbers


class PairedBlock(NamedTuple):
    """Some pairs of rows on their shared bins.

    Attributes:
        pairs: int64[p], which pairs these are.
        rows: float64[k + 1, p] and
        reference: float64[k + 1, p], or [k + 1, 1] where all have the same; both as `SharedBins.below`.
        low, high: float64[k], ends of the bins.
    """

    pairs: Ints
    rows: Floats
    reference: Floats
    low: Floats
    high: Floats


def shared_pairs(
    rows: Histograms, reference: Histograms, left: Ints, right: Ints, scratch: Scratch
) -> Iterator[PairedBlock]:
    """Yield row `left[i]` of `rows` beside row `right[i]` of `reference` (int64[n] each), each pair once.

    Pairs come in blocks of a bounded size, each pair at the smaller of its two mantissa bits. A block lies in
    `scratch`: it is gone when the next one is asked for.

    Raises:
        ValueError: bins that are whole numbers meet bins of a tensor.
    """
    m, other_m = rows.m[left], reference.m[right]
    if ((m == WHOLE_NUMBERS) != (other_m == WHOLE_NUMBERS)).any():
        raise ValueError("histograms of whole numbers (labels) and of a tensor have no bins in common")
    m = np.minimum(m, other_m)
    for start in range(0, len(left), _MAX_PAIRS):
        block = m[start : start + _MAX_PAIRS]
        for mantissa in np.unique(block):
            pairs = start + np.flatnonzero(block == mantissa)
            yield _paired_block(rows, reference, left[pairs], right[pairs], pairs, int(mantissa), scratch)


def _paired_block(
    rows: Histograms, reference: Histograms, left: Ints, right: Ints, pairs: Ints, m: int, scratch: Scratch
) -> PairedBlock:
    span = Span(rows, int(left.min()), int(left.max()) + 1)
    other = Span(reference, int(right.min()), int(right.max()) + 1)
    if reference is rows and other.start <= span.stop and span.start <= other.stop:
        # They overlap, as with the row before each: one span of both is half the work.
        span = other = Span(rows, min(span.start, other.start), max(span.stop, other.stop))
        below, low, high = shared_bins([span], m, scratch)
        right = right - other.start
    else:
        below, low, high = shared_bins([span, other], m, scratch)
        right = right - other.start + (span.stop - span.start)
    return PairedBlock(pairs, _columns(below, left - span.start), _columns(below, right), low, high)


def _columns(below: Floats, place: Ints) -> Floats:
    """Some columns: a view of one where all are the same, or of neighbours; a copy otherwise."""
    first, last = int(place[0]), int(place[-1])
    if (place == first).all():
        return below[:, first : first + 1]
    if (np.diff(place) == 1).all():
        return below[:, first : last + 1]
    return below[:, place]
