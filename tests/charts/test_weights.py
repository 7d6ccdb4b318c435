"""Weights brought down to pixels: means of whole blocks, and filters side by side."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.charts.weights import MAX_PIXELS, as_matrix, average_down, mosaic, reach


def blockwise_mean(matrix, rows_each, columns_each):
    """The same in the plainest way."""
    out = [
        [
            matrix[top : top + rows_each, left : left + columns_each].mean()
            for left in range(0, matrix.shape[1], columns_each)
        ]
        for top in range(0, matrix.shape[0], rows_each)
    ]
    return np.array(out)


@pytest.mark.parametrize("shape", [(10, 10), (700, 333), (1, 5_000), (5_000, 1), (1_025, 1_027)])
def test_a_pixel_is_the_mean_of_its_block(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = average_down(matrix)
    assert found.values.size <= MAX_PIXELS
    expected = blockwise_mean(matrix.astype(np.float64), found.rows_each, found.columns_each)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert (found.num_rows, found.num_columns) == shape


def test_a_small_matrix_is_drawn_value_by_value():
    matrix = np.arange(12.0).reshape(3, 4)
    found = average_down(matrix)
    assert not found.is_averaged
    np.testing.assert_array_equal(found.values, matrix)


def test_one_value_that_is_not_finite_marks_its_pixel_and_no_other():
    matrix = np.ones((1_000, 100), np.float32)
    matrix[501, 7], matrix[0, 0] = np.nan, np.inf
    found = average_down(matrix)
    assert found.num_bad == 2
    assert np.isnan(found.values).sum() == 2
    assert np.isnan(found.values[501 // found.rows_each, 7 // found.columns_each])
    assert matrix[501, 8] == 1
    assert np.isinf(matrix[0, 0]), "the tensor itself is not touched"


def test_a_matrix_of_a_million_rows_is_a_picture_of_512():
    matrix = np.broadcast_to(np.float32(2.0), (1_000_000, 64))
    found = average_down(matrix)
    assert found.values.shape == (512, 64)
    assert (found.values == 2.0).all()


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.uint8, np.complex64, np.float16, np.float64])
def test_every_type_of_number_is_drawn(dtype):
    found = average_down(np.ones((4, 4), dtype=dtype))
    assert found.values.dtype == np.float32
    assert (found.values == 1.0).all()


def test_complex_values_are_drawn_by_their_size():
    assert average_down(np.array([[3 + 4j]])).values[0, 0] == 5.0


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 0), (0, 3)])
def test_tensors_of_any_shape_are_matrices(shape):
    found = average_down(as_matrix(np.ones(shape, np.float32)))
    assert found.values.ndim == 2


def test_a_mosaic_has_a_tile_for_each_filter_with_a_gap_between():
    weight = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    found = mosaic(weight)
    assert found.values.shape == (2 * 3 - 1, 3 * 3 - 1)
    np.testing.assert_array_equal(found.values[3:5, 6:8], weight[1, 2])
    assert np.isnan(found.values[2]).all()
    assert np.isnan(found.values[:, 2]).all()


def test_few_input_channels_stand_below_each_other():
    weight = np.arange(8 * 1 * 3 * 3, dtype=np.float32).reshape(8, 1, 3, 3)
    found = mosaic(weight)
    assert found.out_is_x
    assert found.values.shape == (3, 8 * 4 - 1)
    np.testing.assert_array_equal(found.values[:, 20:23], weight[5, 0])


def test_filters_beyond_the_first_32_are_reached_by_their_number():
    weight = np.zeros((100, 64, 3, 3), np.float32)
    weight[99, 0] = 7.0
    found = mosaic(weight, first_out=90)
    assert (found.first_out, found.num_out, found.num_in) == (90, 10, 32)
    assert found.values[9 * 4, 0] == 7.0
    assert not found.out_is_x


def test_kernels_of_one_and_three_sizes_are_rows_and_stacks():
    assert mosaic(np.zeros((2, 2, 5))).tile == (1, 5)
    assert mosaic(np.zeros((2, 1, 2, 3, 4))).tile == (6, 4)


def test_what_has_no_filters_is_refused():
    with pytest.raises(ValueError, match="three sizes or more"):
        mosaic(np.zeros((3, 4)))


def test_colours_reach_to_the_largest_finite_size():
    assert reach(np.array([-3.0, 2.0, np.nan, -np.inf])) == 3.0
    assert reach(np.array([np.nan])) == 1.0
    assert reach(np.zeros(3)) == 1.0
