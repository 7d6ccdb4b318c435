"""Distances between rows that share their bins, and what each would be by chance alone.

`rows` is float64[p, k + 1] and `reference` float64[p, k + 1] or [1, k + 1] (one for all), both as `SharedBins.below`,
C-contiguous, and every row has values.
The chance levels are the 99 % point of the distance between two independent samples of one distribution.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from explorer.analysis.quantiles import clipped_bounds, order_statistics, running_counts
from explorer.storage.bins import Histograms

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NUM_JS_GROUPS: Final = 20
NUM_PSI_GROUPS: Final = 10
PSI_FLOOR: Final = 1e-4
_NORMAL_99: Final = 2.3263478740408408  # 99 % point of the standard normal distribution
_KS_99: Final = float(np.sqrt(-0.5 * np.log(0.01 / 2)))  # 1.628, Kolmogorov's limit to its leading term


def wasserstein_distances(rows: Floats, reference: Floats, low: Floats, high: Floats) -> Floats:
    """Area between the two cumulative curves: float64[p], in the unit of the bins' ends `low` and `high` (float64[k]).

    Exact for values spread evenly over each bin, but where the curves cross inside of one: there a little too large.
    """
    width = np.zeros(rows.shape[1])
    width[1:-1] = np.diff((low + high) / 2)
    gap = rows - reference  # of whole rows, whose first and last gap are 0: half of the time that their middles take
    area: Floats = np.abs(gap, out=gap) @ width
    return area


def distances_to_a_point(h: Histograms, point: Floats) -> Floats:
    """Mean distance of each row's values, of which there are some, from a number (float64[n]): float64[n]."""
    num_entries = np.diff(h.offsets)
    low, high = clipped_bounds(h)
    at = np.repeat(point, num_entries)
    middle, half = (low + high) / 2, (high - low) / 2
    away = np.abs(middle - at)
    # Inside an interval of half width w, at distance d from its middle, the mean distance is (d * d + w * w) / (2 * w).
    inside = (away < half) & (half > 0)
    mean = np.where(inside, (away**2 + half**2) / np.where(inside, 2 * half, 1.0), away)
    total: Floats = np.add.reduceat(mean * h.counts, h.offsets[:-1]) / np.add.reduceat(h.counts, h.offsets[:-1])
    return total


def ks_distances(rows: Floats, reference: Floats) -> Floats:
    """Largest distance of the cumulative curves at the edges of bins: float64[p], never above that of the values."""
    gap = rows - reference
    largest: Floats = np.abs(gap, out=gap).max(axis=1)
    return largest


def js_distances(rows: Floats, reference: Floats) -> tuple[Floats, Ints]:
    """Jensen-Shannon distance, base 2, over 20 groups that hold equal shares of the two together.

    Returns:
        (float64[p] from 0 to 1, int64[p] the number of groups that hold anything).
    """
    p, q = _shares(rows, reference, _cuts(rows + reference, 2, NUM_JS_GROUPS))
    middle = (p + q) / 2
    nats = np.zeros(p.shape)
    for share in (p, q):
        ratio = np.divide(share, middle, out=np.ones(p.shape), where=share > 0)
        nats += share * np.log2(ratio, out=ratio)
    return np.sqrt(np.clip(nats.sum(axis=1) / 2, 0.0, 1.0)), np.count_nonzero(middle, axis=1)


def psi_distances(rows: Floats, reference: Floats) -> tuple[Floats, Ints]:
    """Population stability index over 10 groups with equal shares of the reference; shares below 1e-4 count as that.

    Returns:
        (float64[p], int64[p] the number of groups that hold anything).
    """
    p, q = _shares(rows, reference, _cuts(reference, 1, NUM_PSI_GROUPS))
    used = np.count_nonzero(p + q, axis=1)
    p, q = np.maximum(p, PSI_FLOOR), np.maximum(q, PSI_FLOOR)
    index: Floats = ((p - q) * np.log(p / q)).sum(axis=1)
    return index, used


def _cuts(below: Floats, end: int, num_groups: int) -> Ints:
    """Where to cut cumulative curves (float64[n, k + 1], up to `end`) into equal parts: int64[n, num_groups - 1].

    A cut falls on the edge whose share is nearest to the one wanted. So a spike, such as zeros, that is larger than a
    group becomes a group of its own, with empty ones in place of those it swallowed.
    """
    num_rows, num_edges = below.shape
    # An edge is on level i from a share of i / num_groups on; for 10 and 20 that is exact in float64. Each row climbs
    # to level num_groups, so where the levels rise are the first edges at or above each share, row after row.
    level = (below * (num_groups / end)).astype(np.uint8)
    rise = np.diff(level, axis=1).ravel()
    edge = np.flatnonzero(rise != 0)
    after = np.repeat(edge, rise[edge]).reshape(num_rows, num_groups)[:, :-1]
    after += 1 + np.arange(num_rows)[:, None]  # in the flat `below`, whose rows are longer by one
    wanted = np.arange(1, num_groups) / (num_groups / end)
    flat = below.ravel()
    cuts = after - (flat[after] - wanted >= wanted - flat[after - 1])
    cuts -= np.arange(0, num_rows * num_edges, num_edges)[:, None]
    return cuts


def _shares(rows: Floats, reference: Floats, cuts: Ints) -> tuple[Floats, Floats]:
    """Share of each group, of the rows and of the reference: float64[p, groups] each."""
    num_pairs, num_edges = max(len(rows), len(reference)), rows.shape[1]
    ends = np.zeros((num_pairs, cuts.shape[1] + 2), np.int64)
    ends[:, 1:-1], ends[:, -1] = cuts, num_edges - 1
    found = []
    for curves in (rows, reference):
        begins = np.arange(len(curves))[:, None] * num_edges
        found.append(np.diff(curves.ravel()[ends + begins], axis=1))
    return found[0], found[1]


def ks_by_chance(num: Ints, num_reference: Ints) -> Floats:
    """99 % point of the KS distance of two samples of these sizes; too high where values repeat."""
    return np.minimum(_KS_99 * np.sqrt(_noise(num, num_reference)), 1.0)


def js_by_chance(num: Ints, num_reference: Ints, groups: Ints) -> Floats:
    """99 % point of the Jensen-Shannon distance: its square in nats is chi2 of (groups - 1) times (1/N + 1/M) / 8.

    True to 3 % from 200 values on; 5 % too low at 64.
    """
    divergence_bits = _noise(num, num_reference) * _chi2_99(groups - 1) / (8 * np.log(2))
    distance: Floats = np.minimum(np.sqrt(divergence_bits), 1.0)
    return distance


def psi_by_chance(num: Ints, num_reference: Ints, groups: Ints) -> Floats:
    """99 % point of the PSI: chi2 of (groups - 1) times (1/N + 1/M) (Yurdakul and Naranjo, 2020).

    True to 5 % from 200 values on. At 64 it is 40 % too low, for a group that is empty by chance weighs much.
    """
    return _noise(num, num_reference) * _chi2_99(groups - 1)


def wasserstein_by_chance(num: Ints, num_reference: Ints, spread: Floats) -> Floats:
    """99 % point of the Wasserstein distance of two samples of these sizes; `spread` as `bridge_areas` returns it."""
    return np.sqrt(_noise(num, num_reference)) * spread


def bridge_areas(reference: Histograms) -> Floats:
    """99 % point of the area under |B(F(x))|, B a Brownian bridge and F the distribution of a row: float64[n].

    sqrt(1/N + 1/M) times that area is the limit of the Wasserstein distance of two samples of F. Its mean and variance
    follow from those of the bridge at fixed shares t, weighted with the distance of the quantiles between them. Its
    99 % point is the mean plus 3.1 standard deviations, to 3 % for 16 distributions from uniform and normal to
    Student's t3, sparse and two-valued ones; the few shares add 2 % to that, 10 % at spikes and heavy tails. Few values
    tell little of their tails: with 200 the level is 8 % too low for a normal distribution and 20 % for t3, with 1,000
    it is 1 % and 7 %.
    """
    total = running_counts(reference)
    num = np.diff(total[reference.offsets])
    rank = np.rint(_TIMES[1:-1] * np.maximum(num - 1, 0)[:, None]).astype(np.int64)
    inner = order_statistics(reference, rank, evenly=True, total=total)
    width = np.diff(inner, axis=1, prepend=reference.min[:, None], append=reference.max[:, None])
    variance = ((width @ _BRIDGE_COVARIANCE) * width).sum(axis=1)
    area: Floats = width @ _BRIDGE_MEAN + 3.1 * np.sqrt(np.maximum(variance, 0.0))
    return area


def _noise(num: Ints, num_reference: Ints) -> Floats:
    with np.errstate(divide="ignore"):
        return 1.0 / num + 1.0 / num_reference


def _chi2_99(freedom: Ints) -> Floats:
    """99 % point of chi2, to 1 % (Wilson and Hilferty, 1931); 0 without any freedom."""
    f = np.maximum(freedom, 1)
    return np.where(freedom > 0, f * (1 - 2 / (9 * f) + _NORMAL_99 * np.sqrt(2 / (9 * f))) ** 3, 0.0)


def _bridge(t: Floats) -> tuple[Floats, Floats]:
    """Mean of |B(t)| and covariance of |B(s)|, |B(t)| for a Brownian bridge B; both from the bivariate normal."""
    deviation = np.sqrt(t * (1 - t))
    correlation = np.minimum(t[:, None], t) * (1 - np.maximum(t[:, None], t)) / np.outer(deviation, deviation)
    r = np.clip(correlation, -1.0, 1.0)
    mean = np.sqrt(2 / np.pi) * deviation
    product = 2 / np.pi * np.outer(deviation, deviation) * (np.sqrt(1 - r**2) + r * np.arcsin(r))
    return mean, product - np.outer(mean, mean)


_HALF: Final = np.array([0.0, 1e-5, 1e-4, 1e-3, 0.005, 0.02, 0.06, 0.13, 0.23, 0.35, 0.5])
_TIMES: Final = np.concatenate([_HALF, 1 - _HALF[-2::-1]])
# Within an interval of a tail the values reach furthest at its thin end, so its middle is the geometric one.
_MIDDLES: Final = np.append(_HALF[1] / 4, np.sqrt(_HALF[1:-1] * _HALF[2:]))
_BRIDGE_MEAN, _BRIDGE_COVARIANCE = _bridge(np.concatenate([_MIDDLES, 1 - _MIDDLES[::-1]]))
