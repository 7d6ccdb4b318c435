"""The index tells what the footer tells, and a segment without one, or with a wrong one, gives no other numbers."""

import contextlib
import json
import random
import struct
import zlib

import numpy as np
import pytest

from explorer.errors import DamagedFile, FileError, UnsupportedFormat
from explorer.storage import block, segments
from explorer.storage.points import EvenSteps, even_steps


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0001-00000-000001.parquet"


def split(data):
    """(pages, index, block and footer) of a segment file."""
    footer_bytes = struct.unpack_from("<I", data, len(data) - 8)[0]
    end = len(data) - 8 - footer_bytes
    count = struct.unpack_from("<I", data, end - 16)[0]
    start = end - 16 - 16 * count
    chunks = [struct.unpack_from("<QII", data, start + 16 * number) for number in range(count)]
    end_of_pages = max(first + size for first, size, _ in chunks)
    return data[:end_of_pages], data[end_of_pages:start], data[start:]


def with_index(data, text):
    """The same segment with an index of somebody's choice and a checksum that fits."""
    pages, _, rest = split(data)
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return pages + text + struct.pack("<I", zlib.crc32(text)) + b"EXI1" + rest


def index_of(data):
    return json.loads(split(data)[1][:-8])


def points_of(path, metric="a"):
    with segments.open_segment(path) as segment:
        found = segment.read_points(metric, wall_time=False)
        return None if found is None else (found.step.tolist(), found.value.tolist())


def test_an_index_says_what_the_format_says(make_segment):
    assert index_of(make_segment(a=[1.0, None, 3.0], count=[1, 2, 3])) == {
        **{"table": "scalars", "attempt": 1, "rank": 0, "segment": 1, "part": 0, "parts": 1, "rows": 3, "format": 1},
        **{"columns": ["step", "wall_time", "a", "count"], "kinds": "dq", "counts": [2, 3], "steps": [0, 1]},
    }


def test_a_metric_is_read_without_parquets_own_reader(path, make_segment, monkeypatch):
    path.write_bytes(make_segment(a=[1.0, None, 3.0], count=[1, 2, 3]))
    monkeypatch.delattr(segments, "open_parquet")
    assert points_of(path) == ([0, 2], [1.0, 3.0])
    assert points_of(path, "count") == ([0, 1, 2], [1, 2, 3])
    assert points_of(path, "nothing") is None


@pytest.mark.parametrize("name", ["step", "wall_time", "metric:x", "späß 🙂"])
def test_metrics_of_any_name_are_found(path, make_table, name):
    table = make_table(a=[1.0, 2.0]).rename_columns(["step", "wall_time", segments.columns.column_name(name)])
    path.write_bytes(segments.encode_segment(table, segments.SegmentMeta("scalars", 1, 0, 1, 0, 1, 2)))
    assert points_of(path, name) == ([0, 1], [1.0, 2.0])


def test_a_segment_without_an_index_has_the_same_points(path, make_segment):
    whole = make_segment(a=[1.0, None, 3.0], b=[0.5, 0.25, float("inf")])
    pages, _, rest = split(whole)
    path.write_bytes(pages + rest)
    assert points_of(path) == ([0, 2], [1.0, 3.0])
    assert points_of(path, "b") == ([0, 1, 2], [0.5, 0.25, float("inf")])


@pytest.mark.parametrize(
    "steps", [[5, 7, 9], [-3, -2, -1], [-(2**63), 0, 2**63 - 1], [3, 2, 1], [1, 1, 1], [1, 2, 4], [7, 7, 8]]
)
def test_steps_survive_whether_they_are_even_or_not(path, make_table, steps):
    table = make_table(steps=steps, a=[1.0, 2.0, 3.0])
    path.write_bytes(segments.encode_segment(table, segments.SegmentMeta("scalars", 1, 0, 1, 0, 1, 3)))
    assert points_of(path) == (steps, [1.0, 2.0, 3.0])


def test_even_steps_are_those_that_ascend_by_the_same_number():
    assert even_steps(np.array([4])) == EvenSteps(4, 1, 1)
    assert even_steps(np.array([-4, 6, 16])) == EvenSteps(-4, 10, 3)
    for uneven in ([], [1, 1], [2, 1], [0, 1, 3], [-(2**63), 2**63 - 1], [2**63 - 2, 2**63 - 1]):
        assert even_steps(np.array(uneven, np.int64)) is None


def test_an_index_of_a_newer_format_is_refused_with_what_to_do(path, make_segment):
    whole = make_segment(a=[1.0])
    path.write_bytes(with_index(whole, index_of(whole) | {"format": 2}))
    with pytest.raises(UnsupportedFormat, match="Upgrade"):
        segments.open_segment(path)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": -1},
        {"rows": True},
        {"rows": "3"},
        {"rows": 10**30},
        {"rows": 150_000_000},
        {"format": None},
        {"columns": ["step", "wall_time"]},
        {"columns": ["step", "wall_time", "a", "a"]},
        {"columns": ["wall_time", "step", "a", "b"]},
        {"columns": [["step"], "wall_time", "a", "b"]},
        {"columns": "step"},
        {"columns": None},
        {"kinds": "dd "},
        {"kinds": "dx"},
        {"kinds": ["d", "d"]},
        {"counts": [3]},
        {"counts": [3, 4]},
        {"counts": [3, -1]},
        {"counts": [3, 1.0]},
        {"steps": [0, 0]},
        {"steps": [0, -1]},
        {"steps": [0]},
        {"steps": [0, 2**62]},
        {"steps": [2**70, 1]},
        {"steps": [0.5, 1]},
        {"steps": "ab"},
    ],
)
def test_an_index_that_says_impossible_things_is_named(path, make_segment, change):
    whole = make_segment(a=[1.0, 2.0, 3.0], b=[1.0, None, 3.0])
    path.write_bytes(with_index(whole, index_of(whole) | change))
    with pytest.raises(DamagedFile):
        segments.open_segment(path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"1", b"[" * 100_000, b'"\xff"', b"null"])
def test_an_index_that_is_none_is_named(path, make_segment, text):
    path.write_bytes(with_index(make_segment(a=[1.0]), text))
    with pytest.raises(DamagedFile, match="index"):
        segments.open_segment(path)


def test_an_index_of_another_segment_is_found_when_rows_are_read(path, make_segment):
    whole = make_segment(a=[1.0, 2.0])
    for change in ({"segment": 2}, {"columns": ["step", "wall_time", "z"]}, {"rows": 1, "counts": [1]}):
        path.write_bytes(with_index(whole, index_of(whole) | change))
        with pytest.raises(DamagedFile, match="index of another segment"):
            segments.read_columns(path)


def test_steps_of_an_index_that_are_not_those_of_the_rows_are_found(path, make_segment):
    whole = make_segment(a=[1.0, 2.0])
    path.write_bytes(with_index(whole, index_of(whole) | {"steps": [5, 1]}))
    with pytest.raises(DamagedFile, match="steps"):
        segments.read_columns(path)


def test_any_flipped_bit_is_found_or_harmless_for_one_metric_too(path, make_segment):
    seed = random.randrange(2**32)
    print("seed", seed)
    whole = make_segment(a=[0.1 * n for n in range(200)], b=[None if n % 3 else n / 7 for n in range(200)])
    path.write_bytes(whole)
    truth = points_of(path, "b")
    pages, index, _ = split(whole)
    inside = range(len(pages) * 8, (len(pages) + len(index)) * 8)
    for bit in [*inside, *random.Random(seed).sample(range(len(whole) * 8), 800)]:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        if bit in inside:
            with pytest.raises(DamagedFile):
                segments.open_segment(path)
        with contextlib.suppress(FileError):
            assert points_of(path, "b") == truth, f"bit {bit}"


def test_the_chunks_of_a_block_may_lie_anywhere(path, make_segment):
    """Also beyond the file, or far apart: then the index between them and the block is none."""
    whole = make_segment(a=[1.0, 2.0])
    pages, index, rest = split(whole)
    for first, size in ((2**63, 8), (0, 2**32 - 1), (len(pages), len(index)), (4, 0)):
        count = 3
        ours = struct.pack("<QII", first, size, 0) + rest[16 : 16 * count] + rest[16 * count : 16 * count + 8]
        ours += struct.pack("<I", zlib.crc32(ours)) + block.MAGIC
        path.write_bytes(pages + index + ours + rest[16 * count + 16 :])
        with contextlib.suppress(FileError):
            segments.read_columns(path)
            raise AssertionError("the step column has another checksum")
