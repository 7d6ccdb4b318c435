"""Columns made from buffers equal those that pyarrow makes, and none of them imports pandas."""

import subprocess
import sys

import pyarrow as pa
import pytest

from explorer.charts import arrow

MISSING = [None, 1.5, float("inf"), -0.0, None]


@pytest.mark.parametrize("values", [[], [None], MISSING, [1.0] * 9 + [None]])
def test_numbers_are_those_of_pyarrow(values):
    assert arrow.numbers(values).equals(pa.array(values, pa.float64()))


def test_nan_stays_a_value_and_is_not_missing():
    column = arrow.numbers([float("nan"), None])
    assert column.null_count == 1
    assert column[0].as_py() != column[0].as_py()


@pytest.mark.parametrize("kind", [pa.int64(), pa.timestamp("ms", tz="UTC"), pa.duration("s")])
def test_whole_numbers_can_be_counts_times_and_durations(kind):
    values = [0, None, 2**52, -5]
    assert arrow.numbers(values, kind).equals(pa.array(values, pa.int64()).cast(kind))


def test_flags_are_those_of_pyarrow():
    values = [True, None, False] * 5
    assert arrow.numbers(values, pa.bool_()).equals(pa.array(values, pa.bool_()))


@pytest.mark.parametrize("values", [[], ["", "a", None, "漢😀"], [None] * 9, ["x" * 10_000]])
def test_texts_are_those_of_pyarrow(values):
    assert arrow.texts(values).equals(pa.array(values, pa.string()))


def test_half_surrogates_become_question_marks():
    assert arrow.texts(["a\ud800b"]).to_pylist() == ["a?b"]


@pytest.mark.parametrize("values", [[], [[]], [["a", "b"], [], ["c"]]])
def test_lists_of_texts_are_those_of_pyarrow(values):
    assert arrow.text_lists(values).equals(pa.array(values, pa.list_(pa.string())))


@pytest.mark.parametrize("values", [[], [()], [(1.0, 2.5), (), (3.0,)]])
def test_lists_of_numbers_are_those_of_pyarrow(values):
    assert arrow.number_lists(values).equals(pa.array(values, pa.list_(pa.float32())))


def test_every_column_is_whole():
    for column in (
        arrow.numbers(MISSING),
        arrow.texts(["a", None]),
        arrow.text_lists([["a"]]),
        arrow.number_lists([(1.0,)]),
    ):
        column.validate(full=True)


def test_pandas_is_not_imported():
    code = (
        "import sys; from explorer.charts import arrow; import pyarrow as pa\n"
        "pa.Table.from_arrays([arrow.numbers([1.0, None]), arrow.texts(['a', None]), arrow.text_lists([['a'], []]),\n"
        "    arrow.number_lists([(1.0,), ()])], names=list('abcd'))\n"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
