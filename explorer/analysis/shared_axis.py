"""The same tensor of several runs on one axis of values, so that their pictures can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.analysis.densities import Scale, heat, shares_below
from explorer.storage.bins import Histograms, concatenate

__all__ = ["Histograms", "SharedAxis", "shared_axis"]

Floats = npt.NDArray[np.float64]


class SharedAxis(NamedTuple):
    """Several histograms on the same intervals of values.

    Attributes:
        edges: float64[b + 1], ascending; an interval holds its lower edge, the last one its upper edge too.
        shares: for each part float32[b, n], the share of a row's finite values in each interval, exact zeros left out.
        zeros: for each part float64[n], the share of a row's finite values that are exactly zero; NaN without any.
        zero: the interval that holds 0, None when none does.
    """

    edges: Floats
    shares: tuple[npt.NDArray[np.float32], ...]
    zeros: tuple[Floats, ...]
    zero: int | None


def shared_axis(parts: Sequence[Histograms], num_bins: int, scale: Scale) -> SharedAxis:
    """Return the rows of all parts on at most `num_bins` intervals of equal height on the scale (see `heat`).

    More than 20 intervals are a multiple of 20, so that neighbours can be joined to fewer that are all alike.

    Exact zeros are a number of their own: a tensor may hold so many that nothing else could be seen beside them.

    Args:
        parts: at least one, each with any number of rows.
        num_bins: a multiple of 20 up to 500, or a number below 20.
        scale: `linear`, `symlog` or `quantile`.

    >>> from explorer.storage.bins import histogram_of
    >>> found = shared_axis([histogram_of([0.0, 1.0]), histogram_of([0.0, 0.0, 3.0, 4.0])], 4, "linear")
    >>> found.edges.tolist(), found.zero, [zeros.tolist() for zeros in found.zeros]
    ([0.0, 1.0, 2.0, 3.0, 4.0], 0, [[0.5], [0.5]])
    >>> found.shares[1][:, 0].tolist()
    [0.0, 0.0, 0.0, 0.5]
    """
    together = concatenate(parts)
    picture = heat(together, num_bins, scale)
    edges, shares = picture.edges, picture.share.copy()
    fewer = _round_number(len(edges) - 1)
    if fewer != len(edges) - 1:
        places = np.linspace(0.0, len(edges) - 1, fewer + 1)
        edges = np.interp(places, np.arange(len(edges)), edges)
        shares = np.diff(shares_below(together, edges), axis=0).astype(np.float32)
    finite = together.n - together.nans - together.infs
    with np.errstate(divide="ignore", invalid="ignore"):
        zeros = together.zeros / finite
    holds_zero = edges[0] <= 0 <= edges[-1]
    zero = min(int(np.searchsorted(edges, 0.0, side="right")) - 1, len(edges) - 2) if holds_zero else None
    if zero is not None:
        shares[zero] = np.maximum(shares[zero] - np.nan_to_num(zeros), 0.0)
        # What is left of a share of zeros alone is rounding, and would be drawn as a value.
        shares[zero][shares[zero] < 1e-6] = 0.0
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return SharedAxis(edges, tuple(np.split(shares, ends, axis=1)), tuple(np.split(zeros, ends)), zero)


def _round_number(num: int) -> int:
    return num if num < 20 else num - num % 20
