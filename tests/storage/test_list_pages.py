"""Pages of lists: decoded as Parquet's reader decodes them, or left to it; never a wrong number, never a crash."""

import contextlib
import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from explorer.storage.list_pages import Lists, _add_begins, _sizes_of_long_rows
from explorer.storage.pages import OtherLayout


def chunk_of(lists, kind=None, **options):
    """The bytes of a column chunk as our writer makes it."""
    array = pa.array(lists, pa.list_(kind or pa.int64()))
    sink = io.BytesIO()
    settings = {"use_dictionary": False, "compression": "zstd", "write_statistics": False, "write_page_checksum": True}
    settings |= {"column_encoding": {"x.list.element": "BYTE_STREAM_SPLIT"}} | options
    pq.write_table(pa.table({"x": array}), sink, **settings)
    column = pq.read_metadata(sink).row_group(0).column(0)
    start = column.data_page_offset
    return sink.getvalue()[start : start + column.total_compressed_size]


def decoded(data, num_rows, first=0, stop=None, kind=np.int64):
    found = Lists(data, num_rows, 10**6, 4 if kind == np.int16 else 8)
    stop = num_rows if stop is None else stop
    low, high = int(found.offsets[first]), int(found.offsets[stop])
    entries = np.zeros(high - low, kind)
    found.fill(entries, low, high)
    return [part.tolist() for part in np.split(entries, (found.offsets[first + 1 : stop] - low))]


INTS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40)


@given(st.lists(INTS, min_size=1, max_size=60), st.data())
@settings(deadline=None, max_examples=150)
def test_any_lists_with_entries_are_decoded_as_they_were_written(lists, data):
    chunk = chunk_of(lists, max_rows_per_page=data.draw(st.integers(1, 70)))
    assert decoded(chunk, len(lists)) == lists
    first = data.draw(st.integers(0, len(lists) - 1))
    stop = data.draw(st.integers(first + 1, len(lists)))
    assert decoded(chunk, len(lists), first, stop) == lists[first:stop]


def test_narrow_numbers_of_both_signs_are_decoded():
    lists = [[-(2**15), -1, 0, 1, 2**15 - 1], [7]]
    assert decoded(chunk_of(lists, pa.int16()), 2, kind=np.int16) == lists


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 20_000, 70_000])
def test_runs_of_every_length_are_decoded(size):
    lists = [[1], list(range(size)), [2], [3], list(range(size)), [4]]
    assert decoded(chunk_of(lists), 6) == lists


@pytest.mark.parametrize(
    ("lists", "options"),
    [
        ([[1], [], [2]], {}),
        ([[1], None, [2]], {}),
        ([[1, None, 3]], {}),
        ([[1], [2]], {"column_encoding": {"x.list.element": "DELTA_BINARY_PACKED"}}),
        ([[1], [2]], {"column_encoding": None}),
        ([[1], [2]], {"column_encoding": None, "use_dictionary": True}),
        ([[1], [2]], {"compression": "none"}),
        ([[1], [2]], {"data_page_version": "2.0"}),
        ([[1], [2]], {"write_statistics": True}),
    ],
)
def test_what_looks_different_is_left_to_parquets_reader(lists, options):
    with pytest.raises((OtherLayout, OSError)):
        decoded(chunk_of(lists, **options), len(lists))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(0, 2**16))
@settings(deadline=None, max_examples=150)
def test_rows_of_every_size_are_found_one_beside_another(sizes, seed):
    lists = np.split(np.random.default_rng(seed).integers(0, 2**40, sum(sizes)), np.cumsum(sizes)[:-1])
    assert decoded(chunk_of(lists), len(lists)) == [part.tolist() for part in lists]


def run_of(num):
    """The levels of so many entries that begin no list."""
    head = num << 1
    return bytes([head] if head < 0x80 else [head & 0x7F | 0x80, head >> 7]) + b"\x01"


def levels_of(sizes):
    """The levels of repetition of long rows, as the specification of Parquet has them."""
    return b"".join(b"\x03\xfe" + run_of(size - 8) for size in sizes)


@pytest.mark.parametrize("sizes", [[16], [71, 72, 16], [72, 8_199, 71], [300] * 256])
def test_long_rows_are_found_by_their_bytes_as_by_going_from_each_to_the_next(sizes):
    levels = memoryview(levels_of(sizes))
    starts = []
    _add_begins(levels, 0, sum(sizes), starts)
    assert _sizes_of_long_rows(levels).tolist() == sizes
    assert starts == (np.cumsum(sizes) - sizes).tolist()


@pytest.mark.parametrize(
    "levels",
    [
        b"",
        b"\x03",
        b"\x03\xfe",
        b"\x03\xfe\x00\x01",  # a run of nothing
        b"\x03\xfe\x80\x00\x01",
        b"\x03\xfe\x11\x01",  # groups, where a run is expected
        b"\x03\xfe\x10\x00",  # rows of one entry
        b"\x03\xfe\x90\x81\x01\x01",  # a longer head
        b"\x03\xfe\x90\x81\x01",
        b"\x03\x7e\x10\x01",  # a group that begins another row
        b"\x10\x01" + levels_of([20]),  # a row goes on
        levels_of([20]) + b"\x02",
        levels_of([20])[:-1] + levels_of([20]),
    ],
)
def test_levels_of_anything_else_are_not_taken_for_long_rows(levels):
    assert _sizes_of_long_rows(memoryview(levels)) is None


@given(st.binary(max_size=12), st.lists(st.integers(16, 200), max_size=3), st.integers(0, 30))
@settings(max_examples=300)
def test_whatever_is_taken_for_long_rows_says_the_same_step_by_step(noise, sizes, cut):
    levels = levels_of(sizes)
    levels = memoryview(levels[: max(len(levels) - cut, 0)] + noise + levels_of(sizes))
    found = _sizes_of_long_rows(levels)
    if found is not None:
        starts = []
        _add_begins(levels, 0, int(found.sum()), starts)
        assert starts == (np.cumsum(found) - found).tolist()


@pytest.mark.parametrize(
    ("lists", "num_bits"),
    [([[0]], 0), ([[1], [2]], 2), ([[2**31 - 1, 0]], 31), ([[2**31]], 32), ([[5, 2**40], [7]], 41), ([[-1]], 64)],
)
def test_it_is_known_how_many_bits_the_numbers_need(lists, num_bits):
    for rows in (1, 100):
        assert Lists(chunk_of(lists, max_rows_per_page=rows), len(lists), 10**6, 8).num_bits == num_bits


def test_small_numbers_fill_narrow_arrays():
    lists = [[2**31 - 1, 0, 1 << 8], [1 << 16, 1 << 24, 255]]
    found = Lists(chunk_of(lists), 2, 10, 8)
    entries = np.full(4, -1, np.int32)
    found.fill(entries, 1, 5)
    assert entries.tolist() == [0, 1 << 8, 1 << 16, 1 << 24]


def test_another_number_of_rows_or_entries_is_not_for_us():
    chunk = chunk_of([[1, 2], [3]])
    for num_rows, max_values, width in ((1, 3, 8), (3, 3, 8), (2, 2, 8), (2, 3, 4)):
        with pytest.raises(OtherLayout):
            Lists(chunk, num_rows, max_values, width)


def test_a_twin_lends_its_offsets_only_when_its_lists_have_the_same_lengths():
    one = Lists(chunk_of([[1, 2], [3]], pa.int16()), 2, 9, 4)
    assert Lists(chunk_of([[4, 5], [6]]), 2, 9, 8, one).offsets is one.offsets
    assert Lists(chunk_of([[4], [5, 6]]), 2, 9, 8, one).offsets.tolist() == [0, 1, 3]


def test_damaged_pages_are_decoded_refused_or_left_but_never_bring_us_down():
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    lists = [list(range(chance.randrange(1, 30))) for _ in range(50)]
    whole = chunk_of(lists)
    for _ in range(2_000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(OtherLayout, OSError):
            decoded(bytes(data), 50)
