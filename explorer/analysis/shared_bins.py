"""Several histograms on the bins that any of them occupies: what drift and heat maps are computed from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from explorer.analysis.quantiles import bin_bounds
from explorer.storage.bins import WHOLE_NUMBERS, Histograms

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Number = TypeVar("Number", np.int32, np.int64, np.float64)

_NUM_SLOTS: Final = 1 << 16  # of int16 bin numbers
_ZERO_SLOT: Final = 1 << 15
_MAX_RANGE: Final = 1_024  # bins that are taken as they come, without asking which of them are occupied
# Compared at a time: with fewer, what they become stays in the second cache of a core, but there are more blocks.
_BLOCK_ENTRIES: Final = 1 << 17
_MIN_PAIRS, _MAX_PAIRS = 32, 1_024


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
        return self.rows.offsets[self.start + 1 : self.stop + 1] - self.rows.offsets[self.start : self.stop]


class SharedBins(NamedTuple):
    """Shares of r rows on k bins, ascending, with gaps between them where no row has a value.

    Attributes:
        below: float64[r, k + 1], share of a row's finite values below bin j; 1 at the end, which is the share up to the
            end of the last bin. All 0 in a row without finite values.
        low, high: float64[k], ends of the bins. Every bin that a row occupies is there, and perhaps others between.
    """

    below: Floats
    low: Floats
    high: Floats


def shared_bins(spans: Sequence[Span], m: int, scratch: Scratch) -> SharedBins:
    """Return the rows of all spans, one after the other, at m mantissa bits (or `WHOLE_NUMBERS`).

    Rows that have fewer than m keep their own bin numbers: they are there to keep spans whole, and not to be used.
    `below` lies in `scratch`, until that is used again.
    """
    parts = [folded(span, m) for span in spans]
    occupied = _bins_of(parts)
    num_rows, width = sum(span.stop - span.start for span in spans), len(occupied) + 1
    place_of = scratch.array("place_of", _NUM_SLOTS, np.int64)
    place_of[occupied.astype(np.int16).view(np.uint16)] = np.arange(1, width)
    size = num_rows * width
    is_narrow = all(map(_fits_in_32_bits, spans))
    flat = scratch.array("counts", size, np.int32) if is_narrow else scratch.array("counts", size, np.int64)
    flat.fill(0)
    first = 0
    for span, bins in zip(spans, parts, strict=True):
        places = scratch.array("places", len(bins), np.int64)
        place_of.take(bins.view(np.uint16), out=places, mode="clip")
        rows = np.arange(first, first + span.stop - span.start)
        places += np.repeat(rows * width, span.num_entries)
        counts = span.rows.counts[span.entries]
        if _is_finer(span, m):  # what was folded can repeat within a row
            starts = np.flatnonzero(np.diff(places, prepend=-1))
            places, counts = places[starts], np.add.reduceat(counts, starts) if len(starts) else counts
        flat[places] = counts.astype(flat.dtype, copy=False)  # of another type it takes three times as long
        first += len(rows)
    counted = flat.reshape(num_rows, width)
    np.cumsum(counted, axis=1, dtype=flat.dtype, out=counted)
    below = scratch.array("below", size, np.float64).reshape(num_rows, width)
    # Divided once and last, so equal shares are equal numbers whatever the sizes.
    np.divide(counted, np.maximum(counted[:, -1:], 1).astype(np.float64), out=below)
    low, high = bin_bounds(occupied.astype(np.int16), m)
    return SharedBins(below, low, high)


def _fits_in_32_bits(span: Span) -> bool:
    """Whether the counts are at home in int32, and those of each row together too, whatever they are."""
    counts = span.rows.counts[span.entries]
    if counts.dtype != np.int32 or not len(counts):
        return counts.dtype == np.int32
    most, limit = int(counts.max()), np.iinfo(np.int32).max
    return most * len(counts) <= limit or most * int(span.num_entries.max()) <= limit


def _bins_of(parts: Sequence[npt.NDArray[np.int16]]) -> Ints:
    """All bins that occur, ascending: int64[k]; as a rule whole ranges, one of negative and one of positive ones.

    Of a range only the ends are looked for, 20 times faster than all members; so some of its bins may not occur.
    """
    parts = [part for part in parts if len(part)]
    if not parts:
        return np.empty(0, np.int64)
    low, high = min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)
    # As unsigned numbers the negative ones come last, in their own order.
    last_negative = max(int(part.view(np.uint16).max()) for part in parts) - _NUM_SLOTS
    first_positive = min(int((part - np.int16(1)).view(np.uint16).min()) for part in parts) + 1
    negative = np.arange(low, min(last_negative, high) + 1)
    positive = np.arange(max(first_positive, low), high + 1)
    if len(negative) + len(positive) <= _MAX_RANGE:
        zero = [0] if low <= 0 <= high else []
        return np.concatenate([negative, zero, positive]).astype(np.int64)
    seen = np.zeros(_NUM_SLOTS, bool)
    for part in parts:
        seen[np.add(part, _ZERO_SLOT, dtype=np.int64)] = True
    return np.flatnonzero(seen) - _ZERO_SLOT


def folded(span: Span, m: int) -> npt.NDArray[np.int16]:
    """Bin numbers of the span's entries at m mantissa bits, not merged; where a row has fewer, as they are."""
    bins, own = span.rows.bins[span.entries], span.rows.m[span.start : span.stop]
    if not _is_finer(span, m):
        return bins
    shift = np.repeat(np.maximum(own.astype(np.int16) - np.int16(m), 0), span.num_entries)
    magnitude = np.abs(bins) >> shift  # a bin's number is at most 255 << 7, so its size fits
    numbers: npt.NDArray[np.int16] = np.where(bins < 0, -magnitude, magnitude)
    return numbers


def _is_finer(span: Span, m: int) -> bool:
    return m != WHOLE_NUMBERS and bool((span.rows.m[span.start : span.stop] > m).any())


class Pairs(NamedTuple):
    """Rows and what each is compared with: row `left[i]` of some histograms beside row `right[i]` of the reference.

    Attributes:
        reference: where the others are from; perhaps the same histograms.
        left: int64[n], ascending.
        right: int64[n].
    """

    reference: Histograms
    left: Ints
    right: Ints


class PairedBlock(NamedTuple):
    """Some pairs of rows on their shared bins.

    Attributes:
        number: of which of the lists of pairs,
        pairs: int64[p], and which pairs of it these are.
        rows: float64[p, k + 1] and
        reference: float64[p, k + 1], or [1, k + 1] where all have the same; both as `SharedBins.below`.
        low, high: float64[k], ends of the bins.
    """

    number: int
    pairs: Ints
    rows: Floats
    reference: Floats
    low: Floats
    high: Floats


def shared_pairs(rows: Histograms, lists: Sequence[Pairs], scratch: Scratch) -> Iterator[PairedBlock]:
    """Yield each pair of each list once, its two rows on the same bins.

    Pairs come in blocks of a bounded size, each pair at the smaller of its two mantissa bits. What several lists need
    of the same rows is made once; so bins may be there that no row of a block occupies. A block lies in `scratch`: it
    is gone when the next one is asked for.

    Raises:
        ValueError: bins that are whole numbers meet bins of a tensor.
    """
    mantissas = []
    for reference, left, right in lists:
        m, other_m = rows.m[left], reference.m[right]
        if ((m == WHOLE_NUMBERS) != (other_m == WHOLE_NUMBERS)).any():
            raise ValueError("histograms of whole numbers (labels) and of a tensor have no bins in common")
        mantissas.append(np.minimum(m, other_m))
    size = -(-len(rows) // max(round(len(rows.bins) / _BLOCK_ENTRIES), 1))  # of equal blocks, no small one at the end
    size = min(max(size, _MIN_PAIRS), _MAX_PAIRS)
    start = min((int(pairs.left[0]) for pairs in lists if len(pairs.left)), default=len(rows))
    for first in range(start, len(rows), size):
        ends = [np.searchsorted(pairs.left, [first, first + size]) for pairs in lists]
        blocks = [m[low:high] for m, (low, high) in zip(mantissas, ends, strict=True)]
        for mantissa in sorted({each for block in blocks for each in _distinct(block)}):
            chosen = [low + (block == mantissa).nonzero()[0] for block, (low, _) in zip(blocks, ends, strict=True)]
            yield from _paired_blocks(rows, lists, chosen, mantissa, scratch)


def _distinct(m: npt.NDArray[np.int8]) -> list[int]:
    if len(m) and (m == m[0]).all():
        return [int(m[0])]
    return [int(each) for each in np.unique(m)]


def _paired_blocks(
    rows: Histograms, lists: Sequence[Pairs], chosen: Sequence[Ints], m: int, scratch: Scratch
) -> Iterator[PairedBlock]:
    """The chosen pairs of each list, all of which are compared at m mantissa bits."""
    some = [number for number, pairs in enumerate(chosen) if len(pairs)]
    wanted = [(rows, lists[number].left[chosen[number]]) for number in some]
    wanted += [(lists[number].reference, lists[number].right[chosen[number]]) for number in some]
    spans, lines = _spans(wanted)
    below, low, high = shared_bins(spans, m, scratch)
    for number, left, right in zip(some, lines, lines[len(some) :], strict=False):
        yield PairedBlock(number, chosen[number], _lines(below, left), _lines(below, right), low, high)


def _spans(wanted: Sequence[tuple[Histograms, Ints]]) -> tuple[list[Span], list[Ints]]:
    """Spans that hold some rows of some histograms, each row once, and where among theirs the rows wanted are."""
    parts = [_span(h, places) for h, places in wanted]
    spans: list[Span] = []
    span_of = [0] * len(parts)
    for part in sorted(range(len(parts)), key=lambda part: (id(parts[part][0].rows), parts[part][0].start)):
        span = parts[part][0]
        last = spans[-1] if spans else None
        if last is not None and last.rows is span.rows and span.start <= last.stop:
            spans[-1] = Span(span.rows, last.start, max(last.stop, span.stop))
        else:
            spans.append(span)
        span_of[part] = len(spans) - 1
    begins = list(accumulate((span.stop - span.start for span in spans), initial=0))
    lines = [
        places + (begins[number] - spans[number].start) for number, (_, places) in zip(span_of, parts, strict=True)
    ]
    return spans, lines


def _span(h: Histograms, places: Ints) -> tuple[Span, Ints]:
    """A span that holds these rows, and which of its histograms' they are; of far more rows, only these are taken."""
    start, stop = int(places.min()), int(places.max()) + 1
    if stop - start <= 2 * len(places):
        return Span(h, start, stop), places
    used, at = np.unique(places, return_inverse=True)
    return Span(h.take(used), 0, len(used)), at


def _lines(below: Floats, place: Ints) -> Floats:
    """Some rows: a view of one where all are the same, or of neighbours; a copy otherwise."""
    first, last = int(place[0]), int(place[-1])
    if (place == first).all():
        return below[first : first + 1]
    if (place[1:] - place[:-1] == 1).all():
        return below[first : last + 1]
    return below[place]
