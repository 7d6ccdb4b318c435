"""Rows of a journal become the frame that a user expects."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from explorer.storage import columns
from explorer.storage.journal import Shape
from explorer.storage.journal_scan import ShapeRows

NUMBERS = itertools.count(1)


def rows(names, records, kinds=None):
    """ShapeRows of (order, step, values...) tuples."""
    kinds = kinds or "d" * len(names)
    words = np.zeros((len(records), 2 + len(names)), np.uint64)
    for row, (order, step, *values) in zip(words, records, strict=True):
        row[0], row[1] = np.int64(step).view(np.uint64), order * 1_000_000
        for index, (kind, value) in enumerate(zip(kinds, values, strict=True)):
            row[2 + index] = (np.int64(value) if kind == "q" else np.float64(value)).view(np.uint64)
    return ShapeRows(Shape(next(NUMBERS), names, kinds), words, np.array([order for order, *_ in records]))


def merged(*parts):
    tables = columns.tables_of(list(parts), 0)
    assert len(tables) == 1
    table = tables[0]
    table = tables[0].drop(["wall_time"])
    records = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return [
        {name: value for name, value in zip(table.column_names, values, strict=True) if value is not None}
        for values in records
    ]


def test_no_rows_make_no_table():
    assert columns.tables_of([], 0) == []


def test_rows_of_one_step_with_different_metrics_become_one_row():
    found = merged(rows(["loss"], [(1, 0, 0.5), (3, 1, 0.4)]), rows(["acc"], [(2, 0, 0.1), (4, 1, 0.2)]))
    assert found == [{"step": 0, "loss": 0.5, "acc": 0.1}, {"step": 1, "loss": 0.4, "acc": 0.2}]


def test_a_merged_row_has_the_earliest_time_of_its_parts():
    table = columns.tables_of([rows(["loss"], [(9, 0, 0.5)]), rows(["acc"], [(4, 0, 0.1)])], 10_000)[0]
    assert table.column("wall_time").cast(pa.int64()).to_pylist() == [4_010]


def test_a_metric_logged_twice_at_one_step_keeps_both_values():
    assert merged(rows(["loss"], [(1, 0, 0.5), (2, 0, 0.4)])) == [{"step": 0, "loss": 0.5}, {"step": 0, "loss": 0.4}]


def test_repeated_steps_pair_up_in_the_order_they_came():
    loss = rows(["loss"], [(1, 0, 1), (3, 0, 2)])
    both = rows(["loss", "acc"], [(2, 0, 10, 20)])
    lr = rows(["lr"], [(4, 0, 0.1)])
    assert merged(loss, both, lr) == [
        {"step": 0, "loss": 1.0, "lr": 0.1},
        {"step": 0, "loss": 10.0, "acc": 20.0},
        {"step": 0, "loss": 2.0},
    ]


def test_rows_keep_the_order_in_which_their_steps_first_came():
    found = merged(rows(["a"], [(1, 5, 1), (3, -2, 2)]), rows(["b"], [(2, 9, 3), (4, 5, 4)]))
    assert [row["step"] for row in found] == [5, 9, -2]


def test_nothing_is_lost_or_made_up_in_random_mixtures():
    seed = int(np.random.default_rng().integers(2**32))
    print("seed", seed)
    chance = np.random.default_rng(seed)
    for _ in range(50):
        names = [["a"], ["b"], ["a", "b"], ["c"], ["d", "c"], ["e"]]
        logged = [(order, names[chance.integers(len(names))], int(chance.integers(-3, 4))) for order in range(1, 60)]
        parts = []
        for shape in names:
            mine = [
                (order, step, *(order + n / 8 for n, _ in enumerate(used)))
                for order, used, step in logged
                if used == shape
            ]
            if mine:
                parts.append(rows(shape, mine))
        found = merged(*parts)
        for metric in "abcde":
            expected = [(step, order + used.index(metric) / 8) for order, used, step in logged if metric in used]
            got = [(row["step"], row[metric]) for row in found if metric in row]
            assert sorted(got) == sorted(expected)
            for step in {step for step, _ in expected}:  # repeated values of a step come in the order they were logged
                assert [v for s, v in got if s == step] == [v for s, v in expected if s == step]


def test_a_metric_never_mixes_integers_and_floats_in_one_column():
    tables = columns.tables_of([rows(["n"], [(1, 0, 2**60 + 1)], "q"), rows(["n"], [(2, 1, 5.0)])], 0)
    assert [table.column("n").to_pylist() for table in tables] == [[2**60 + 1], [5.0]]
    assert [str(table.schema.field("n").type) for table in tables] == ["int64", "double"]


def test_a_table_stays_below_a_thousand_metrics_and_loses_none():
    shapes = [rows([f"m{shape}-{n}" for n in range(400)], [(shape + 1, 0, *range(400))]) for shape in range(7)]
    tables = columns.tables_of(shapes, 0)
    assert all(table.num_columns <= 2 + columns.MAX_COLUMNS for table in tables)
    assert sum(table.num_columns - 2 for table in tables) == 2_800


def test_one_row_of_4096_metrics_stays_one_row():
    tables = columns.tables_of([rows([f"m{n}" for n in range(4_096)], [(1, 0, *range(4_096))])], 0)
    assert [table.num_columns for table in tables] == [4_098]


@pytest.mark.parametrize("name", ["step", "wall_time", "metric:", "metric:x", "metric:metric:step", "x", "", "Step"])
def test_a_metric_may_have_the_name_of_a_column_of_ours(name):
    column = columns.column_name(name)
    assert column not in ("step", "wall_time")
    assert columns.metric_name(column) == name
