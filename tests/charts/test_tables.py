"""The tables of a curve chart: fixed columns, null where a line breaks, no more digits than can be seen."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from explorer.charts.tables import dots_table, fits_float32, hover_table, lines_table, marks_table, view_table

NAN = np.nan


def test_series_stand_one_after_the_other_under_their_labels() -> None:
    table = lines_table(["a", "b"], [2, 1], np.array([0.0, 1.0, 0.0]), {"y": np.array([1.0, NAN, 3.0])})
    assert table.column("series").to_pylist() == ["a", "a", "b"]
    assert table.column("x").to_pylist() == [0, 1, 0]
    assert table.column("y").to_pylist() == [1.0, None, 3.0]


def test_labels_are_stored_once_and_more_than_127_of_them_fit() -> None:
    labels = [f"run {k}" for k in range(300)]
    table = dots_table(labels, [1] * 300, np.arange(300.0), np.arange(300.0))
    assert pa.types.is_dictionary(table.schema.field("series").type)
    assert table.column("series").to_pylist() == labels


@pytest.mark.parametrize("x", [[0.0, 2.0**31], [0.5], [-(2.0**40)], [1e300]])
def test_positions_that_32_bits_cannot_hold_keep_all_digits(x: list[float]) -> None:
    table = dots_table(["a"], [len(x)], np.array(x), np.zeros(len(x)))
    assert table.column("x").to_pylist() == x


def test_values_close_together_far_from_zero_keep_all_digits() -> None:
    values = np.array([1e9 + 0.25, 1e9 + 0.5])
    assert not fits_float32(values)
    assert dots_table(["a"], [2], np.arange(2.0), values).column("y").to_pylist() == values.tolist()


@pytest.mark.parametrize("values", [[], [1e39], [5e-324, 1.0], [-1e300, 1e300]])
def test_no_value_becomes_infinite(values: list[float]) -> None:
    out = dots_table(["a"], [len(values)], np.arange(float(len(values))), np.array(values)).column("y").to_pylist()
    assert np.isfinite(np.array(out, float)).all()


def test_marks_tell_what_is_not_finite() -> None:
    table = marks_table(["a"], [3], np.arange(3.0), np.array([NAN, np.inf, -np.inf]))
    assert table.column("kind").to_pylist() == ["NaN", "+Inf", "-Inf"]


def test_strips_of_the_tooltip_touch_each_other_and_hold_one_text_per_series() -> None:
    table = hover_table(np.array([0.0, 1.0, 2.0]), ["0", "1"], [["a", "b"], ["c", "d"]], "3 more")
    assert table.column_names == ["x", "x2", "column", "at", "v0", "v1", "more"]
    assert table.column("x2").to_pylist()[0] == table.column("x").to_pylist()[1]
    assert table.column("more").to_pylist() == ["3 more"] * 2


def test_the_ends_of_the_axes_are_one_row() -> None:
    assert view_table((0, 9), (-1.5, 2)).to_pylist() == [{"x_low": 0, "x_high": 9, "y_low": -1.5, "y_high": 2}]
