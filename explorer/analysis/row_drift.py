"""How far the distribution of a row is from that of another one, and how far it would be by chance.

Two rows are compared at the smaller of their mantissa bits, where their bins are the same. Rows and reference may be of
different size. Every distance comes with its chance level (`null`): the 99 % point of what two independent samples of
those sizes from one distribution show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.analysis import distances
from explorer.analysis.quantiles import finite_counts
from explorer.analysis.shared_bins import PairedBlock, Pairs, Scratch, shared_pairs
from explorer.storage.bins import Histograms

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

Measure = Literal["wasserstein", "ks", "js_distance", "psi"]
MEASURES: Final[tuple[Measure, ...]] = ("wasserstein", "ks", "js_distance", "psi")


class Drift(NamedTuple):
    """Distances of n rows from their references.

    Attributes:
        values: float64[n]; NaN where the row or its reference has no finite value.
        null: float64[n], chance level (99 %) of each; NaN where the value is.
        absolute: bool[n], true where a Wasserstein distance could not be divided by the reference's standard deviation,
            because all its values are equal: it then has the unit of the values. False for other measures.
    """

    values: Floats
    null: Floats
    absolute: Booleans


def wasserstein(rows: Histograms, reference: Histograms) -> Drift:
    """Wasserstein-1 distance over the reference's standard deviation.

    It is never below the distance of the means, which are exact, and equal to it where the ranges do not overlap; a row
    of equal values is compared as the number it is. Otherwise it is off by the width of the bins at most: by 1 % for
    tensors whose values spread over many of them, by any factor where the standard deviation is below 0.5 % of a mean.

    Args:
        rows: n rows.
        reference: one row for all, or n rows.

    Raises:
        ValueError: the reference has another number of rows, or class labels are compared with a tensor.

    >>> from explorer.storage.bins import histogram_of
    >>> round(float(wasserstein(histogram_of([1.0, 2.0, 3.0]), histogram_of([0.0, 1.0, 2.0])).values[0]), 3)
    1.228
    """
    return drift_over_steps(rows, reference, "wasserstein")


def ks(rows: Histograms, reference: Histograms) -> Drift:
    """Kolmogorov-Smirnov distance, from 0 to 1: the largest difference of the two cumulative distributions.

    Taken at the edges of bins, so it never overstates; it is too small by the share of the fullest bin at most.
    Arguments and errors as for `wasserstein`.
    """
    return drift_over_steps(rows, reference, "ks")


def js_distance(rows: Histograms, reference: Histograms) -> Drift:
    """Jensen-Shannon distance, base 2 (from 0 to 1), over 20 groups that hold equal shares of the two together.

    Arguments and errors as for `wasserstein`.
    """
    return drift_over_steps(rows, reference, "js_distance")


def psi(rows: Histograms, reference: Histograms) -> Drift:
    """Population stability index over 10 groups that hold equal shares of the reference; shares are at least 1e-4.

    What moves within one bin does not show. Arguments and errors as for `wasserstein`.
    """
    return drift_over_steps(rows, reference, "psi")


def drift_over_steps(h: Histograms, reference: Histograms, measure: Measure) -> Drift:
    """Distance of each row of `h` from the reference: one row for all, or as many rows as `h` has.

    Raises:
        ValueError: the reference has another number of rows, the measure is unknown, or class labels are compared with
            a tensor.
    """
    if len(reference) == 1:
        return drift_of_pairs(h, [Question(reference, np.zeros(len(h), np.int64), measure)], Scratch())[0]
    if len(reference) != len(h):
        raise ValueError(f"the reference has 1 row or as many as are compared ({len(h)}), got {len(reference)}")
    return drift_of_pairs(h, [Question(reference, np.arange(len(h)), measure)], Scratch())[0]


class Question(NamedTuple):
    """What each of n rows is compared with, and how.

    Attributes:
        reference: where the others are from; perhaps the same histograms.
        places: int64[n], its row that each is compared with; -1 for none.
        measure: which distance.
        levels: whether chance levels are wanted; they are NaN otherwise.
    """

    reference: Histograms
    places: Ints
    measure: Measure
    levels: bool = True


def drift_of_pairs(rows: Histograms, questions: Sequence[Question], scratch: Scratch) -> list[Drift]:
    """The answer to each question about the rows; what several need of them is made once.

    Raises:
        ValueError: as `drift_over_steps`.
    """
    for question in questions:
        if question.measure not in MEASURES:
            raise ValueError(f"the measure is one of {', '.join(MEASURES)}, got {question.measure!r}")
    asked = [(question.places >= 0).nonzero()[0] for question in questions]
    sizes = _sizes(
        [(rows, left) for left in asked]
        + [(question.reference, question.places[left]) for question, left in zip(questions, asked, strict=True)]
    )
    lists, known = [], []
    for question, left, size, other_size in zip(questions, asked, sizes, sizes[len(asked) :], strict=False):
        some = ((size > 0) & (other_size > 0)).nonzero()[0]
        lists.append(Pairs(question.reference, left[some], question.places[left[some]]))
        known.append((size[some], other_size[some]))
    found = [(np.zeros(len(pairs.left)), np.zeros(len(pairs.left), np.int64)) for pairs in lists]
    for block in shared_pairs(rows, lists, scratch):
        value, groups = found[block.number]
        value[block.pairs], groups[block.pairs] = _distances(block, questions[block.number].measure)
    return [
        _drift(rows, pairs, question, *each, *of_pairs)
        for pairs, question, each, of_pairs in zip(lists, questions, known, found, strict=True)
    ]


def _drift(
    rows: Histograms, pairs: Pairs, question: Question, size: Ints, other_size: Ints, value: Floats, groups: Ints
) -> Drift:
    """The drift of all rows, from the distances of some pairs by their bins, and of how many groups each is made."""
    reference, left, right = pairs
    constant = np.zeros(len(left), bool)
    if question.measure == "wasserstein":
        value = _with_exact_parts(rows, reference, left, right, value)
        constant = reference.min[right] == reference.max[right]
        unit = np.where(constant, 1.0, reference.std[right])
        value = value / unit
        if question.levels:
            null = distances.wasserstein_by_chance(size, other_size, _spreads(reference, right)) / unit
    elif question.measure == "psi":
        null = distances.psi_by_chance(size, other_size, groups)
    else:
        value = np.where(_apart(rows, reference, left, right), 1.0, value)
        by_groups = question.measure == "js_distance"
        null = (
            distances.js_by_chance(size, other_size, groups) if by_groups else distances.ks_by_chance(size, other_size)
        )
    found = Drift(np.full(len(rows), np.nan), np.full(len(rows), np.nan), np.zeros(len(rows), bool))
    found.values[left], found.absolute[left] = value, constant
    if question.levels:
        found.null[left] = null
    return found


def _sizes(wanted: Sequence[tuple[Histograms, Ints]]) -> list[Ints]:
    """Finite values of some rows of some histograms: int64, as long as each list of rows."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    for h, rows in wanted:
        ranges.setdefault(id(h), []).append(_range(rows))
    sizes: dict[int, Ints] = {}
    for h, _ in wanted:
        if id(h) not in sizes:
            sizes[id(h)] = np.zeros(len(h), np.int64)
            done = 0
            for start, stop in sorted(ranges[id(h)]):
                start = max(start, done)
                if start < stop:
                    sizes[id(h)][start:stop] = finite_counts(h, start, stop)
                    done = stop
    return [sizes[id(h)][rows] for h, rows in wanted]


def _range(rows: Ints) -> tuple[int, int]:
    """The first of some rows and the one behind the last."""
    return (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)


def _spreads(reference: Histograms, rows: Ints) -> Floats:
    """What the chance level of the Wasserstein distance needs of each row: float64, as long as `rows`."""
    start, stop = _range(rows)
    if stop - start <= 2 * len(rows):
        return distances.bridge_areas(reference.between(start, stop))[rows - start]
    used, place = np.unique(rows, return_inverse=True)
    return distances.bridge_areas(reference.take(used))[place]


def _distances(block: PairedBlock, measure: Measure) -> tuple[Floats, Ints | int]:
    """Distance and number of groups of each pair."""
    if measure == "wasserstein":
        return distances.wasserstein_distances(block.rows, block.reference, block.low, block.high), 0
    if measure == "ks":
        return distances.ks_distances(block.rows, block.reference), 0
    if measure == "js_distance":
        return distances.js_distances(block.rows, block.reference)
    return distances.psi_distances(block.rows, block.reference)


def _apart(rows: Histograms, reference: Histograms, left: Ints, right: Ints) -> Booleans:
    """Whether all values of one are below all values of the other, even within one bin."""
    apart: Booleans = (rows.min[left] > reference.max[right]) | (rows.max[left] < reference.min[right])
    return apart


def _with_exact_parts(rows: Histograms, reference: Histograms, left: Ints, right: Ints, area: Floats) -> Floats:
    """The Wasserstein distance by bins, corrected with what is known exactly: mean, minimum and maximum."""
    between_means = np.abs(rows.mean[left] - reference.mean[right])
    apart = _apart(rows, reference, left, right)
    area = np.where(apart, between_means, area)
    row_constant = rows.min[left] == rows.max[left]
    constant = reference.min[right] == reference.max[right]
    for one, spread, which, point in (
        (row_constant & ~constant & ~apart, reference, right, rows.min[left]),
        (constant & ~row_constant & ~apart, rows, left, reference.min[right]),
    ):
        if one.any():
            area[one] = distances.distances_to_a_point(spread.take(which[one]), point[one])
    # Of any two distributions W1 is at least the first and, as W1 <= W2, at most the second.
    most = np.hypot(between_means, rows.std[left] + reference.std[right])
    return np.clip(area, between_means, np.maximum(most, between_means))
