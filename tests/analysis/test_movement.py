"""Movement of elements against numpy, and the cases that a distribution is blind to."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from explorer.analysis.drift import js_distance
from explorer.analysis.movement import movement
from explorer.storage.bins import histogram_of


def test_change_and_cosine_are_those_of_the_norms(rng):
    after, before = rng.standard_normal((2, 7, 3, 4)).astype(np.float32)
    found = movement(after, before)
    a, b = after.reshape(7, -1).astype(float), before.reshape(7, -1).astype(float)
    assert found.relative_change == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b))
    assert found.cosine == pytest.approx(cosine_similarity(a.reshape(1, -1), b.reshape(1, -1))[0, 0])
    np.testing.assert_allclose(found.row_change, np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1))
    np.testing.assert_allclose(found.row_cosine, np.diag(cosine_similarity(a, b)))
    assert found.sign_flips == np.mean(np.sign(a) != np.sign(b))
    np.testing.assert_array_equal(found.difference.bins, histogram_of(after.astype(float) - before).bins)


def test_a_permuted_matrix_moves_by_the_root_of_two_while_its_distribution_stays(rng):
    matrix = rng.standard_normal((200, 300))
    permuted = rng.permutation(matrix.ravel()).reshape(matrix.shape)
    assert movement(permuted, matrix).relative_change == pytest.approx(1.42, abs=0.01)
    assert js_distance(histogram_of(permuted), histogram_of(matrix)).values[0] == 0


def test_a_rotated_matrix_moves_as_far_with_hardly_a_drift(rng):
    matrix = rng.standard_normal((100, 100))
    rotation, _ = np.linalg.qr(rng.standard_normal((100, 100)))
    assert movement(matrix @ rotation, matrix).relative_change == pytest.approx(1.42, abs=0.06)
    drift = js_distance(histogram_of(matrix @ rotation), histogram_of(matrix))
    assert drift.values[0] < drift.null[0]


def test_a_scaled_unit_has_a_changed_row_of_the_same_direction(rng):
    matrix = rng.standard_normal((4, 50))
    found = movement(matrix * np.array([[1], [3], [1 / 3], [-1]]), matrix)
    np.testing.assert_allclose(found.row_change, [0, 2, 2 / 3, 2])
    np.testing.assert_allclose(found.row_cosine, [1, 1, 1, -1])
    assert found.sign_flips == 0.25


@given(st.floats(0.01, 100))
@settings(deadline=None)
def test_scaling_all_is_a_change_by_that_share(factor):
    values = np.linspace(-1, 2, 30)
    assert movement(factor * values, values).relative_change == pytest.approx(abs(factor - 1), abs=1e-12)


def test_zeros_have_no_direction_and_no_relative_change():
    nowhere = movement(np.zeros((2, 2)), np.zeros((2, 2)))
    assert np.isnan([nowhere.relative_change, nowhere.cosine]).all()
    assert nowhere.sign_flips == 0
    grown = movement([1.0, 0.0], [0.0, 0.0])
    assert grown.relative_change == np.inf
    assert grown.row_change[0] == np.inf


def test_elements_that_are_not_finite_are_left_out_and_counted():
    found = movement([[1.0, np.nan, 2.0], [np.inf, 4.0, -5.0]], [[2.0, 7.0, 2.0], [1.0, np.nan, 5.0]])
    assert found.num_left_out == 3
    assert found.relative_change == pytest.approx(np.sqrt(1 + 100) / np.sqrt(4 + 4 + 25))
    assert found.sign_flips == pytest.approx(1 / 3)
    assert found.difference.n.tolist() == [3]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 1, 1)])
def test_any_shape_is_fine(shape):
    found = movement(np.ones(shape), np.ones(shape))
    assert len(found.row_change) == (shape[0] if shape else 1)
    assert np.prod(shape) == 0 or found.relative_change == 0


def test_whole_numbers_and_half_precision_are_compared_as_numbers():
    assert movement(np.array([1, 2]), np.array([1, 0])).relative_change == 2
    assert movement(np.float16([60000]), np.float16([-60000])).relative_change == 2  # the difference is beyond float16


def test_what_cannot_be_compared_is_named():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        movement([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="complex"):
        movement([1j], [1.0])
