"""What tests of several layers need."""

import pytest

from explorer.storage import layout, segments
from explorer.storage.live import read_journal


@pytest.fixture(scope="session")
def rows_of():
    """`rows_of(run_dir)` is every row on disk as (attempt, rank, step, {metric: value}), in the order of the format.

    Read through the storage layer alone, which verifies every checksum; a damaged place in a journal is an error here.
    """

    def read(run_dir, table="scalars"):
        rows = []
        for file in layout.list_segments(run_dir, table):
            if file.name.kind == "journal":
                tables, damaged = read_journal(file.path)
                assert damaged == 0
            else:
                tables = [segments.read_columns(file.path)]
            for found in tables:
                columns = [column.to_pylist() for column in found.columns]
                for step, _, *values in zip(*columns, strict=True):
                    logged = zip(found.column_names[2:], values, strict=True)
                    record = {name: value for name, value in logged if value is not None}
                    rows.append((file.name.attempt, file.name.rank, step, record))
        return rows

    return read
