"""What importing and opening a run cost, beyond the torch that the training has imported already."""

from __future__ import annotations

from benchmarks.loggers import PEERS
from benchmarks.report import COLUMN, Row, Target, Values
from benchmarks.trials import NOT_INSTALLED, Place, interleave, run

NOTE = (
    "a fresh process each time, torch imported before (Trackio needs none). Explorer's thread finds out about the "
    "environment after that: {settled:.2f} s CPU in all until 1.5 s later. pandas imported by it: {pandas}."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    found = interleave(
        ["explorer", *PEERS],
        2 if place.quick else 7,
        lambda name: run(place, name, "start", torch_first=name != "trackio"),
    )
    ours = found.get("explorer", [])
    others: dict[str, Values] = {
        COLUMN[name]: [one["start_s"] for one in found[name]] if name in found else NOT_INSTALLED for name in PEERS
    }
    settled = min((one["settled_s"] for one in ours), default=0.0)
    note = NOTE.format(settled=settled, pandas="yes" if any(one["pandas"] for one in ours) else "no")
    return [Row("import and open, CPU s beyond torch", [one["start_s"] for one in ours], others, [Target(0.1)], note)]
