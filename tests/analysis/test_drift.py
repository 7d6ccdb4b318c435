"""Drift against SciPy on the values themselves, by hand, and against what chance does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from explorer.analysis.drift import (
    MEASURES,
    Wanted,
    drift_matrices,
    drift_matrix,
    drift_over_steps,
    js_distance,
    ks,
    psi,
    wasserstein,
)
from explorer.storage.bins import concatenate, histogram_of

arrays = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50)


def shapes(rng):
    """Pairs of tensors: name -> (values, reference)."""
    a, b = rng.standard_normal((2, 40_000))
    relu = np.maximum(a, 0), np.maximum(1.1 * b + 0.05, 0)
    zeros = rng.random(40_000) < 0.9
    return {
        "scaled": (1.05 * a, b),
        "shifted": (a + 0.3, b),
        "near one": (1 + 0.05 * a + 0.02, 1 + 0.05 * b),
        "heavy tails": (1.1 * rng.standard_t(3, 40_000), rng.standard_t(3, 40_000)),
        "relu": relu,
        "sparse": (np.where(zeros, 0, 1.5 * a), np.where(zeros, 0, b)),
        "gradients": (a * 10.0 ** rng.uniform(-8, -2, 40_000), b * 10.0 ** rng.uniform(-8, -1, 40_000)),
    }


SHAPES = list(shapes(np.random.default_rng(0)))


@pytest.mark.parametrize("shape", SHAPES)
def test_wasserstein_is_that_of_scipy_on_the_values(shape, rng):
    values, reference = shapes(rng)[shape]
    found = wasserstein(histogram_of(values), histogram_of(reference))
    assert found.values[0] == pytest.approx(wasserstein_distance(values, reference) / reference.std(), rel=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_ks_is_at_most_that_of_scipy_and_close_to_it(shape, rng):
    values, reference = shapes(rng)[shape]
    true = ks_2samp(values.astype(np.float32), reference.astype(np.float32)).statistic
    found = ks(histogram_of(values), histogram_of(reference)).values[0]
    assert true - 0.004 < found <= true + 1e-12


def grouped(values, reference, wanted):
    """Shares of both over groups cut at the edges of bins that are nearest to the shares `wanted` of the pool."""
    one, other = histogram_of(values), histogram_of(reference)
    m = min(int(one.m[0]), int(other.m[0]))
    sides = [dict(zip(h.at_m(m).bins.tolist(), h.at_m(m).counts.tolist(), strict=True)) for h in (one, other)]
    bins = sorted(set(sides[0]) | set(sides[1]))
    p, q = (np.array([side.get(b, 0) for b in bins]) / sum(side.values()) for side in sides)
    pool = np.concatenate([[0], np.cumsum(wanted(p, q))])
    num = {"pool": 20, "reference": 10}[wanted.__name__]
    cuts = []
    for share in np.arange(1, num) / num:
        below, above = np.flatnonzero(pool < share)[-1], np.flatnonzero(pool >= share)[0]
        cuts.append(int(above if pool[above] - share < share - pool[below] else below))
    ends = [0, *cuts, len(bins)]
    return [np.array([side[a:b].sum() for a, b in pairwise(ends)]) for side in (p, q)]


def pool(p, q):
    return (p + q) / 2


def reference(p, q):
    return q


@pytest.mark.parametrize("shape", SHAPES)
def test_js_distance_is_that_of_scipy_on_the_same_groups(shape, rng):
    values, other = shapes(rng)[shape]
    p, q = grouped(values, other, pool)
    found = js_distance(histogram_of(values), histogram_of(other)).values[0]
    assert found == pytest.approx(jensenshannon(p, q, base=2), abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_psi_is_that_of_the_same_groups(shape, rng):
    values, other = shapes(rng)[shape]
    p, q = (np.maximum(side, 1e-4) for side in grouped(values, other, reference))
    found = psi(histogram_of(values), histogram_of(other)).values[0]
    assert found == pytest.approx(np.sum((p - q) * np.log(p / q)), abs=1e-9)


def test_psi_of_two_groups_by_hand(rows):
    # Nine of ten groups are empty or whole here: the reference is half -1, half 1; a quarter has moved over.
    found = psi(rows([-1.0] + [1.0] * 3), rows([-1.0, -1.0, 1.0, 1.0])).values[0]
    assert found == pytest.approx((0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5))


def test_a_shift_by_c_is_a_distance_of_c(rng):
    values = rng.standard_normal(20_000).astype(np.float32)
    for c in (0.02, 0.5, 30.0):
        found = wasserstein(histogram_of(values + np.float32(c)), histogram_of(values))
        assert found.values[0] * values.std(dtype=float) == pytest.approx(c, rel=0.01)


def ks_by_hand(a, b):
    at = np.concatenate([a, b])
    return max(abs(np.mean(a <= x) - np.mean(b <= x)) for x in at)


@settings(max_examples=60, deadline=None)
@given(arrays, arrays)
def test_distances_have_the_properties_of_distances(a, b):
    one, other = histogram_of(a), histogram_of(b)
    for measure in MEASURES:
        assert drift_over_steps(one, one, measure).values[0] == 0
        assert drift_over_steps(one, other, measure).values[0] >= 0
    for measure in (ks, js_distance):
        there, back = measure(one, other).values[0], measure(other, one).values[0]
        assert there == pytest.approx(back, abs=1e-9)
        assert there <= 1
    assert ks(one, other).values[0] <= ks_by_hand(np.float32(a), np.float32(b)) + 1e-12
    means = abs(np.mean(np.float32(a), dtype=float) - np.mean(np.float32(b), dtype=float))
    unit = other.std[0] if not (other.min == other.max).all() else 1.0
    assert wasserstein(one, other).values[0] * unit >= means * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(arrays, arrays, st.integers(3, 7), st.integers(3, 7))
def test_two_rows_are_compared_at_the_smaller_of_their_mantissa_bits(a, b, m, other_m):
    ends = [-1e7, 1e7]  # two values at least: a single one is compared as the number it is
    one, other = histogram_of(a + ends).at_m(m), histogram_of(b + ends).at_m(other_m)
    least = min(m, other_m)
    for measure in MEASURES:
        mixed, folded = (
            drift_over_steps(x, y, measure) for x, y in ((one, other), (one.at_m(least), other.at_m(least)))
        )
        # Equal up to the order of additions; the root of a JS divergence of 1e-16 is 1e-8.
        np.testing.assert_allclose(mixed.values, folded.values, rtol=1e-9, atol=1e-7)


def test_sizes_do_not_matter_for_equal_shares(rows, rng):
    values = rng.standard_normal(3000)
    h = rows(values, np.repeat(values, 7))
    for measure in MEASURES:
        assert drift_over_steps(h, h.row(0), measure).values[1] == pytest.approx(0, abs=1e-12)


def test_disjoint_values_are_as_far_apart_as_can_be_even_within_one_bin(rows):
    h = rows([1.0001] * 4, [1.0002] * 5, [-5.0, -4.0])
    assert js_distance(h, h.row(0)).values.tolist() == [0, 1, 1]
    assert ks(h, h.row(0)).values.tolist() == [0, 1, 1]
    found = wasserstein(h, h.row(0))
    np.testing.assert_allclose(found.values, [0, 1e-4, 5.5001], rtol=1e-3)
    assert found.absolute.all()  # the reference's values are equal: no unit of spread


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_tensor_that_began_constant_is_compared_with_that_number(start, rng):
    values = np.float32(start + 0.05 * rng.standard_normal(768))
    h = histogram_of(values)
    found = wasserstein(h, histogram_of(np.full(768, start)))
    assert found.absolute.all()
    assert found.values[0] == pytest.approx(wasserstein_distance(values, [start]), rel=0.01)
    back = wasserstein(histogram_of(np.full(768, start)), h)
    assert back.values[0] * h.std[0] == pytest.approx(wasserstein_distance(values, [start]), rel=0.01)


def test_a_spread_far_below_the_mean_has_few_bins_and_is_held_within_what_the_moments_allow(rng):
    values = np.float32(1 + 0.001 * rng.standard_normal(5000))
    found = wasserstein(histogram_of(values), histogram_of(np.ones(5000)))
    assert wasserstein_distance(values, [1.0]) < found.values[0] <= 0.001 * 1.05
    shifted = wasserstein(histogram_of(values + np.float32(0.0001)), histogram_of(values))
    assert 0.09 < shifted.values[0] < 2.1


def test_a_spike_of_zeros_is_a_group_of_its_own(rng):
    values = np.where(rng.random(10_000) < 0.9, 0, rng.standard_normal(10_000))
    grown = np.where(values > 0, values * 5, values)
    assert psi(histogram_of(grown), histogram_of(values)).values[0] < 1e-6  # no value changed its sign
    moved = np.where(values == 0, -0.5, values)
    assert js_distance(histogram_of(moved), histogram_of(values)).values[0] > 0.9


def test_rows_without_finite_values_have_no_distance(rows):
    h = rows([1.0, 2.0], [], [np.nan, np.inf], [3.0, 5.0])
    for measure in MEASURES:
        found = drift_over_steps(h, h.row(0), measure)
        assert np.isnan(found.values).tolist() == np.isnan(found.null).tolist() == [False, True, True, False]
        assert np.isnan(drift_over_steps(h, h.row(2), measure).values).all()
        assert drift_over_steps(h.take([]), h.row(0), measure).values.shape == (0,)


def test_labels_are_compared_as_numbers(labels, rng):
    a, b = rng.integers(0, 10, 500), rng.integers(2, 10, 700)
    h = labels(a, b)
    assert ks(h.row(0), h.row(1)).values[0] == pytest.approx(ks_2samp(a, b).statistic)
    assert wasserstein(h.row(0), h.row(1)).values[0] == pytest.approx(wasserstein_distance(a, b) / b.std())
    with pytest.raises(ValueError, match="labels"):
        ks(h, histogram_of([1.0]))


def test_a_permuted_matrix_has_no_drift(rng):
    matrix = rng.standard_normal((60, 50))
    permuted = rng.permuted(matrix, axis=1)
    for measure in MEASURES:
        assert drift_over_steps(histogram_of(permuted), histogram_of(matrix), measure).values[0] == 0


# What chance does: two samples of one distribution, many times. The stated level is the 99 % point.


def draws(shape, size, rng):
    return {
        "normal": lambda: rng.standard_normal(size),
        "uniform": lambda: rng.random(size),
        "exponential": lambda: rng.exponential(size=size),
        "heavy tails": lambda: rng.standard_t(3, size),
        "sparse": lambda: np.where(rng.random(size) < 0.9, 0, rng.standard_normal(size)),
    }[shape]()


@pytest.mark.parametrize(
    ("shape", "size", "other"),
    [
        *((shape, 1000, 1000) for shape in ("normal", "uniform", "exponential", "heavy tails", "sparse")),
        *((shape, 300, 3000) for shape in ("normal", "sparse")),
    ],
)
def test_the_chance_level_is_what_same_distributions_reach_in_one_of_a_hundred(shape, size, other, rows):
    rng = np.random.default_rng(11)
    num = 800
    one = rows(*(draws(shape, size, rng) for _ in range(num)))
    two = rows(*(draws(shape, other, rng) for _ in range(num)))
    for measure in MEASURES:
        found = drift_over_steps(one, two, measure)
        above = np.mean(found.values > found.null)
        level = np.quantile(found.values, 0.99) / np.median(found.null)
        if measure == "ks":  # conservative where values repeat or bins are coarse
            assert above <= 0.015
            assert level < 1.06
        else:
            assert above <= 0.025
            assert 0.8 < level < 1.25


# Many tensors over their steps.


@pytest.fixture(scope="module")
def trained():
    """Two tensors over steps 0, 10, ...; the second begins later."""
    rng = np.random.default_rng(3)
    start = rng.standard_normal((2, 2000)) * 0.1
    tensors = {}
    for name, first, values in zip(("head", "body"), (0, 2), start, strict=True):
        parts = [histogram_of(values * (1 + 0.1 * k) + 0.01 * k, 10 * k) for k in range(first, 6)]
        tensors[name] = concatenate(parts)
    return tensors


@pytest.mark.parametrize("measure", MEASURES)
def test_a_matrix_holds_the_drift_of_each_tensor_from_its_first_row(trained, measure):
    found = drift_matrix(trained, "first", measure)
    assert found.names == ("head", "body")
    assert found.steps.tolist() == [0, 10, 20, 30, 40, 50]
    for place, first in ((0, 0), (1, 2)):
        h = trained[found.names[place]]
        alone = drift_over_steps(h, h.row(0), measure)
        np.testing.assert_array_equal(found.values[place, first:], alone.values)
        np.testing.assert_array_equal(found.null[place, first:], alone.null)
        assert found.values[place, first] == 0
        assert (found.reference_steps[place, first:] == 10 * first).all()
    assert np.isnan(found.values[1, :2]).all()
    assert (found.reference_steps[1, :2] == 0).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_the_previous_row_is_the_reference_of_each(trained, measure):
    found = drift_matrix(trained, "previous", measure)
    for place, first in ((0, 0), (1, 2)):
        h = trained[found.names[place]]
        alone = [drift_over_steps(h.row(i), h.row(i - 1), measure).values[0] for i in range(1, len(h))]
        np.testing.assert_allclose(found.values[place, first + 1 :], alone, rtol=1e-12, atol=1e-9)
        assert np.isnan(found.values[place, first])
    assert found.reference_steps[0].tolist() == [0, 0, 10, 20, 30, 40]


def test_a_step_as_reference_is_the_last_row_up_to_it(trained):
    found = drift_matrix(trained, 25, "ks")
    assert found.values[:, 2].tolist() == [0, 0]
    assert (found.reference_steps[0] == 20).all()
    early = drift_matrix(trained, np.int64(10), "ks")
    assert early.values[0, 1] == 0
    assert np.isnan(early.values[1]).all()  # the second tensor has no row up to step 10


def test_another_run_is_compared_at_the_same_step_or_the_last_before(trained):
    head = trained["head"]
    other = {"head": head.take([0, 3]), "unknown": head}
    found = drift_matrix(trained, other, "wasserstein")
    assert found.reference_steps[0].tolist() == [0, 0, 0, 30, 30, 30]
    assert found.values[0, [0, 3]].tolist() == [0, 0]
    assert np.isnan(found.values[1]).all()
    later = drift_matrix(trained, {"head": head.take([3, 4])}, "wasserstein")
    assert np.isnan(later.values[0]).tolist() == [True] * 3 + [False] * 3


def test_a_single_row_of_another_run_counts_for_all_steps(trained):
    found = drift_matrix(trained, {"head": trained["head"].row(5)}, "js_distance")
    assert np.isfinite(found.values[0]).all()
    assert found.values[0, 5] == 0


@pytest.mark.parametrize("measure", MEASURES)
def test_rows_of_unlike_bins_and_blocks_of_rows_change_nothing(measure, rng):
    # More rows than are compared at a time, with mantissa bits 3 to 7 mixed.
    parts = [histogram_of(rng.standard_normal(40), k).at_m(int(rng.integers(3, 8))) for k in range(1100)]
    h = concatenate(parts)
    for reference in ("first", "previous"):
        found = drift_matrix({"w": h}, reference, measure).values[0]
        for i in (1, 2, 500, 1023, 1024, 1025, 1099):
            alone = drift_over_steps(h.row(i), h.row(0 if reference == "first" else i - 1), measure).values[0]
            assert found[i] == pytest.approx(alone, rel=1e-9, abs=1e-7)


def test_no_tensors_and_tensors_without_rows_are_no_error(trained):
    assert drift_matrix({}, "first", "ks").values.shape == (0, 0)
    empty = drift_matrix({"none": trained["head"].take([]), "head": trained["head"]}, "previous", "psi")
    assert np.isnan(empty.values[0]).all()
    assert np.isfinite(empty.values[1, 1:]).all()


def test_what_is_no_reference_or_measure_is_named(trained):
    with pytest.raises(ValueError, match="'first', 'previous', a step"):
        drift_matrix(trained, "last", "ks")
    with pytest.raises(ValueError, match="wasserstein, ks, js_distance, psi"):
        drift_matrix(trained, "first", "kl")
    with pytest.raises(ValueError, match=r"1 row or as many as are compared \(6\), got 2"):
        ks(trained["head"], trained["head"].take([0, 1]))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("reference", ["first", "previous"])
def test_counts_of_32_bits_drift_as_those_of_64(two_widths, measure, reference):
    wide, narrow = (drift_matrix({"w": h}, reference, measure) for h in two_widths)
    for one, other in zip(wide[1:], narrow[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    other_run = drift_matrix({"w": two_widths[0]}, {"w": two_widths[1]}, measure)
    assert (other_run.values == 0).all()


def test_several_drifts_that_are_made_together_are_those_that_are_made_alone(trained, rng):
    other = {name: concatenate([histogram_of(rng.standard_normal(500) * 0.1, 20)]) for name in trained}
    wanted = [
        Wanted(reference, measure, levels)
        for reference in ("first", "previous", 25, {"body": trained["body"], "head": other["head"]}, other)
        for measure, levels in (("wasserstein", False), ("psi", True), ("js_distance", True), ("ks", True))
    ]
    for one, found in zip(wanted, drift_matrices(trained, wanted), strict=True):
        expected = drift_matrix(trained, one.reference, one.measure, levels=one.levels)
        assert found.names == expected.names
        for part, other_part in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_allclose(part, other_part, rtol=1e-11, atol=1e-15)


def test_of_drifts_that_are_made_together_each_pair_is_compared_at_its_own_mantissa_bits(rng):
    rows = [histogram_of(rng.standard_normal(3_000) + k, k).at_m(3) if k % 3 else histogram_of([1.0, 2.0 + k], k)
            for k in range(12)]  # fmt: skip
    h = {"w": concatenate(rows)}
    assert len(set(h["w"].m.tolist())) > 1
    wanted = [Wanted(reference, "ks") for reference in ("first", "previous", 4)]
    for one, found in zip(wanted, drift_matrices(h, wanted), strict=True):
        np.testing.assert_array_equal(found.values, drift_matrix(h, one.reference, "ks").values)
