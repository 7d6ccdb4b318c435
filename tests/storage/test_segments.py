"""A segment gives back the bits it was given, or says what is wrong with it."""

import contextlib
import io
import json
import os
import random
import struct
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer.errors import DamagedFile, FileError, UnsupportedFormat
from explorer.storage import block, checksums, segments
from explorer.storage.disk import Disk
from explorer.storage.layout import SegmentName


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0001-00000-000001.parquet"


def bits(column):
    return np.array(column.to_numpy(zero_copy_only=False)).view(np.uint64).tolist()


def foreign(table, meta=None, **options):
    """A Parquet file that somebody else wrote, with a footer of their choice and checksums that fit."""
    if meta is not None:
        table = table.replace_schema_metadata({b"explorer": meta if isinstance(meta, bytes) else json.dumps(meta)})
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return checksums.add_checksums(sink.getvalue())


META = {"format": 1, "table": "scalars", "attempt": 1, "rank": 0, "segment": 1, "part": 0, "parts": 1, "rows": 3}


def test_every_bit_pattern_of_a_float_survives(path, make_table):
    patterns = [0, 1 << 63, 0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF, 1]
    values = np.array(patterns, np.uint64).view(np.float64)
    table = make_table(steps=range(8)).append_column("a", pa.array(values))
    path.write_bytes(segments.encode_segment(table, segments.SegmentMeta("scalars", 1, 0, 1, 0, 1, 8)))
    assert bits(segments.read_columns(path).column("a")) == patterns


def test_integers_beyond_float64_and_extreme_steps_survive(path, make_table):
    steps = [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1]
    counts = [2**53 + 1, -(2**63), 2**63 - 1, 2**60 + 1, 7]
    table = make_table(steps=steps, count=counts)
    path.write_bytes(segments.encode_segment(table, segments.SegmentMeta("scalars", 1, 0, 1, 0, 1, 5)))
    found = segments.read_columns(path)
    assert found.column("step").to_pylist() == steps
    assert found.column("count").to_pylist() == counts


def test_missing_values_stay_missing(path, make_segment):
    path.write_bytes(make_segment(a=[1.0, None, 3.0]))
    assert segments.read_columns(path).column("a").to_pylist() == [1.0, None, 3.0]


def test_metrics_that_are_not_there_are_left_out(path, make_segment):
    path.write_bytes(make_segment(a=[1.0], b=[2.0]))
    assert segments.read_columns(path, ["b", "nothing", "b"]).column_names == ["step", "wall_time", "b"]


def test_pandas_reads_a_segment_as_the_frame_one_expects(path, make_segment):
    path.write_bytes(make_segment(a=[1.0, None, 3.0], count=[2**60 + 1, 2, 3]))
    frame = pd.read_parquet(path)
    assert list(frame.columns) == ["step", "wall_time", "a", "count"]
    assert frame["step"].tolist() == [0, 1, 2]
    assert frame["count"].tolist() == [2**60 + 1, 2, 3]
    assert frame["wall_time"].dtype.kind == "M"


def test_pages_carry_the_checksums_of_parquet_for_other_readers(path, make_segment):
    data = bytearray(make_segment(a=[0.1 * n for n in range(1_000)]))
    path.write_bytes(data)
    with open(path, "rb") as file:
        start, size, _ = checksums.read_checksums(checksums.Source(file.fileno(), len(data))).chunk(2)
    data[start + size // 2] ^= 1
    with pytest.raises(OSError, match=r"CRC|checksum"):
        pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()


def test_part_0_is_written_last(tmp_path, make_table):
    written = []

    class Watching(Disk):
        def write_file(self, path, data, *, sync):
            assert sync
            written.append(path.name)

    tables = [make_table(a=[1.0]), make_table(b=[1.0]), make_table(c=[1.0])]
    paths = segments.write_segment(tmp_path, "scalars", SegmentName(1, 0, 7), tables, disk=Watching())
    assert written == [f"0001-00000-000007{part}.parquet" for part in (".p2", ".p1", "")]
    assert [path.name for path in paths] == written[::-1]


def test_any_flipped_bit_is_found_or_harmless(path, make_segment):
    """Bits of every byte at the ends, and 600 others: never a wrong number."""
    seed = random.randrange(2**32)
    print("seed", seed)
    whole = make_segment(a=[0.1 * n for n in range(200)], b=[None if n % 3 else n / 7 for n in range(200)])
    path.write_bytes(whole)
    truth = segments.read_columns(path)
    every = range(len(whole) * 8)
    flips = sorted({*every[-8 * 512 :: 9], *random.Random(seed).sample(every, 600), *range(32)})
    for bit in flips:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with contextlib.suppress(FileError):
            assert segments.read_columns(path).equals(truth), f"bit {bit}"


def test_a_file_that_is_cut_is_named(path, make_segment):
    whole = make_segment(a=[1.0, 2.0, 3.0])
    for size in [*range(0, len(whole) - 300, 7), *range(len(whole) - 300, len(whole))]:
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedFile):
            segments.read_columns(path)


def test_a_block_of_zeros_is_found(path, make_segment):
    whole = make_segment(a=[0.1 * n for n in range(5_000)])
    for start in range(4_096, len(whole), 4_096):
        data = bytearray(whole)
        data[start : start + 4_096] = bytes(len(data[start : start + 4_096]))
        path.write_bytes(data)
        with pytest.raises(DamagedFile):
            segments.read_columns(path)


def test_an_empty_file_and_text_are_named(path):
    for content in (b"", b"PAR1", b"PAR1PAR1", b"hello world, this is no Parquet file at all"):
        path.write_bytes(content)
        with pytest.raises(DamagedFile):
            segments.open_segment(path)


def test_a_foreign_parquet_file_is_named(path):
    pq.write_table(pa.table({"loss": [1.0, 2.0]}), path)
    with pytest.raises(DamagedFile, match="has no checksums of ours"):
        segments.open_segment(path)


def test_a_foreign_parquet_file_that_has_checksums_is_named_too(path):
    path.write_bytes(foreign(pa.table({"loss": [1.0, 2.0]})))
    with pytest.raises(DamagedFile, match="not one of ours"):
        segments.open_segment(path)


def test_a_newer_format_is_refused_with_what_to_do(path, make_table):
    path.write_bytes(foreign(make_table(a=[1.0, 2.0, 3.0]), META | {"format": 2}))
    with pytest.raises(UnsupportedFormat, match="Upgrade"):
        segments.open_segment(path)


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        (b"{", "damaged metadata"),
        (b"[" * 100_000, "damaged metadata"),
        (b"[1]", "damaged metadata"),
        (b'"\xff"', "metadata"),
        ({}, "format version"),
        (META | {"format": True}, "format version"),
        (META | {"rows": 4}, "another number of rows"),
        (META | {"rows": None}, "another number of rows"),
    ],
)
def test_metadata_that_lies_is_named(path, make_table, meta, reason):
    path.write_bytes(foreign(make_table(a=[1.0, 2.0, 3.0]), meta))
    with pytest.raises(DamagedFile, match=reason):
        segments.open_segment(path)


@pytest.mark.parametrize(
    "columns",
    [
        {"step": pa.array([1, 2, 3]), "a": pa.array([1.0, 2.0, 3.0])},
        {"wall_time": pa.array([1, 2, 3], pa.timestamp("us")), "step": pa.array([1, 2, 3])},
        {"step": pa.array([1.0, 2.0, 3.0]), "wall_time": pa.array([1, 2, 3], pa.timestamp("us"))},
        {"step": pa.array([1, 2, 3]), "wall_time": pa.array([1, 2, 3], pa.timestamp("ms"))},
        {"step": pa.array([1, 2, 3]), "wall_time": pa.array([1, 2, 3], pa.timestamp("us")), "a": pa.array(["x"] * 3)},
        {"step": pa.array([1, 2, 3]), "wall_time": pa.array([1, 2, 3], pa.timestamp("us")), "a": pa.array([[1]] * 3)},
        {"step": pa.array([1, 2, 3]), "wall_time": pa.array([1, 2, 3], pa.timestamp("us")), "a": pa.nulls(3)},
    ],
)
def test_columns_of_other_types_are_refused_before_they_are_read(path, columns):
    path.write_bytes(foreign(pa.table(columns), META))
    with pytest.raises(DamagedFile):
        segments.open_segment(path)


def test_two_columns_of_one_name_are_refused(path, make_table):
    table = make_table(a=[1.0, 2.0, 3.0], b=[1.0, 2.0, 3.0]).rename_columns(["step", "wall_time", "a", "a"])
    path.write_bytes(foreign(table, META))
    with pytest.raises(DamagedFile, match="two columns of one name"):
        segments.open_segment(path)


def test_a_small_file_that_decodes_to_gigabytes_is_refused_before_it_is_read(path):
    size = 67_000_000
    zeros = pa.Array.from_buffers(pa.bool_(), size, [None, pa.py_buffer(bytes(size // 8))])
    table = pa.table({"step": zeros, "wall_time": zeros, "a": zeros})
    path.write_bytes(foreign(table, META | {"rows": size}, compression="zstd", row_group_size=size))
    assert path.stat().st_size < 2**22
    with pytest.raises(DamagedFile, match="no segment has that"):
        segments.open_segment(path)


def test_a_footer_that_claims_billions_of_bytes_is_refused(path, make_segment):
    data = bytearray(make_segment(a=[1.0]))
    for claim in (2**31 - 1, 2**32 - 1, len(data), len(data) - 8):
        data[-8:-4] = struct.pack("<I", claim)
        path.write_bytes(data)
        with pytest.raises(DamagedFile):
            segments.open_segment(path)


def test_hostile_footers_with_checksums_that_fit_cost_their_file_only(path, make_segment):
    """Whoever fabricates a file can compute our checksums too; then Parquet's own reader must not bring us down."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    whole = make_segment(a=[1.0, 2.0, 3.0])
    size = struct.unpack_from("<I", whole, len(whole) - 8)[0]
    start = len(whole) - 8 - size
    count = struct.unpack_from("<I", whole, start - 16)[0]
    for _ in range(400):
        footer = bytearray(whole[start:-8])
        for _ in range(chance.randrange(1, 6)):
            footer[chance.randrange(size)] = chance.randrange(256)
        ours = whole[start - 16 - 16 * count : start - 16] + struct.pack("<II", count, zlib.crc32(footer))
        ours += struct.pack("<I", zlib.crc32(ours)) + block.MAGIC
        path.write_bytes(whole[: start - 16 - 16 * count] + ours + footer + whole[-8:])
        with contextlib.suppress(FileError):
            segments.read_columns(path)


def test_links_pipes_and_folders_are_not_opened(path, make_segment):
    target = path.with_name("elsewhere")
    target.write_bytes(make_segment(a=[1.0]))
    path.symlink_to(target)
    with pytest.raises(DamagedFile, match="cannot be opened"):
        segments.open_segment(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedFile, match="not a regular file"):
        segments.open_segment(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedFile, match="not a regular file"):
        segments.open_segment(path)
    path.rmdir()
    with pytest.raises(FileNotFoundError):
        segments.open_segment(path)


def test_opening_and_failing_leaves_no_descriptor_open(path, make_segment):
    whole = make_segment(a=[1.0, 2.0])
    before = len(os.listdir("/proc/self/fd"))
    for content in (whole, whole[:-9], b"", whole.replace(b'"rows": 2', b'"rows": 3')):
        path.write_bytes(content)
        with contextlib.suppress(DamagedFile):
            segments.read_columns(path)
    assert len(os.listdir("/proc/self/fd")) == before
