"""The tensors of a run as a user reads them, compared with what pandas makes of the very rows that were added."""

import threading

import numpy as np
import pandas as pd
import pytest

from explorer import open_run
from explorer.errors import TensorNotFound
from explorer.reading.tensors import TensorStore
from explorer.storage.bins import WHOLE_NUMBERS
from explorer.storage.disk import Disk
from explorer.storage.sealed import open_sealed
from explorer.storage.tensors import TensorSegments


@pytest.fixture
def store():
    return TensorStore(fresh_s=0)


class Truth:
    """Rows that were added, in the order in which they count."""

    def __init__(self):
        self.rows = []

    def newest(self, name, kind):
        """Rows of one tensor by step, the last one of each."""
        by_step = {}
        for row in sorted(self.rows, key=lambda found: (found[0], -found[1])):
            if (row[2].name, row[2].kind) == (name, kind):
                by_step[row[2].step] = row[2]
        return [by_step[step] for step in sorted(by_step)]


@pytest.fixture
def truth():
    return Truth()


@pytest.fixture
def record(run, truth):
    """`record(rows, attempt, rank)` adds rows to the segments of a process and flushes them."""
    writers = {}

    def record(rows, attempt=1, rank=0, finish=False):
        writer = writers.setdefault((attempt, rank), TensorSegments(run.path, attempt, rank, Disk()))
        writer.add(rows)
        truth.rows += [(attempt, rank, row) for row in rows]
        writer.finish() if finish else writer.flush()

    return record


def check_histograms(found, expected):
    assert found.step.tolist() == [row.step for row in expected]
    for i, row in enumerate(expected):
        one = found.row(i)
        assert one.m[0] == (WHOLE_NUMBERS if row.m is None else row.m)
        assert np.array_equal(one.bins, row.bins)
        assert np.array_equal(one.counts, row.counts)
        for name in ("zeros", "nans", "infs", "n"):
            assert getattr(one, name)[0] == getattr(row, name)
        for name in ("mean", "std", "min", "max"):
            assert np.array_equal(getattr(one, name)[0], getattr(row, name), equal_nan=True)


def rows_of(make_row, steps, names=("a", "b"), kinds=("param", "grad"), **changes):
    return [make_row(step, name, kind, **changes) for step in steps for name in names for kind in kinds]


def check_all(store, run, truth):
    keys = {(row.name, row.kind) for _, _, row in truth.rows}
    for name, kind in keys:
        check_histograms(store.histograms(run.path, name, kind), truth.newest(name, kind))
    for kind in {kind for _, kind in keys}:
        of_kind = store.histograms_of_kind(run.path, kind)
        assert set(of_kind) == {name for name, each in keys if each == kind}
        for name, found in of_kind.items():
            check_histograms(found, truth.newest(name, kind))
        check_statistics(store.statistics(run.path, kind), truth, kind)
    check_statistics(store.statistics(run.path), truth, None)


def check_statistics(table, truth, kind):
    keys = sorted({(row.name, row.kind) for _, _, row in truth.rows if kind in (None, row.kind)})
    expected = [row for key in keys for row in truth.newest(*key)]
    for name in ("step", "name", "kind", "n", "norm", "update_ratio", "hash", "m"):
        assert table.column(name).to_pylist() == [getattr(row, name) for row in expected]
    assert not {"bins", "counts"} & set(table.column_names)


def test_every_histogram_and_statistic_is_read_as_it_was_recorded(store, run, record, truth, make_row):
    record(rows_of(make_row, range(0, 50, 10)))
    record([make_row(3, "odd", "param", values=[np.nan, 1.0], hash=5, update_ratio=0.5), make_row(4, "odd", values=[])])
    labels = make_row(5, "y", "labels", m=None, bins=np.arange(10, dtype=np.int16), counts=np.arange(10))
    record([labels], finish=True)
    check_all(store, run, truth)
    assert store.problems(run.path) == ()


def test_a_run_that_grows_is_read_on(store, run, record, truth, make_row):
    names = [f"layers.{n}.weight" for n in range(60)]
    for start in range(0, 60, 12):
        record(rows_of(make_row, range(start, start + 12), names, values=[float(start)]))
        check_histograms(store.histograms(run.path, names[7], "grad"), truth.newest(names[7], "grad"))
    check_all(store, run, truth)
    assert len(list((run.path / "tensors").iterdir())) == 2


def test_what_has_not_changed_is_the_same_object(store, run, record, make_row):
    record(rows_of(make_row, range(3)))
    first = store.histograms(run.path, "a", "param")
    table = store.statistics(run.path, "param")
    assert store.histograms(run.path, "a", "param") is first
    assert store.statistics(run.path, "param") is table
    assert store.histograms_of_kind(run.path, "param")["a"] is first
    record([make_row(9, "a")])
    assert len(store.histograms(run.path, "a", "param")) == 4
    assert len(first) == 3


def test_of_a_step_the_newest_attempt_counts_and_in_it_the_lowest_rank(store, run, record, truth, make_row):
    for attempt, rank, steps in [(1, 0, range(10)), (2, 1, range(5, 12)), (2, 0, range(5, 9)), (1, 1, range(3))]:
        record(rows_of(make_row, steps, values=[attempt * 10.0 + rank]), attempt, rank)
    check_all(store, run, truth)
    assert store.histograms(run.path, "a", "param").mean.tolist() == [10] * 5 + [20] * 4 + [21] * 3


def test_of_rows_of_one_step_the_last_one_counts(store, run, record, truth, make_row):
    record(rows_of(make_row, [1, 2, 1], values=[1.0]))
    record(rows_of(make_row, [1], values=[7.0]))
    check_all(store, run, truth)
    assert store.histograms(run.path, "a", "param").mean.tolist() == [7.0, 1.0]


def test_steps_out_of_order_are_sorted(store, run, record, truth, make_row):
    record(rows_of(make_row, [5, 3, -9, 2**60]))
    check_all(store, run, truth)


def test_names_tell_how_often_each_was_recorded_in_the_order_of_the_model(store, run, record, make_row):
    record([*rows_of(make_row, [4, 2], ("z", "a"), ("param",)), make_row(7, "z", "grad"), make_row(9, "new")])
    found = [(key.kind, key.name, key.num_samples, key.first_step, key.last_step) for key in store.names(run.path)]
    assert found == [
        ("grad", "z", 1, 7, 7), ("param", "a", 2, 2, 4), ("param", "new", 1, 9, 9), ("param", "z", 2, 2, 4),
    ]  # fmt: skip
    tensors = [{"name": name, "kinds": ["param"], "order": order} for order, name in enumerate(["z", "a"])]
    (run.path / "model").mkdir()
    run.write_json("model/0001-00000.json", {"format": 1, "tensors": tensors})
    assert [key.name for key in store.names(run.path) if key.kind == "param"] == ["z", "a", "new"]


def test_nothing_recorded_is_nothing_and_no_error(store, run):
    assert store.names(run.path) == []
    assert len(store.histograms(run.path, "a", "param")) == 0
    assert store.histograms_of_kind(run.path, "param") == {}
    assert store.statistics(run.path).num_rows == 0
    assert store.statistics(run.path / "nowhere").column_names[:4] == ["step", "wall_time", "name", "kind"]


def test_a_damaged_segment_costs_only_its_rows_and_is_named(store, run, record, truth, make_row):
    record(rows_of(make_row, range(5)), 1, finish=True)
    record(rows_of(make_row, range(5, 9)), 2, finish=True)
    bad, _ = sorted((run.path / "tensors").iterdir())
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-1])
    assert store.histograms(run.path, "a", "param").step.tolist() == [5, 6, 7, 8]
    assert store.statistics(run.path, "grad").num_rows == 8
    (problem,) = store.problems(run.path)
    assert bad.name in problem
    bad.write_bytes(whole)
    check_all(store, run, truth)
    assert store.problems(run.path) == ()


def test_damage_that_only_reading_finds_is_named_too(store, run, record, make_row, flip_byte):
    record(rows_of(make_row, range(5)), 1, finish=True)
    record(rows_of(make_row, range(5, 9)), 2, finish=True)
    bad, _ = sorted((run.path / "tensors").iterdir())
    with open_sealed(bad) as file:
        places = [start + size // 2 for start, size, _ in file.chunks]
    for place in places:
        flip_byte(bad, place)
    assert store.histograms(run.path, "a", "param").step.tolist() == [5, 6, 7, 8]
    assert "checksum" in store.problems(run.path)[0]


def test_a_missing_segment_is_reported_as_a_gap(store, run, record, make_row):
    record(rows_of(make_row, range(5)), finish=True)
    only = next((run.path / "tensors").iterdir())
    only.rename(only.with_name(only.name.replace("000001.", "000002.")))
    assert "segment 1 of attempt 1, rank 0 is missing" in store.problems(run.path)[0]
    assert "another place" in store.problems(run.path)[1]


def test_memory_is_bounded_and_what_was_let_go_is_read_again(run, record, truth, make_row):
    store = TensorStore(max_bytes=20_000, fresh_s=0)
    record(rows_of(make_row, range(5), [f"t{n}" for n in range(20)]))
    first = store.histograms(run.path, "t0", "param")
    assert sum(each.num_bytes for each in store.histograms_of_kind(run.path, "param").values()) > 20_000
    check_histograms(first, truth.newest("t0", "param"))
    again = store.histograms(run.path, "t0", "param")
    assert again is not first
    check_histograms(again, truth.newest("t0", "param"))
    assert store._num_bytes <= 20_000


def test_what_a_run_adds_is_put_behind_what_was_handed_out(store, run, record, truth, make_row):
    record(rows_of(make_row, range(20), kinds=("param",)))
    before = store.histograms(run.path, "a", "param")
    record(rows_of(make_row, range(20, 22), kinds=("param",)))
    after = store.histograms(run.path, "a", "param")
    assert np.shares_memory(before.counts, after.counts)
    assert before.step.tolist() == list(range(20))
    check_histograms(after, truth.newest("a", "param"))


def test_rows_that_others_replace_stay_as_they_were_for_who_holds_them(store, run, record, truth, make_row):
    record(rows_of(make_row, range(5), kinds=("param",)), 2, finish=True)
    before = store.histograms(run.path, "a", "param")
    held = {name: getattr(before, name).copy() for name in ("step", "offsets", "bins", "counts", "mean")}
    record(rows_of(make_row, range(3, 8), kinds=("param",)), 1, finish=True)  # found late, and counts less
    after = store.histograms(run.path, "a", "param")
    assert after.step.tolist() == list(range(8))
    for name, values in held.items():
        assert np.array_equal(getattr(before, name), values)
    newest = after.take(range(5))
    assert np.array_equal(newest.counts, before.counts)
    assert np.array_equal(newest.mean, before.mean)


def test_each_file_is_read_once_whatever_is_asked_of_it(store, run, record, truth, make_row):
    record(rows_of(make_row, range(40), [f"t{n}" for n in range(17)]))  # in row groups that no tensor fills
    check_all(store, run, truth)


def test_readers_of_several_threads_see_whole_prefixes_while_the_tail_is_rewritten(store, run, make_row):
    one = make_row(0, values=[1.0])
    stop = threading.Event()
    seen, errors = [], []

    def read():
        try:
            while not stop.is_set():
                steps = store.histograms(run.path, "t3", "param").step
                assert np.array_equal(steps, np.arange(len(steps)))
                step = store.statistics(run.path, "param").column("step").to_numpy()
                assert np.array_equal(np.unique(step), np.arange(len(set(step.tolist()))))
                assert store.problems(run.path) == ()
                seen.append(len(steps))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    writer = TensorSegments(run.path, 1, 0, Disk())
    try:
        for step in range(150):
            writer.add([one._replace(step=step, name=f"t{n}") for n in range(40)])
            writer.flush()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert max(seen) > 50
    assert len(store.histograms(run.path, "t3", "param")) == 150


def test_a_run_gives_statistics_as_a_frame(run, record, make_row):
    rows = [make_row(step, name, hash=2**62 + step, update_ratio=0.5) for step in (1, 2) for name in "ab"]
    rows += [make_row(1, "x", "activation", units=3, dead_units=None)]
    record(rows, finish=True)
    frame = open_run(run.path).tensors()
    assert frame[["name", "kind", "step"]].to_numpy().tolist() == [
        ["a", "param", 1], ["a", "param", 2], ["b", "param", 1], ["b", "param", 2], ["x", "activation", 1],
    ]  # fmt: skip
    assert frame["step"].dtype == frame["n"].dtype == np.int64
    assert frame["hash"].tolist()[:2] == [2**62 + 1, 2**62 + 2]
    assert frame["dead_units"].isna().all()
    assert frame["wall_time"].dtype == "datetime64[us]"
    assert frame.attrs["problems"] == ()
    assert len(open_run(run.path).tensors("activation")) == 1
    pd.testing.assert_series_equal(frame["norm"], pd.Series([row.norm for row in sorted(
        rows, key=lambda row: (row.name, row.step))], name="norm"))  # fmt: skip


def test_a_run_gives_histograms_and_says_which_there_are(run, record, truth, make_row):
    record(rows_of(make_row, [1, 2], ("layers.0.weight", "layers.1.weight"), ("param",)), finish=True)
    opened = open_run(run.path)
    check_histograms(opened.histogram("layers.1.weight"), truth.newest("layers.1.weight", "param"))
    with pytest.raises(TensorNotFound, match=r"no tensor of kind param 'layer.1.weight'; it has 'layers.1.weight'"):
        opened.histogram("layer.1.weight")
    with pytest.raises(TensorNotFound, match="nothing has been watched"):
        opened.histogram("layers.1.weight", "grad")


def test_counts_are_of_32_bits_until_one_needs_more(store, run, record, truth, make_row):
    record(rows_of(make_row, range(5), kinds=("param",)), finish=True)
    before = store.histograms(run.path, "a", "param")
    assert before.counts.dtype == np.int32
    large = make_row(5, "a", "param")
    record([large._replace(counts=large.counts + 2**40)], 2, finish=True)
    record(rows_of(make_row, range(6, 9), kinds=("param",)), 3, finish=True)
    after = store.histograms(run.path, "a", "param")
    assert after.counts.dtype == np.int64
    check_histograms(after, truth.newest("a", "param"))
    check_histograms(before, truth.newest("a", "param")[:5])
    assert open_run(run.path).histogram("a").counts.dtype == np.int64


def test_a_run_tells_counts_in_64_bits(run, record, make_row):
    record(rows_of(make_row, range(5), kinds=("param",)), finish=True)
    assert open_run(run.path).histogram("a").counts.dtype == np.int64
