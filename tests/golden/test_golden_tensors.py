"""Statistics, histograms and snapshots as format 1 stored them open for ever, with every bit as it was.

`format-1-tensors/golden` holds rows of two attempts, a snapshot that refers to one that was dropped, one that is only a
reference, and a record of the model. `truth.json` lists it all, floats as their bits. Neither is ever changed.
"""

import json
import struct
from pathlib import Path

import pytest

from explorer import open_run
from explorer.reading.snapshots import list_snapshots, open_snapshot
from explorer.storage import layout
from explorer.storage.tensor_files import open_tensor_segment
from explorer.storage.tensor_rows import COLUMNS
from explorer.storage.verify import verify_run

HERE = Path(__file__).parent / "format-1-tensors"
RUN = HERE / "golden"


@pytest.fixture(scope="module")
def truth():
    return json.loads((HERE / "truth.json").read_text(encoding="utf-8"))


def as_bits(value):
    return struct.pack(">d", value).hex() if isinstance(value, float) else value


def test_every_row_of_every_segment_has_every_bit(truth):
    found = []
    for file in layout.list_segments(RUN, layout.TENSORS):
        with open_tensor_segment(file.path) as segment:
            table = segment.read(COLUMNS)
        wall_us = table.column("wall_time").cast("int64").to_pylist()
        for row, wall_time in zip(table.drop(["wall_time"]).to_pylist(), wall_us, strict=True):
            values = {name: as_bits(value) for name, value in row.items()}
            found.append({"attempt": file.name.attempt, **values, "wall_time": wall_time})

    def key(row):
        return (row["attempt"], row["kind"], row["name"], row["step"])

    assert sorted(found, key=key) == sorted(truth["tensors"], key=key)


def test_every_snapshot_has_every_byte(truth):
    assert [(info.step, info.has_reference, info.problem) for info in list_snapshots(RUN)] == [
        (10, False, None),
        (20, True, None),
    ]
    snapshot = open_snapshot(RUN, 10)
    found = {
        name: {
            "role": entry.role, "dtype": entry.dtype, "shape": list(entry.shape),
            "bytes": snapshot.read_bytes(name).tobytes().hex(),
        }
        for name, entry in snapshot.entries.items()
    }  # fmt: skip
    assert found == truth["snapshots"]["10"]
    assert snapshot.entries["fc.weight"].stored_step == 0


def test_the_newest_attempt_counts_where_two_have_a_step(truth):
    newest = [row for row in truth["tensors"] if row["name"] == "fc.weight" and row["kind"] == "param"]
    h = open_run(RUN).histogram("fc.weight")
    assert h.step.tolist() == [0, 10, 20]
    assert as_bits(float(h.mean[-1])) == next(row["mean"] for row in newest if row["attempt"] == 2)


def test_the_record_of_the_model_reads_as_it_was_written():
    model = open_run(RUN).model
    assert [tensor.kinds for tensor in model.tensors] == [("param", "grad")]
    assert model.skipped == (("emb", "grad", "is sparse"),)
    assert model.modes["train"]["fc"] == (3, 0)


def test_nothing_in_it_is_damaged():
    assert verify_run(RUN) == []
