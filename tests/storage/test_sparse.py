"""Rows of ever new metrics beside one that is always there: no table grows with the square of their number."""

import numpy as np
import pytest

from explorer import Recorder, open_run
from explorer.storage import columns
from explorer.storage.journal import Shape
from explorer.storage.journal_scan import ShapeRows


def bits(value):
    return int(np.float64(value).view(np.uint64))


def rows_of_new_metrics(count):
    return [
        ShapeRows(
            Shape(step + 1, ("epoch", f"sample/{step}"), "dd"),
            np.array([[step, step, bits(step // 100), bits(step / 2)]], dtype=np.uint64, order="F"),
            np.array([64 + 48 * step]),
        )
        for step in range(count)
    ]


def test_twenty_thousand_metrics_that_share_one_take_little_memory_and_keep_every_value():
    count = 20_000
    tables = columns.tables_of(rows_of_new_metrics(count), 0)
    assert sum(table.nbytes for table in tables) < 200 * 2**20  # 3 GB in one table
    assert sum(table.num_rows for table in tables) == count
    epochs = np.concatenate([columns.numbers(table.column("epoch")) for table in tables])
    assert epochs.tolist() == [step // 100 for step in range(count)]
    for step in (0, 1, 9_999, count - 1):
        (column,) = [table.column(f"sample/{step}") for table in tables if f"sample/{step}" in table.column_names]
        assert columns.numbers(column)[columns.validity(column)].tolist() == [step / 2]


def test_a_hundred_of_them_stay_one_table():
    assert len(columns.tables_of(rows_of_new_metrics(100), 0)) == 1


@pytest.mark.parametrize("cells", [10, 1_000_000])
def test_a_metric_in_several_parts_of_a_segment_reads_as_one(tmp_path, monkeypatch, cells):
    monkeypatch.setattr(columns, "MAX_SHARED_CELLS", cells)
    monkeypatch.setattr(columns, "PIECE_CELLS", cells)
    monkeypatch.setattr(columns, "MAX_CELLS", cells)
    with Recorder("sparse", root=tmp_path, system_every_s=None, quiet=True) as recorder:
        for step in range(60):
            recorder.log({"epoch": step // 10, f"class/{step % 3}": step / 2}, step=step)
    assert (len(list((recorder.path / "scalars").iterdir())) > 1) == (cells == 10)
    run = open_run(recorder.path)
    found = run.scalars("epoch")
    assert found["step"].tolist() == [*range(60)]
    assert found["epoch"].tolist() == [step // 10 for step in range(60)]
    assert run.scalars("class/1")["class/1"].tolist() == [step / 2 for step in range(1, 60, 3)]
