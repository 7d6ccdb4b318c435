"""Snapshots: the tensor's own bytes in an ordinary Parquet file, one tensor read alone, and damage named."""

import contextlib
import io
import json
import os
import random
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer.errors import DamagedFile, FileError, UnsupportedFormat, UsageError
from explorer.storage import ends, sealed
from explorer.storage.disk import Disk
from explorer.storage.layout import list_snapshot_files
from explorer.storage.snapshot_files import SCHEMA, open_snapshot_file
from explorer.storage.snapshots import SnapshotTensor, drop_snapshot, snapshot_path, write_snapshot


def tensor(name, data=None, dtype=None, shape=None, role="param", stored_step=None, crc32=None):
    if data is None:
        return SnapshotTensor(name, role, dtype or "float32", shape or (), None, stored_step, crc32 or 0)
    data = np.ascontiguousarray(data)
    view = memoryview(data.reshape(-1).view(np.uint8))
    return SnapshotTensor(name, role, dtype or data.dtype.name, shape or data.shape, view, None, zlib.crc32(view))


@pytest.fixture
def model():
    """Small tensors, a large one of several chunks, an empty one, and one of each kind of dtype."""
    chance = np.random.default_rng(0)
    return [
        tensor("embed.weight", chance.normal(size=(5_000, 1_000)).astype(np.float32)),
        *(tensor(f"layers.{n}.weight", chance.normal(size=(300, 300)).astype(np.float32)) for n in range(9)),
        tensor("steps", np.array(7, np.int64), role="buffer"),
        tensor("nothing", np.empty((0, 4), np.float32)),
        tensor("half", chance.integers(0, 2**16, (3, 5), np.uint16), "bfloat16"),
        tensor("mask", np.array([True, False, True]), role="buffer"),
        tensor("ünïcode 🔥/../../x", np.array([np.nan, -0.0, np.inf])),
        tensor("adam.exp_avg", chance.normal(size=10).astype(np.float32), role="optimizer"),
    ]


@pytest.fixture
def write(tmp_path):
    def write(tensors, step=100, attempt=1, rank=0, **options):
        path = snapshot_path(tmp_path, step, attempt, rank)
        write_snapshot(path, step, tensors, attempt=attempt, rank=rank, disk=options.pop("disk", Disk()), **options)
        return path

    return write


def values_of(path):
    """{name: bytes} as pandas reads them."""
    found = {}
    for row in pd.read_parquet(path).itertuples():
        if row.values is not None:
            found[row.name] = found.get(row.name, b"") + row.values
    return found


def test_pyarrow_reads_every_row_of_a_snapshot_as_the_documents_say(write, model):
    path = write([*model, tensor("frozen", shape=(2, 3), stored_step=50, crc32=5)])
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    table.validate(full=True)
    rows = table.to_pylist()
    assert {row["step"] for row in rows} == {100}
    for expected in model:
        mine = [row for row in rows if row["name"] == expected.name]
        assert [row["chunk"] for row in mine] == list(range(len(mine)))
        assert all(len(row["values"]) <= 2**24 for row in mine)
        assert b"".join(row["values"] for row in mine) == bytes(expected.data)
        said = {(row["role"], row["dtype"], tuple(row["shape"]), row["stored_step"]) for row in mine}
        assert said == {(expected.role, expected.dtype, expected.shape, None)}
    assert rows[-1] | {"step": 0} == {
        "step": 0, "name": "frozen", "role": "param", "chunk": 0, "dtype": "float32", "shape": [2, 3],
        "stored_step": 50, "values": None,
    }  # fmt: skip


def test_the_index_says_which_row_groups_hold_a_tensor(write, model):
    file = pq.ParquetFile(write(model))
    meta = json.loads(file.metadata.metadata[b"explorer"])
    assert {"format": 1, "table": "params", "attempt": 1, "rank": 0, "step": 100}.items() <= meta.items()
    for expected in model:
        entry = meta["index"][expected.name]
        rows = [row for group in entry["groups"] for row in file.read_row_group(group).to_pylist()]
        assert b"".join(row["values"] for row in rows if row["name"] == expected.name) == bytes(expected.data)
        assert entry["bytes"] == len(expected.data)
        assert entry["crc32"] == zlib.crc32(expected.data)


def test_small_tensors_share_row_groups_of_about_a_megabyte(write, model):
    metadata = pq.read_metadata(write(model))
    sizes = [metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)]
    assert sizes[0] > 2**24 > sizes[1] > 2**21  # the chunks of the large one
    assert all(size < 2 * 2**20 for size in sizes[2:])
    assert len(sizes) < len(model)


def test_each_tensor_is_read_as_it_was_written_without_the_others(write, model):
    path = write(model)
    with open_snapshot_file(path) as file:
        assert list(file.entries) == [expected.name for expected in model]
        for expected in model:
            entry = file.entries[expected.name]
            assert (entry.role, entry.dtype, entry.shape) == (expected.role, expected.dtype, expected.shape)
            assert file.read_bytes(expected.name).tobytes() == bytes(expected.data)
        file.check()
        with pytest.raises(KeyError):
            file.read_bytes("no such tensor")


def test_tensors_that_lie_elsewhere_have_no_bytes_here(write):
    path = write([tensor("a", shape=(2,), stored_step=3, crc32=9)])
    with open_snapshot_file(path) as file:
        assert (file.entries["a"].stored_step, file.entries["a"].num_bytes) == (3, 8)
        with pytest.raises(KeyError):
            file.read_bytes("a")
        file.check()


def test_a_reference_and_no_rows_is_a_whole_snapshot(write):
    reference = {"path": "/models/step-100.safetensors", "size": 5, "mtime_ns": 6, "header_sha256": "ab"}
    path = write([], reference=reference)
    assert pq.read_table(path).num_rows == 0
    with open_snapshot_file(path) as file:
        assert file.reference == reference
        file.check()


@pytest.mark.parametrize("step", [-1, 10**12])
def test_steps_that_have_no_name_are_refused(tmp_path, step):
    with pytest.raises(UsageError, match="from 0 to"):
        snapshot_path(tmp_path, step, 1, 0)


def test_names_sort_by_step_and_only_snapshots_are_listed(write, tmp_path):
    write([tensor("a", np.ones(3))], 100)
    write([tensor("a", np.ones(3))], 9, rank=2)
    write([tensor("a", np.ones(3))], 9, attempt=2)
    params = tmp_path / "params"
    (params / "7").mkdir()
    (params / "000000000007").symlink_to(params / "000000000009")
    (params / "000000000009" / "0003-00000.parquet").symlink_to(params / "000000000009" / "0002-00000.parquet")
    (params / "000000000009" / ".0001-00000.parquet.1.tmp").touch()
    found = [(file.step, file.attempt, file.rank) for file in list_snapshot_files(tmp_path)]
    assert found == [(9, 1, 2), (9, 2, 0), (100, 1, 0)]


@pytest.mark.parametrize(
    "tensors",
    [
        [tensor("a", np.ones(2)), tensor("a", np.ones(2))],
        [SnapshotTensor("a", "param", "float32", (1,), None, None, 0)],
        [SnapshotTensor("a", "param", "float32", (1,), memoryview(b"1234"), 5, 0)],
        [SnapshotTensor("a", "param", "float32", (2,), memoryview(b"1234"), None, 0)],
        [SnapshotTensor("a", "param", "qint8", (4,), memoryview(b"1234"), None, 0)],
    ],
)
def test_tensors_that_cannot_be_are_refused_and_leave_nothing(write, tmp_path, tensors):
    with pytest.raises(UsageError):
        write(tensors)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_any_failing_write_leaves_the_old_file_and_no_other(write, model):
    path = write([tensor("a", np.ones(3))])
    before = path.read_bytes()
    calls = [0]

    class Failing(Disk):
        def append(self, fd, data):
            calls[0] += 1
            if calls[0] == fail_at:
                raise OSError(28, "No space left on device")
            super().append(fd, data)

        def sync(self, fd):
            self.append(fd, memoryview(b""))

    for fail_at in range(1, 200):
        calls[0] = 0
        try:
            write(model, disk=Failing())
        except OSError:
            assert path.read_bytes() == before
            assert [each.name for each in path.parent.iterdir()] == [path.name]
            continue
        assert calls[0] < fail_at
        break
    assert set(values_of(path)) == {each.name for each in model}


def test_the_model_is_asked_for_one_tensor_at_a_time(write):
    """So one buffer is enough for all of them."""
    buffer = np.empty(2**21, np.uint8)

    def tensors():
        for n in range(5):
            buffer[:] = n
            yield tensor(f"t{n}", buffer)

    found = {name: set(data) for name, data in values_of(write(tensors())).items()}
    assert found == {f"t{n}": {n} for n in range(5)}


def test_dropping_a_snapshot_keeps_the_bytes_that_others_refer_to(write, tmp_path):
    a, b = tensor("a", np.arange(5.0)), tensor("b", np.arange(6.0))
    write([a, b], 10)
    write([tensor("a", shape=(5,), stored_step=10, crc32=a.crc32), b], 20)
    write([tensor("a", shape=(5,), stored_step=10, crc32=a.crc32), b], 30, attempt=2)  # another attempt's own matter
    drop_snapshot(tmp_path, 10, 1, 0, disk=Disk())
    path = snapshot_path(tmp_path, 10, 1, 0)
    assert values_of(path) == {"a": bytes(a.data)}
    with open_snapshot_file(path) as file:
        assert file.is_dropped
        file.check()
    before = path.stat()
    drop_snapshot(tmp_path, 10, 1, 0, disk=Disk())
    assert path.stat() == before
    drop_snapshot(tmp_path, 20, 1, 0, disk=Disk())
    assert not snapshot_path(tmp_path, 20, 1, 0).parent.exists()
    drop_snapshot(tmp_path, 10, 1, 0, disk=Disk())
    assert not path.parent.exists()
    drop_snapshot(tmp_path, 10, 1, 0, disk=Disk())
    assert [file.step for file in list_snapshot_files(tmp_path)] == [30]


def test_nothing_is_dropped_while_another_snapshot_cannot_be_read(write, tmp_path):
    write([tensor("a", np.arange(5.0))], 10)
    other = write([tensor("a", shape=(5,), stored_step=10)], 20)
    other.write_bytes(other.read_bytes()[:-3])
    with pytest.raises(DamagedFile):
        drop_snapshot(tmp_path, 10, 1, 0, disk=Disk())
    assert values_of(snapshot_path(tmp_path, 10, 1, 0)).keys() == {"a"}


def read_everything(path):
    with open_snapshot_file(path) as file:
        return {name: (e.dtype, e.shape, file.read_bytes(name).tobytes()) for name, e in file.entries.items()}


def test_no_flipped_bit_ever_gives_a_wrong_number_and_verify_finds_each(write):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = np.random.default_rng(0)
    path = write([tensor("a", chance.normal(size=50)), tensor("b", np.arange(9))])
    whole, truth = path.read_bytes(), read_everything(path)
    every = range(len(whole) * 8)
    for bit in sorted({*random.Random(seed).sample(every, 1_000), *range(32)}):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with contextlib.suppress(FileError):
            assert read_everything(path) == truth, f"bit {bit}"
        with pytest.raises(FileError), open_snapshot_file(path) as file:
            file.check()


def test_a_snapshot_that_is_cut_is_named(write):
    path = write([tensor("a", np.ones(50))])
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 31), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedFile):
            open_snapshot_file(path)


@pytest.fixture
def forge(write):
    """`forge(meta)` is a snapshot whose index somebody has changed, with checksums that fit."""
    path = write([tensor("a", np.arange(4.0))])
    whole = path.read_bytes()
    end = ends.read_end(len(whole), lambda start, size: whole[start : start + size])

    def forge(**changes):
        meta = json.loads(json.dumps(end.meta))
        entry = {key: value for key, value in changes.items() if key in meta["index"]["a"] or key == "stored_step"}
        meta["index"]["a"] |= entry
        meta |= {key: value for key, value in changes.items() if key not in entry}
        text = json.dumps(meta).encode()
        path.write_bytes(whole[: end.end_of_pages] + ends.encode_end(text, end.chunks, end.footer[:-8]) + end.footer)
        return path

    return forge


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"format": 2}, UnsupportedFormat, "Upgrade"),
        ({"table": "tensors"}, DamagedFile, "another place"),
        ({"step": 101}, DamagedFile, "another place"),
        ({"step": -1}, DamagedFile, "nowhere"),
        ({"rank": 1}, DamagedFile, "another place"),
        ({"index": []}, DamagedFile, "damaged index"),
        ({"index": {"a": {}}}, DamagedFile, "damaged index"),
        ({"index": {"a": 5}}, DamagedFile, "damaged index"),
        ({"shape": [2**50]}, DamagedFile, "more bytes"),
        ({"shape": [2**62]}, DamagedFile, "impossible"),
        ({"shape": [-4]}, DamagedFile, "impossible"),
        ({"shape": [4.0]}, DamagedFile, "impossible"),
        ({"shape": "4"}, DamagedFile, "impossible"),
        ({"shape": [2**70, 0]}, DamagedFile, "impossible"),
        ({"shape": [2**40, 2**40, 0]}, DamagedFile, "impossible"),
        ({"shape": [1] * 63 + [4, 1]}, DamagedFile, "impossible"),
        ({"dtype": "object"}, DamagedFile, "impossible"),
        ({"dtype": ["float64"]}, DamagedFile, "damaged index"),
        ({"crc32": None}, DamagedFile, "impossible"),
        ({"places": [[0, 10**9]]}, DamagedFile, "more bytes"),
        ({"places": [[10**9, 32]]}, DamagedFile, "more bytes"),
        ({"places": [[-5, 32]]}, DamagedFile, "impossible"),
        ({"places": [5]}, DamagedFile, "damaged index"),
        ({"stored_step": 100}, DamagedFile, "nowhere"),
        ({"stored_step": -7}, DamagedFile, "impossible"),
    ],
)
def test_an_index_that_lies_is_named(forge, changes, error, reason):
    with pytest.raises(error, match=reason):
        open_snapshot_file(forge(**changes))


def test_places_that_hold_other_bytes_are_found_by_the_checksum(forge):
    path = forge(places=[[4, 32]])
    with open_snapshot_file(path) as file, pytest.raises(DamagedFile, match="wrong checksum in tensor 'a'"):
        file.read_bytes("a")


def test_many_small_indices_of_one_place_cannot_ask_for_more_memory_than_the_file_has(forge):
    with pytest.raises(DamagedFile, match="more bytes"):
        open_snapshot_file(forge(shape=[4_000_000], places=[[4, 32]] * 1_000_000))


def test_foreign_files_and_links_are_named(tmp_path, write):
    path = snapshot_path(tmp_path, 5, 1, 0)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"step": [1]}), path)
    with pytest.raises(DamagedFile, match="no checksums of ours"):
        open_snapshot_file(path)
    target = write([tensor("a", np.ones(3))], 6)
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(DamagedFile, match="cannot be opened"):
        open_snapshot_file(path)
    path.unlink()
    os.link(target, path)
    with pytest.raises(DamagedFile, match="another place"):
        open_snapshot_file(path)


def test_a_footer_of_another_table_is_found_by_verify(tmp_path, write):
    path = write([tensor("a", np.ones(3))])
    with open_snapshot_file(path) as file:
        meta = file.meta
    sink = io.BytesIO()
    pq.write_table(pa.table({"step": [1]}), sink)
    path.write_bytes(sealed.seal(sink.getbuffer(), json.dumps(meta | {"index": {}}).encode()))
    with open_snapshot_file(path) as file, pytest.raises(DamagedFile, match="other columns"):
        file.check()
