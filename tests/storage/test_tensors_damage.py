"""The table of tensors: whatever is done to a file, it costs that file alone, and is named."""

import contextlib
import io
import json
import os
import random
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer.errors import DamagedFile, FileError, UnsupportedFormat
from explorer.storage import ends, sealed, tensors
from explorer.storage.tensor_rows import COLUMNS, SCHEMA, table_of
from explorer.storage.tensors import open_tensor_segment
from tests.storage.tensor_table import by_tensor, paths, read_all

NUM_SHAPES = 40


def test_no_flipped_bit_ever_gives_a_wrong_number(segments, tmp_path, make_row):
    seed = random.randrange(2**32)
    print("seed", seed)
    segments.add([make_row(step, name) for step in range(5) for name in "ab"])
    segments.finish()
    path = paths(tmp_path)[0]
    whole = path.read_bytes()
    truth = by_tensor(read_all(tmp_path))
    every = range(len(whole) * 8)
    wrong = 0
    for bit in sorted({*every[-8 * 400 :: 7], *random.Random(seed).sample(every, 600), *range(32)}):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with contextlib.suppress(FileError):
            assert by_tensor(read_all(tmp_path)) == truth, f"bit {bit}"
        with pytest.raises(FileError), open_tensor_segment(path) as segment:
            segment.check()
        wrong += 1
    assert wrong > 600


def test_a_file_that_is_cut_is_named(segments, tmp_path, make_row):
    segments.add([make_row()])
    segments.finish()
    path = paths(tmp_path)[0]
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 41), *range(len(whole) - 60, len(whole))]:
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedFile):
            open_tensor_segment(path).close()


def forged(table, meta=None, schema=None, **options):
    """A segment of somebody's own making, with checksums that fit."""
    kinds, names, steps = (table.column(name).to_pylist() for name in ("kind", "name", "step"))
    spans = {}
    for kind, name, step in zip(kinds, names, steps, strict=True):
        spans.setdefault(kind, []).append([name, 1, step, step])
    said = {"format": 1, "table": "tensors", "attempt": 1, "rank": 0, "segment": 1, "rows": len(kinds)}
    said |= {"group_rows": tensors.GROUP_ROWS, "sealed": True}
    text = json.dumps({**said, "tensors": spans} | (meta or {})).encode()
    sink = io.BytesIO()
    ours = {"use_dictionary": list(tensors._DICTIONARIES), "column_encoding": tensors._ENCODINGS}
    ours |= {"compression": "zstd", "row_group_size": tensors.GROUP_ROWS, "write_statistics": ["kind", "name"]}
    options = ours | options
    pq.write_table((schema or table).replace_schema_metadata({b"explorer": text}), sink, **options)
    return sealed.seal(sink.getbuffer(), text)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0001-00000-000001.parquet"


@pytest.fixture
def table(make_row):
    return table_of([make_row(1, name) for name in "abc"])


def test_a_forged_segment_is_one_when_nothing_is_wrong_with_it(path, table):
    path.write_bytes(forged(table))
    with open_tensor_segment(path) as segment:
        segment.check()
        assert segment.read(["name"]).column("name").to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("meta", "error", "reason"),
    [
        ({"format": 2}, UnsupportedFormat, "Upgrade"),
        ({"format": None}, DamagedFile, "format version"),
        ({"table": "scalars"}, DamagedFile, "another place"),
        ({"attempt": 2}, DamagedFile, "another place"),
        ({"rows": 4}, DamagedFile, "claims other rows"),
        ({"tensors": {}}, DamagedFile, "claims other rows"),
        ({"tensors": [1]}, DamagedFile, "damaged index"),
        ({"tensors": {"param": [["a", 10**9, 1, 1]]}, "rows": 10**9}, DamagedFile, "claims other rows"),
        ({"tensors": {"param": [["a", 4, 1, 1], ["b", -1, 1, 1]]}}, DamagedFile, "impossible"),
        ({"tensors": {"param": [["a", 3.0, 1, 1]]}}, DamagedFile, "impossible"),
        ({"tensors": {"param": [["b", 2, 1, 1], ["a", 1, 1, 1]]}}, DamagedFile, "not sorted"),
        ({"tensors": {"param": [["a", 3]]}}, DamagedFile, "damaged index"),
        ({"group_rows": 0}, DamagedFile, "column chunks"),
        ({"group_rows": 2}, DamagedFile, "column chunks"),
        ({"group_rows": None}, DamagedFile, "column chunks"),
    ],
)
def test_an_index_that_lies_is_named(path, table, meta, error, reason):
    path.write_bytes(forged(table, meta))
    with pytest.raises(error, match=reason):
        open_tensor_segment(path).close()


@pytest.mark.parametrize(
    "meta", [{"tensors": {"param": [["a", 1, 1, 1], ["b", 2, 1, 1]]}}, {"tensors": {"x": [["a", 3, 1, 1]]}}]
)
def test_an_index_that_gives_rows_to_another_tensor_is_found_by_verify(path, table, meta):
    path.write_bytes(forged(table, meta))
    with open_tensor_segment(path) as segment, pytest.raises(DamagedFile, match="index does not tell"):
        segment.check()


def changed(table, name, values):
    place = table.column_names.index(name)
    return table.set_column(place, SCHEMA.field(place), pa.array(values, SCHEMA.field(place).type))


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("m", [3, 8, 3], "none of ours"),
        ("m", [3, 0, None], "none of ours"),
        ("bins", [[1, 2], [2, 1], [1]], "ascend"),
        ("bins", [[1, 2], [1, 1], [1]], "ascend"),
        ("bins", [[1], [], []], "without counts"),
        ("counts", [[1], [-1], [1]], "without counts"),
    ],
)
def test_rows_that_no_writer_makes_are_refused(path, table, column, values, reason):
    if reason == "ascend":
        table = changed(table, "counts", [[1] * len(value) for value in values])
    path.write_bytes(forged(changed(table, column, values)))
    with open_tensor_segment(path) as segment:
        with pytest.raises(DamagedFile, match=reason):
            segment.read(["m", "bins", "counts"])
        with pytest.raises(DamagedFile, match=reason):
            list(segment.read_histograms("param"))


def test_counts_below_zero_are_refused(path, table):
    table = changed(changed(table, "bins", [[1], [2], [3]]), "counts", [[1], [-1], [1]])
    path.write_bytes(forged(table))
    with open_tensor_segment(path) as segment, pytest.raises(DamagedFile, match="below zero"):
        segment.read(["counts"])


def test_text_that_is_not_utf8_is_refused(path, table):
    bad = pa.array([b"\xff", b"b", b"c"]).cast(pa.binary())
    hostile = pa.Array.from_buffers(pa.string(), 3, bad.buffers())
    place = table.column_names.index("name")
    path.write_bytes(forged(table, schema=table.set_column(place, SCHEMA.field(place), hostile)))
    with open_tensor_segment(path) as segment, pytest.raises(DamagedFile):
        segment.read(["name"])


def test_a_page_that_decodes_to_gigabytes_is_refused_before_it_is_decoded(path, table):
    """Of 20 million equal entries each; the file has a few hundred kilobytes."""
    entries = pa.array(np.ones(20_000_000, np.int64))
    bomb = pa.ListArray.from_arrays(pa.array([0, 20_000_000, 20_000_000, 20_000_000], pa.int32()), entries)
    place = table.column_names.index("counts")
    hostile = table.set_column(place, SCHEMA.field(place), bomb)
    path.write_bytes(forged(table, schema=hostile, compression_level=1))
    assert path.stat().st_size < 2**20
    with open_tensor_segment(path) as segment:
        with pytest.raises(DamagedFile, match="none of ours has that"):
            segment.read(["counts"])
        with pytest.raises(DamagedFile, match="none of ours has that"):
            list(segment.read_histograms("param"))


def test_a_dictionary_of_gigabytes_is_refused_before_it_is_decoded(path, table):
    hostile = changed(table, "name", ["a" * 80_000_000, "b", "c"])
    path.write_bytes(forged(table, schema=hostile, write_statistics=False))
    with open_tensor_segment(path) as segment, pytest.raises(DamagedFile, match="none of ours has that"):
        segment.read(["name"])


def test_columns_of_other_types_are_named_and_never_read_as_ours(path, table):
    place = table.column_names.index("norm")
    hostile = table.set_column(place, "norm", pa.array(["x", "y", "z"]))
    path.write_bytes(forged(table, schema=hostile, use_dictionary=False, column_encoding=None))
    with open_tensor_segment(path) as segment:
        with pytest.raises(DamagedFile, match="other columns"):
            segment.check()
        with pytest.raises(DamagedFile):
            segment.read(["norm"])


def test_hostile_pages_with_checksums_that_fit_cost_their_file_only(path, table):
    """Whoever fabricates a file can compute our checksums too; then Parquet's own reader must not bring us down."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    whole = forged(table)
    end = ends.read_end(len(whole), lambda start, size: whole[start : start + size])
    text = json.dumps(end.meta).encode()
    for _ in range(400):
        data = bytearray(whole[: end.end_of_pages])
        start, size, _ = chance.choice(end.chunks)
        for _ in range(chance.randrange(1, 6)):
            data[start + chance.randrange(min(size, 60))] = chance.randrange(256)
        chunks = [(s, n, zlib.crc32(data[s : s + n])) for s, n, _ in end.chunks]
        path.write_bytes(bytes(data) + ends.encode_end(text, chunks, end.footer[:-8]) + end.footer)
        with contextlib.suppress(FileError), open_tensor_segment(path) as segment:
            segment.read(COLUMNS)
        with contextlib.suppress(FileError), open_tensor_segment(path) as segment:
            list(segment.read_histograms("param"))


def test_hostile_footers_and_blocks_with_checksums_that_fit_cost_their_file_only(path, table):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    whole = forged(table)
    end = ends.read_end(len(whole), lambda start, size: whole[start : start + size])
    text = json.dumps(end.meta).encode()
    for _ in range(300):
        footer = bytearray(end.footer)
        for _ in range(chance.randrange(1, 6)):
            footer[chance.randrange(len(footer) - 8)] = chance.randrange(256)
        chunks = list(end.chunks)
        place = chance.randrange(len(chunks))
        chunks[place] = (chance.choice([0, 4, 2**63, chunks[place][0]]), chance.choice([0, 2**32 - 1, 100]), 0)
        path.write_bytes(whole[: end.end_of_pages] + ends.encode_end(text, chunks, footer[:-8]) + bytes(footer))
        with contextlib.suppress(FileError), open_tensor_segment(path) as segment:
            segment.check()


def test_foreign_files_links_pipes_and_folders_are_named(path, table, tmp_path):
    pq.write_table(table, path)
    with pytest.raises(DamagedFile, match="has no checksums of ours"):
        open_tensor_segment(path)
    path.write_bytes(b"PAR1" + struct.pack("<I", 2**32 - 1) + b"PAR1")
    with pytest.raises(DamagedFile):
        open_tensor_segment(path)
    path.unlink()
    target = tmp_path / "elsewhere"
    target.write_bytes(forged(table))
    path.symlink_to(target)
    with pytest.raises(DamagedFile, match="cannot be opened"):
        open_tensor_segment(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedFile, match="not a regular file"):
        open_tensor_segment(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedFile, match="not a regular file"):
        open_tensor_segment(path)
    path.rmdir()
    with pytest.raises(FileNotFoundError):
        open_tensor_segment(path)


def test_a_segment_that_is_replaced_while_it_is_read_stays_what_it_was(segments, tmp_path, make_row):
    segments.add([make_row(0)])
    segments.flush()
    with open_tensor_segment(paths(tmp_path)[0]) as before:
        segments.add([make_row(step, "b") for step in range(500)])
        segments.flush()
        assert before.read(["step"]).num_rows == 1
    with open_tensor_segment(paths(tmp_path)[0]) as after:
        assert after.num_rows == 501


def test_opening_and_failing_leaves_no_descriptor_open(path, table):
    whole = forged(table)
    before = len(os.listdir("/proc/self/fd"))
    for content in (whole, whole[:-9], b"", forged(table, {"rows": 9}), forged(table, {"format": 3})):
        path.write_bytes(content)
        with contextlib.suppress(FileError), open_tensor_segment(path) as segment:
            segment.check()
    assert len(os.listdir("/proc/self/fd")) == before
