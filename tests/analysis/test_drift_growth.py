"""The drift of a growing run is that of the whole run, and what was known is not computed again."""

from dataclasses import replace

import numpy as np
import pytest

from explorer.analysis import row_drift
from explorer.analysis.drift import MEASURES, drift_matrix
from explorer.analysis.drift_growth import GrowingDrift, grow
from explorer.analysis.shared_bins import shared_pairs
from explorer.storage.bins import concatenate, histogram_of


@pytest.fixture
def run(rng):
    def rows(scale, steps):
        return concatenate([histogram_of(rng.standard_normal(400) * scale * (1 + step / 50), step) for step in steps])

    return {"even": rows(1.0, range(40)), "odd": rows(0.1, range(1, 40, 2)), "late": rows(1.0, range(30, 40))}


def until(tensors, step):
    return {name: h.take(h.step < step) for name, h in tensors.items() if (h.step < step).any()}


def assert_same(found, expected):
    assert found.names == expected.names
    for one, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("reference", ["first", "previous", 7, 35])
def test_a_run_that_grows_has_the_drift_of_the_whole(run, measure, reference):
    growing = GrowingDrift(measure)
    for step in (10, 11, 11, 33, 40):
        tensors = until(run, step)
        assert_same(growing.matrix(tensors, reference), drift_matrix(tensors, reference, measure))


def test_another_run_may_grow_too(run, rng):
    other = {name: h.take(range(0, len(h), 3)) for name, h in run.items()}
    growing = GrowingDrift("ks")
    for step, other_step in ((12, 5), (20, 20), (40, 22), (40, 40)):
        tensors, against = until(run, step), until(other, other_step)
        assert_same(growing.matrix(tensors, against), drift_matrix(tensors, against, "ks"))


def test_steps_that_were_recorded_again_are_compared_again(run, rng):
    growing = GrowingDrift("wasserstein")
    growing.matrix(run, "first")
    again = [histogram_of(rng.standard_normal(400) * 3, step) for step in range(20, 45)]
    resumed = run | {"even": concatenate([run["even"].take(range(20)), *again])}
    assert_same(growing.matrix(resumed, "first"), drift_matrix(resumed, "first", "wasserstein"))
    other_start = run | {"even": concatenate([again[0].take([0]), run["even"].take(range(21, 40))])}
    assert_same(growing.matrix(other_start, "first"), drift_matrix(other_start, "first", "wasserstein"))


def test_what_is_known_is_not_computed_again(run):
    early = until(run, 30)
    growing = GrowingDrift("ks")
    known = growing.matrix(early, "first")
    # Rows that are known again by their moments, with other values in their bins: nobody looks there.
    moved = {name: replace(h, bins=h.bins[::-1].copy() * 0 + 1) for name, h in early.items()}
    assert_same(growing.matrix(moved, "first"), known)
    assert (drift_matrix(moved, "first", "ks").values[0, 1:] != known.values[0, 1:]).all()


def test_it_holds_no_histograms(run):
    growing = GrowingDrift("ks")
    assert growing.num_bytes == 0
    matrix = growing.matrix(run, "previous")
    num_rows = sum(len(h) for h in run.values())
    assert growing.num_bytes == 64 * num_rows + sum(part.nbytes for part in matrix[1:])
    growing.matrix(run, {"even": run["even"]})
    assert growing.num_bytes == 64 * (num_rows + len(run["even"])) + sum(part.nbytes for part in matrix[1:])


def test_chance_levels_are_left_out_on_demand(run):
    plain = drift_matrix(run, "previous", "wasserstein", levels=False)
    assert np.isnan(plain.null).all()
    np.testing.assert_array_equal(plain.values, drift_matrix(run, "previous", "wasserstein").values)


def test_another_reference_step_is_compared_anew(run):
    growing = GrowingDrift("psi")
    for step in (7, 20, 20, 3):
        assert_same(growing.matrix(run, step), drift_matrix(run, step, "psi"))


def test_drifts_that_grow_together_are_those_that_grow_alone(run):
    both = [(GrowingDrift("wasserstein"), "first"), (GrowingDrift("wasserstein", levels=False), "previous")]
    both[1][0].matrix(until(run, 5), "previous")  # it may have begun earlier
    for step in (10, 11, 33, 40):
        tensors = until(run, step)
        first, previous = grow(both, tensors)
        assert_same(first, drift_matrix(tensors, "first", "wasserstein"))
        assert_same(previous, drift_matrix(tensors, "previous", "wasserstein", levels=False))
        assert_same(both[0][0].matrix(tensors, "first"), first)


def test_of_what_grows_together_only_what_is_new_is_computed(run, monkeypatch):
    both = [(GrowingDrift("ks"), "first"), (GrowingDrift("psi"), "previous")]
    grow(both, until(run, 30))
    compared = []

    def watched(rows, lists, scratch):
        compared.extend(len(pairs.left) for pairs in lists)
        return shared_pairs(rows, lists, scratch)

    monkeypatch.setattr(row_drift, "shared_pairs", watched)
    grow(both, until(run, 32))
    assert compared == [2, 2, 1, 1, 2, 1]  # of `even`, `odd` and `late`, whose first row is new
