"""Tables in the form in which charts take them."""

from __future__ import annotations

import pyarrow as pa


def stream(table: pa.Table) -> bytes:
    """A table as an Arrow IPC stream, for the `datasets` of a specification."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data
