"""A column that we decode ourselves has the bits that Parquet's own reader finds, or is left to that reader."""

import contextlib
import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer.storage import block, segments
from explorer.storage.pages import OtherLayout, decode_column


def chunk_of(data, column=2):
    start, size, _ = block.chunks_of(memoryview(data))[column]
    return data[start : start + size]


def encoded(make_table, values, kind=None):
    table = make_table(steps=range(len(values))).append_column("a", pa.array(values, kind or pa.float64()))
    return segments.encode_segment(table, segments.SegmentMeta("scalars", 1, 0, 1, 0, 1, len(values)))


def with_gaps(pattern, count):
    return [None if pattern(row) else row / 7 for row in range(count)]


PATTERNS = {
    "none missing": lambda row: False,
    "all missing": lambda row: True,
    "one there": lambda row: row != 3,
    "one missing": lambda row: row == 3,
    "every third missing": lambda row: row % 3 == 0,
    "every 500th there": lambda row: row % 500,
    "halves": lambda row: row < 1_000,
    "runs of seven": lambda row: row // 7 % 2,
}


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("count", [1, 7, 8, 9, 2_000])
def test_values_and_rows_are_those_that_were_written(make_table, name, count):
    expected = with_gaps(PATTERNS[name], count)
    there = [row for row, value in enumerate(expected) if value is not None]
    values = np.empty(len(there))
    rows = decode_column(chunk_of(encoded(make_table, expected)), count, values)
    assert values.tolist() == [expected[row] for row in there]
    assert (list(range(count)) if rows is None else rows.tolist()) == there


@pytest.mark.parametrize("gaps", [range(0, 300_000, 11), [299_999], [0], [150_000], []])
def test_a_column_of_several_pages_is_whole_wherever_its_gaps_are(make_table, gaps):
    count = 300_000
    values = np.random.default_rng(1).standard_normal(count)
    mask = np.zeros(count, bool)
    mask[list(gaps)] = True
    chunk = chunk_of(encoded(make_table, pa.array(values, mask=mask)))
    found = np.empty(int((~mask).sum()))
    rows = decode_column(chunk, count, found)
    assert rows is None if not mask.any() else np.array_equal(rows, np.flatnonzero(~mask))
    assert np.array_equal(found, values[~mask])


def test_every_bit_pattern_and_large_integers_survive(make_table):
    patterns = np.array([0, 1 << 63, 0x7FF0 << 48, 0x7FF8 << 48, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF, 1], np.uint64)
    values = np.empty(len(patterns))
    assert decode_column(chunk_of(encoded(make_table, pa.array(patterns.view(np.float64)))), 7, values) is None
    assert values.view(np.uint64).tolist() == patterns.tolist()
    integers = np.empty(3, np.int64)
    decode_column(chunk_of(encoded(make_table, [2**53 + 1, -(2**63), 2**63 - 1], pa.int64())), 3, integers)
    assert integers.tolist() == [2**53 + 1, -(2**63), 2**63 - 1]


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": True},
        {"use_dictionary": False},
        {"use_dictionary": False, "column_encoding": {"a": "BYTE_STREAM_SPLIT"}, "data_page_version": "2.0"},
        {"use_dictionary": False, "column_encoding": {"a": "BYTE_STREAM_SPLIT"}, "write_statistics": True},
    ],
)
def test_what_others_write_is_left_to_parquets_own_reader(options):
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0]}), sink, compression="zstd", **options)
    with pytest.raises(OtherLayout):
        decode_column(chunk_of(sink.getvalue(), 0), 3, np.empty(3))


def test_another_number_of_rows_or_values_is_left_to_parquets_own_reader(make_table):
    chunk = chunk_of(encoded(make_table, [1.0, None, 3.0]))
    for num_rows, num_values in ((2, 2), (4, 2), (3, 1), (3, 3), (0, 0)):
        with pytest.raises(OtherLayout):
            decode_column(chunk, num_rows, np.empty(num_values))
    with pytest.raises(OtherLayout):
        decode_column(b"", 3, np.empty(2))


def test_hostile_pages_end_in_an_error_or_in_as_many_values_as_were_asked_for(make_table):
    """Whoever fabricates a file can compute our checksums too."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    whole = chunk_of(encoded(make_table, with_gaps(PATTERNS["every third missing"], 300)))
    for _ in range(3_000):
        chunk = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.2 else whole)
        for _ in range(chance.randrange(1, 4)):
            if chunk:
                chunk[chance.randrange(min(len(chunk), chance.choice([40, 80, 10_000])))] = chance.randrange(256)
        with contextlib.suppress(OtherLayout, OSError):
            rows = decode_column(bytes(chunk), 300, np.empty(200))
            assert rows is not None
            assert len(rows) == 200
            assert 0 <= rows.min() <= rows.max() < 300
