"""What `log()` of ten floats costs: flat out and paced, in the caller and in all, and what a value takes on disk."""

from __future__ import annotations

from statistics import median

from benchmarks.loggers import PEERS
from benchmarks.report import COLUMN, CSV, FLOOR, TENSORBOARD, TRACKIO, Row, Target, Values
from benchmarks.trials import NOT_INSTALLED, Place, Results, interleave, run

# Steps of ten metrics: (quick, full). The slow ones get fewer; their cost a value does not depend on it.
NUM_STEPS = {
    "floor": (50_000, 200_000),
    "explorer": (50_000, 200_000),
    "tensorboard": (1_000, 5_000),
    "trackio": (3_000, 20_000),
    "csvlogger": (5_000, 50_000),
}
NOTE_FLAT = (
    "flat out: 10 metrics a step, {steps:,} steps ({tensorboard:,} TensorBoard, {trackio:,} Trackio, {csvlogger:,} "
    "CSVLogger); the loop itself is in the caller's CPU. Floor: a list of (step, time, dict), one Parquet file (zstd "
    "1, byte-stream split) at its end. All CPU: process and children, from the open run to closed and fsynced."
)
NOTE_PACED = (
    "one call every 5 ms, the values made just before it; an empty call costs {empty_p50:.1f} us (p50) and "
    "{empty_p99:.1f} us (p99) here. Wall time of the call. Floor: a bare list append, which a kill loses. The "
    "least that survives one, a struct.pack_into a file mapping with no look at names and types: {mapped_p50:.1f} and "
    "{mapped_p99:.1f} us; ours is {ratio_p50:.1f}x and {ratio_p99:.1f}x that, so most of it is what cold caches cost."
)
NOTE_PACED_CPU = (
    "the same calls by the thread's CPU clock, which costs more to read: {empty_p50:.1f} us for an empty call."
)


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    return flat_out(place) + paced(place)


def flat_out(place: Place) -> list[Row]:
    """Caller's CPU, all CPU and bytes, a value."""
    steps = {name: sizes[0 if place.quick else 1] for name, sizes in NUM_STEPS.items()}
    found = interleave(
        list(steps), 3 if place.quick else 7, lambda name: run(place, name, "flat_out", num_steps=steps[name])
    )
    note = NOTE_FLAT.format(steps=steps["explorer"], **{name: steps[name] for name in PEERS})
    return [
        _row(
            "`log()` flat out, caller's CPU, us a value",
            found,
            "caller_us",
            [Target(0.1), Target(100, TENSORBOARD, True), Target(20, TRACKIO, True), Target(10, CSV, True)],
            note,
        ),
        _row(
            "all CPU until durable, us a value", found, "total_us", [Target(0.45), Target(70, TENSORBOARD, True)], note
        ),
        _row("finished run, bytes a value", found, "bytes", [Target(3.5)], note),
    ]


def paced(place: Place) -> list[Row]:
    """Quantiles of one call of ten values."""
    names = ["nothing", "floor", "mapped", "explorer", *PEERS]
    settings = {"num_calls": 400 if place.quick else 1_500, "every_s": 0.005}
    found = interleave(names, 2 if place.quick else 5, lambda name: run(place, name, "paced", **settings))
    rows = []
    for clock, template in (("wall", NOTE_PACED), ("cpu", NOTE_PACED_CPU)):
        facts = {f"empty_p{q}": min(one[f"{clock}_p{q}_us"] for one in found["nothing"]) for q in (50, 99)}
        for q in (50, 99):
            ours, mapped = ([one[f"{clock}_p{q}_us"] for one in found[name]] for name in ("explorer", "mapped"))
            facts[f"mapped_p{q}"] = median(mapped)
            facts[f"ratio_p{q}"] = median(one / other for one, other in zip(ours, mapped, strict=True))
        for quantile, limit in ((50, 2.0), (99, 3.0)):
            targets = [Target(limit, FLOOR)] if clock == "wall" else []
            what = f"a call every 5 ms, p{quantile}, us of {'wall time' if clock == 'wall' else 'CPU'}"
            rows.append(_row(what, found, f"{clock}_p{quantile}_us", targets, template.format(**facts)))
    return rows


def _row(what: str, found: Results, key: str, targets: list[Target], note: str = "") -> Row:
    """One figure of each logger."""
    others: dict[str, Values] = {
        column: [one[key] for one in found[name]] if name in found else NOT_INSTALLED for name, column in COLUMN.items()
    }
    return Row(what, [one[key] for one in found.get("explorer", [])], others, targets, note)
