"""The table of tensors: every row is read as it was added, one tensor without the others, and damage is named."""

import contextlib
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from explorer.errors import DamagedFile, UsageError
from explorer.storage import ends, layout, tensors
from explorer.storage.bins import WHOLE_NUMBERS, concatenate, empty_histograms
from explorer.storage.disk import Disk
from explorer.storage.tensor_histograms import HISTOGRAM_COLUMNS, histograms_of
from explorer.storage.tensor_rows import COLUMNS, SCHEMA
from explorer.storage.tensors import TensorSegments, open_tensor_segment
from tests.storage.tensor_table import by_tensor, paths, read_all

NUM_SHAPES = 40


@pytest.fixture
def odd_rows(make_row):
    """Everything that a row can hold."""
    return [
        make_row(3, "a", values=[1.0, -0.0, math.nan, math.inf]),
        make_row(1, "a", "grad", cosine_previous=-0.25),
        make_row(2, "a", values=[]),
        make_row(-5, "b", "labels", m=None, bins=np.array([0, 9], np.int16), counts=np.array([2**40, 1])),
        make_row(2**62, "ünïcode 🔥/../../x", "activation", units=10, dead_units=3, saturated_units=0),
        make_row(2, "a", hash=-(2**63), update_norm=0.5, update_ratio=math.nan, cosine_init=1.0),
        make_row(7, "", "update", bins=None, counts=None, m=None),
    ]


def test_every_row_is_read_as_it_was_added(segments, tmp_path, odd_rows):
    segments.add(odd_rows)
    segments.finish()
    assert by_tensor(read_all(tmp_path)) == by_tensor(odd_rows)
    assert segments.num_rows == len(odd_rows)


def test_a_name_that_is_half_a_character_costs_no_other_row(segments, tmp_path, make_row):
    segments.add([make_row(step, name) for name in ("\ue000", "\ud800", "z") for step in (0, 1)])
    segments.finish()
    found = read_all(tmp_path)
    assert [(row["name"], row["step"]) for row in found] == [(n, s) for n in ("\\ud800", "z", "\ue000") for s in (0, 1)]


def test_pandas_reads_a_segment_as_the_frame_one_expects(segments, tmp_path, odd_rows):
    segments.add(odd_rows)
    segments.flush()
    frame = pd.read_parquet(paths(tmp_path)[0])
    assert list(frame.columns) == list(COLUMNS)
    assert by_tensor(pq.read_table(paths(tmp_path)[0]).to_pylist()) == by_tensor(odd_rows)
    assert pq.read_schema(paths(tmp_path)[0]).equals(SCHEMA)


def test_rows_are_sorted_by_kind_name_and_step_and_equal_ones_keep_their_order(segments, tmp_path, make_row):
    rows = [make_row(step, name, kind, norm=float(n)) for n, (step, name, kind) in enumerate(
        [(2, "b", "param"), (1, "b", "param"), (1, "a", "param"), (1, "b", "grad"), (1, "b", "param")]
    )]  # fmt: skip
    segments.add(rows)
    segments.flush()
    found = [(row["kind"], row["name"], row["step"], row["norm"]) for row in read_all(tmp_path)]
    assert found == [("grad", "b", 1, 3.0), ("param", "a", 1, 2.0), ("param", "b", 1, 1.0), ("param", "b", 1, 4.0),
                     ("param", "b", 2, 0.0)]  # fmt: skip


def many(make_row, num_steps):
    one = make_row(0)
    return [one._replace(step=step, name=f"layers.{n}.weight", kind=kind, norm=float(step * n))
            for step in range(num_steps) for n in range(NUM_SHAPES) for kind in ("param", "grad")]  # fmt: skip


def test_a_full_segment_is_sealed_and_the_next_one_begins(segments, tmp_path, make_row):
    rows = many(make_row, 120)
    for start in range(0, len(rows), 700):
        segments.add(rows[start : start + 700])
        segments.flush()
    *full, tail = paths(tmp_path)
    assert len(full) == len(rows) // tensors.SEGMENT_ROWS
    for path in full:
        with open_tensor_segment(path) as segment:
            assert (segment.num_rows, segment.meta["sealed"]) == (tensors.SEGMENT_ROWS, True)
    with open_tensor_segment(tail) as segment:
        assert segment.meta["sealed"] is False
    segments.finish()
    with open_tensor_segment(tail) as segment:
        assert segment.meta["sealed"] is True
    assert len(read_all(tmp_path)) == len(rows)
    assert layout.list_gaps(layout.list_segments(tmp_path, "tensors")) == []


def test_a_sealed_segment_is_never_touched_again_and_is_forced_to_the_device(tmp_path, make_row):
    written = []

    class Watching(Disk):
        def write_file(self, path, data, *, sync):
            written.append((path.name, sync))
            super().write_file(path, data, sync=sync)

    segments = TensorSegments(tmp_path, 2, 3, Watching())
    for step in range(110):
        segments.add(many(make_row, 1))
        if step % 10 == 9:
            segments.flush()
    segments.finish()
    first, second, third = (f"0002-00003-{n:06d}.parquet" for n in (1, 2, 3))
    assert [name for name, sync in written if sync] == [first, second, third]
    assert written.index((first, True)) == max(n for n, (name, _) in enumerate(written) if name == first)


def test_a_tail_without_new_rows_is_not_written_again(segments, tmp_path, make_row):
    segments.add([make_row()])
    segments.flush()
    before = paths(tmp_path)[0].stat()
    segments.flush()
    assert paths(tmp_path)[0].stat() == before
    segments.finish()
    segments.finish()
    assert len(paths(tmp_path)) == 1


def test_a_flush_is_due_again_only_after_twenty_times_what_it_took(segments, make_row, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(tensors.time, "monotonic", lambda: now[0])
    assert not segments.is_due
    segments.add([make_row()])
    assert segments.is_due
    segments.flush()
    segments.add([make_row()])
    assert not segments.is_due
    now[0] += 1.01
    assert segments.is_due


def test_tensors_with_very_many_bins_fill_a_segment_earlier(segments, tmp_path, make_row, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_ENTRIES", 1_000)
    rows = [make_row(step, bins=np.arange(300, dtype=np.int16), counts=np.ones(300, np.int64)) for step in range(10)]
    segments.add(rows)
    segments.finish()
    assert [pq.read_metadata(path).num_rows for path in paths(tmp_path)] == [3, 3, 3, 1]
    assert by_tensor(read_all(tmp_path)) == by_tensor(rows)


def test_rows_wait_for_a_disk_that_comes_back_and_none_is_lost_or_doubled(tmp_path, make_row):
    class Failing(Disk):
        def write_file(self, path, data, *, sync):
            if chance.random() < 0.5:
                raise OSError(28, "No space left on device")
            super().write_file(path, data, sync=sync)

    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    segments = TensorSegments(tmp_path, 1, 0, Failing())
    rows = many(make_row, 120)
    for start in range(0, len(rows), 500):
        segments.add(rows[start : start + 500])
        with contextlib.suppress(OSError):
            segments.flush()
    for _ in range(100):
        with contextlib.suppress(OSError):
            segments.finish()
            break
    assert by_tensor(read_all(tmp_path)) == by_tensor(rows)


def test_rows_beyond_the_limit_of_memory_are_dropped_and_counted(segments, make_row, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_PENDING_BYTES", 10_000)
    for step in range(10):
        segments.add([make_row(step)])
    assert segments.num_dropped + segments.num_rows == 10
    assert 0 < segments.num_rows < 10


@pytest.mark.parametrize(
    "changes",
    [
        {"n": "many"},
        {"step": 2**63},
        {"name": None},
        {"mean": None},
        {"bins": np.array([40_000]), "counts": np.array([1])},
        {"bins": np.array([1.5]), "counts": np.array([1])},
        {"bins": np.array([1, 2], np.int16)},
        {"counts": None},
    ],
)
def test_values_that_no_column_holds_are_refused_at_once(segments, make_row, changes):
    with pytest.raises(UsageError, match="tensor statistics"):
        segments.add([make_row(**changes)])
    assert segments.num_rows == 0


@pytest.fixture
def filled(segments, tmp_path, make_row):
    """A segment of 1,600 rows; the truth of it as a pandas frame."""
    segments.add(many(make_row, 20))
    segments.finish()
    path = paths(tmp_path)[0]
    return path, pd.read_parquet(path)


@pytest.mark.parametrize("names", [None, ["layers.0.weight"], ["layers.39.weight", "layers.7.weight"], ["nothing"], []])
@pytest.mark.parametrize("kinds", [None, ["grad"], ["param", "grad"], ["activation"]])
def test_some_tensors_are_read_as_pandas_filters_them(filled, names, kinds):
    path, frame = filled
    kept = frame["name"].isin(names) if names is not None else True
    kept &= frame["kind"].isin(kinds) if kinds is not None else True
    expected = frame[kept] if kept is not True else frame
    with open_tensor_segment(path) as segment:
        found = segment.read(["norm", "name", "step", "counts"], names, kinds)
    assert found.column_names == ["norm", "name", "step", "counts"]
    for column in ("norm", "name", "step"):
        assert found.column(column).to_pylist() == expected[column].tolist()
    assert found.column("counts").to_pylist() == [value.tolist() for value in expected["counts"]]


@pytest.mark.parametrize("names", [None, ["layers.0.weight"], ["layers.39.weight", "layers.7.weight"], ["nothing"]])
@pytest.mark.parametrize("kind", ["grad", "param", "labels"])
def test_histograms_are_what_pandas_finds_in_the_rows(filled, names, kind):
    path, frame = filled
    expected = frame[(frame["kind"] == kind) & (frame["name"].isin(names) if names else True)]
    with open_tensor_segment(path) as segment:
        found = concatenate([empty_histograms(), *segment.read_histograms(kind, names)])
    assert len(found) == len(expected)
    for column in ("step", "m", "n", "zeros", "nans", "infs", "mean", "std", "min", "max"):
        assert np.array_equal(getattr(found, column), expected[column])
    for i, (_, row) in enumerate(expected.iterrows()):
        assert np.array_equal(found.row(i).bins, row["bins"])
        assert np.array_equal(found.row(i).counts, row["counts"])


def test_histograms_of_every_size_are_read_alike_by_us_and_by_parquet(segments, tmp_path, make_row, monkeypatch):
    """Lists of one bin to thousands, counts of one byte to eight, bins of both signs, pages of half a megabyte."""
    chance = np.random.default_rng(0)
    rows = []
    for step in range(700):
        size = int(chance.choice([1, 2, 7, 8, 9, 16, 100, 511, 3_000]))
        bins = np.sort(chance.choice(np.arange(-30_000, 30_000, dtype=np.int16), size, replace=False))
        counts = chance.integers(0, 2 ** int(chance.integers(1, 63)), size)
        rows.append(make_row(step, f"t{step % 3}", bins=bins, counts=counts, m=int(chance.integers(3, 8))))
    segments.add(rows)
    segments.finish()
    path = paths(tmp_path)[0]
    for names in (None, ["t0"], ["t1"], ["t2"]):
        with open_tensor_segment(path) as segment:
            ours = concatenate([empty_histograms(), *segment.read_histograms("param", names)])
            theirs = histograms_of(segment.read(HISTOGRAM_COLUMNS, names, ["param"]))
        for field in ("offsets", "bins", "counts", "m", "step", "mean", "n"):
            assert np.array_equal(getattr(ours, field), getattr(theirs, field))
    kept = [row for row in rows if row.name == "t1"]
    with open_tensor_segment(path) as segment:
        monkeypatch.setattr(segment, "_read_ranges", None)  # nothing of this needs Parquet's reader
        found = concatenate([empty_histograms(), *segment.read_histograms("param", ["t1"])])
    assert np.array_equal(found.bins, np.concatenate([row.bins for row in kept]))
    assert np.array_equal(found.counts, np.concatenate([row.counts for row in kept]))


@pytest.mark.parametrize(
    "changes",
    [
        {"m": None},
        {"bins": None, "counts": None},
        {"bins": np.empty(0, np.int16), "counts": np.empty(0, np.int64)},
    ],
)
def test_rows_without_bins_are_left_to_parquets_reader(segments, tmp_path, make_row, changes):
    rows = [make_row(1), make_row(2, **changes), make_row(3)]
    segments.add(rows)
    segments.finish()
    with open_tensor_segment(paths(tmp_path)[0]) as segment:
        found = concatenate([empty_histograms(), *segment.read_histograms("param")])
    assert found.m.tolist() == [WHOLE_NUMBERS if row.m is None else row.m for row in rows]
    assert np.diff(found.offsets).tolist() == [0 if row.bins is None else len(row.bins) for row in rows]


def test_one_tensor_is_read_without_the_bytes_of_the_others(filled):
    path, frame = filled
    with open_tensor_segment(path) as segment:
        place = next(span for span in segment.tensors if span.name == "layers.0.weight" and span.kind == "grad").start
        group = place // tensors.GROUP_ROWS
        data = bytearray(path.read_bytes())
        for index, (start, size, _) in enumerate(ends.read_end(len(data), lambda s, n: bytes(data[s : s + n])).chunks):
            if index // len(COLUMNS) > group:
                data[start : start + size] = bytes(size)
    path.write_bytes(data)
    with open_tensor_segment(path) as segment:
        found = segment.read(["norm"], ["layers.0.weight"], ["grad"])
        assert (
            found.column("norm").to_pylist()
            == frame[(frame.kind == "grad") & (frame.name == "layers.0.weight")]["norm"].tolist()
        )
        with pytest.raises(DamagedFile, match="wrong checksum"):
            segment.read(["norm"])
        with pytest.raises(DamagedFile, match="wrong checksum"):
            segment.check()


def test_the_index_tells_rows_and_steps_of_each_tensor(filled):
    path, frame = filled
    with open_tensor_segment(path) as segment:
        found = [(s.kind, s.name, s.num_rows, s.first_step, s.last_step) for s in segment.tensors]
    groups = frame.groupby(["kind", "name"])["step"]
    assert found == [(*key, len(steps), steps.min(), steps.max()) for key, steps in groups]


def test_writing_needs_no_pandas(tmp_path):
    code = f"""
import sys, pathlib, numpy as np
from explorer.storage.tensors import TensorRow, TensorSegments
from explorer.storage.bins import WHOLE_NUMBERS
from explorer.storage.disk import Disk
segments = TensorSegments(pathlib.Path({str(tmp_path)!r}), 1, 0, Disk())
row = TensorRow(1, 2, "w", "param", 4, 0, 0, 0, 0, 0., 1., 0., 1., 2., m=7, bins=np.arange(3, dtype=np.int16),
                counts=np.ones(3, np.int64))
for _ in range(5000):
    segments.add([row])
segments.flush()
segments.finish()
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert len(paths(tmp_path)) == 2
