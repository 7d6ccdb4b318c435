"""Drift of every tensor of a model over its steps, and the heat map of one, beside SciPy called in a loop.

`python -m benchmarks.drift_cost NUM_TENSORS NUM_NAIVE FOLDER` is one trial: it prints one line of JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import ndtr
from scipy.stats import ks_2samp, wasserstein_distance

from benchmarks.report import SCIPY, Row, Target
from benchmarks.trials import Place, call, interleave
from explorer.analysis.densities import heat, shares_below
from explorer.analysis.drift import MEASURES, drift_matrix, drift_over_steps
from explorer.analysis.drift_growth import GrowingDrift, grow
from explorer.analysis.drift_history import GrowingAlarm
from explorer.analysis.quantiles import bin_bounds, histogram_quantiles
from explorer.reading.tensors import TensorStore
from explorer.storage.bins import Histograms, bin_edges
from explorer.storage.disk import Disk
from explorer.storage.tensors import TensorRow, TensorSegments

NUM_STEPS, NUM_DISTINCT, NUM_VALUES, M = 1_000, 30, 200_000, 3
NUM_ADDED = 10
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TITLES = {"wasserstein": "Wasserstein", "ks": "Kolmogorov-Smirnov", "js_distance": "Jensen-Shannon", "psi": "PSI"}
NOTE = (
    "{tensors} tensors x {steps:,} steps, {bins:.0f} occupied bins a row ({distinct} distinct tensors in turn: normal, "
    "heavy-tailed, half zeros, each growing), chance levels included; one thread. SciPy: a loop over {naive} rows of "
    "one tensor, on the middles of the bins and their counts (KS: on the values repeated), times {factor:,.0f}."
)
NOTE_VIEW = (
    "what the page Drift needs before it draws: the histograms of all {tensors} tensors from the files of a run (page "
    "cache warm), their Wasserstein distance to the first row, and what is unusual in that to the previous one; then "
    "the two distances again when {added} steps were added."
)
NOTE_ONE = "one tensor of them, {steps:,} steps; reference: numpy.interp, or numpy.quantile on its values, row by row."


def measure(place: Place) -> list[Row]:
    """Rows of the table."""
    num_tensors, num_naive = 150, 10 if place.quick else 100
    command = [str(num_tensors), str(num_naive), str(place.scratch() / "run")]
    repeats = 2 if place.quick else 7
    found = interleave(
        ["ours"], repeats, lambda _: call(place, place.python(None), "drift_cost", *command, cwd=place.work)
    ).get("ours", [])
    if not found:
        return []
    note = NOTE.format(
        tensors=num_tensors,
        steps=NUM_STEPS,
        bins=found[0]["bins"],
        distinct=NUM_DISTINCT,
        naive=num_naive,
        factor=num_tensors * NUM_STEPS / num_naive,
    )
    rows = []
    for measure_name, title in TITLES.items():
        for reference in ("first", "previous", "another run"):
            scipy = {SCIPY: [one[f"naive {measure_name}"] for one in found]} if reference == "first" else {}
            ours = [one[f"{measure_name} {reference}"] for one in found]
            what = (
                f"{title} distance to the {reference} row" if reference != "another run" else f"{title} to {reference}"
            )
            rows.append(Row(f"{what}, CPU s", ours, scipy, [Target(1.0)], note))
    view_note = NOTE_VIEW.format(tensors=num_tensors, added=NUM_ADDED)
    rows.append(Row("first view of drift, CPU s", [one["view"] for one in found], {}, [Target(2.0)], view_note))
    rows.append(Row("drift of added steps, CPU s", [one["added"] for one in found], {}, [Target(0.2)], view_note))
    one_note = NOTE_ONE.format(steps=NUM_STEPS)
    for name, what, limit in (
        ("heat", "heat map of 500 bins, CPU ms", 10.0),
        ("quantiles", "7 quantiles, CPU ms", 10.0),
    ):
        others = {SCIPY: [one[f"naive {name}"] * 1e3 for one in found]}
        rows.append(Row(what, [one[name] * 1e3 for one in found], others, [Target(limit)], one_note))
    return rows


def trial(num_tensors: int, num_naive: int, folder: Path) -> dict[str, Any]:
    """CPU seconds of each task, and what a naive loop would take."""
    rng = np.random.default_rng(0)
    distinct = [_tensor(rng, kind) for kind in np.resize(["normal", "heavy", "zeros"], NUM_DISTINCT)]
    other = [_tensor(rng, kind) for kind in np.resize(["normal", "heavy", "zeros"], NUM_DISTINCT)]
    tensors = {f"layers.{i}.weight": distinct[i % NUM_DISTINCT] for i in range(num_tensors)}
    another = {f"layers.{i}.weight": other[i % NUM_DISTINCT] for i in range(num_tensors)}
    found: dict[str, Any] = {"bins": float(np.mean([np.diff(h.offsets).mean() for h in distinct]))}
    for measure_name in MEASURES:
        for reference in ("first", "previous", "another run"):
            against = another if reference == "another run" else reference
            found[f"{measure_name} {reference}"] = _cpu_s(lambda m=measure_name, r=against: drift_matrix(tensors, r, m))
    found |= _view(tensors, folder)
    h = distinct[0]
    for measure_name in MEASURES:
        loop_s = _cpu_s(lambda m=measure_name: [_naive(m, h, i) for i in range(1, num_naive + 1)])
        found[f"naive {measure_name}"] = loop_s / num_naive * NUM_STEPS * num_tensors
        ours = drift_over_steps(h.row(-1), h.row(0), measure_name).values[0]
        theirs = _naive(measure_name, h, NUM_STEPS - 1)
        if abs(ours / theirs - 1) > 0.1:
            raise ValueError(f"{measure_name}: ours is {ours}, SciPy's {theirs}")
    heat(h, 500)
    found["heat"] = min(_cpu_s(lambda: heat(h, 500)) for _ in range(5))
    found["naive heat"] = _cpu_s(lambda: _naive_heat(h))
    found["quantiles"] = min(_cpu_s(lambda: histogram_quantiles(h, QUANTILES)) for _ in range(5))
    found["naive quantiles"] = _cpu_s(lambda: [np.quantile(_values(h, i), QUANTILES) for i in range(num_naive)])
    found["naive quantiles"] *= NUM_STEPS / num_naive
    return found


def _view(tensors: dict[str, Histograms], folder: Path) -> dict[str, float]:
    """CPU seconds of the first view of a run, and of its drift when steps were added."""
    run_dir = folder / "run"
    _record(tensors, run_dir)
    early = {name: h.take(range(NUM_STEPS - NUM_ADDED)) for name, h in tensors.items()}
    distances, alarm = (GrowingDrift("wasserstein"), GrowingDrift("wasserstein", levels=False)), GrowingAlarm()

    def compare(rows: dict[str, Histograms]) -> object:
        far, moved = grow(list(zip(distances, ("first", "previous"), strict=True)), rows)
        return far, alarm.alarm(moved.values)

    compare(early)
    added_s = _cpu_s(lambda: compare(tensors))
    distances, alarm = (GrowingDrift("wasserstein"), GrowingDrift("wasserstein", levels=False)), GrowingAlarm()
    view_s = _cpu_s(lambda: compare(TensorStore().histograms_of_kind(run_dir, "param")))
    shutil.rmtree(folder)
    return {"view": view_s, "added": added_s}


def _record(tensors: dict[str, Histograms], run_dir: Path) -> None:
    (run_dir / "tensors").mkdir(parents=True)
    segments = TensorSegments(run_dir, 1, 0, Disk())
    for step in range(NUM_STEPS):
        segments.add([_row(name, h, step) for name, h in tensors.items()])
        if step % 27 == 0:  # before what waits becomes too much
            segments.flush()
    segments.flush()


def _row(name: str, h: Histograms, i: int) -> TensorRow:
    entries = slice(h.offsets[i], h.offsets[i + 1])
    mean, std, least, most = (float(part[i]) for part in (h.mean, h.std, h.min, h.max))
    return TensorRow(
        step=i, wall_time=i, name=name, kind="param", n=int(h.n[i]), zeros=0, nans=0, infs=0, underflow=0, mean=mean,
        std=std, min=least, max=most, norm=0.0, m=M, bins=h.bins[entries], counts=h.counts[entries],
    )  # fmt: skip


def _cpu_s(task: Callable[[], object]) -> float:
    began_s = time.process_time()
    task()
    return time.process_time() - began_s


def _tensor(rng: np.random.Generator, kind: str) -> Histograms:
    """Rows as a training makes them: a distribution that grows and shifts over the steps, drawn anew at each."""
    edges = bin_edges(M)
    near = edges[(127 - 24) << M : (127 + 4) << M]  # 2^-24 to 8
    ends = np.concatenate([-near[::-1], near])
    numbers = np.arange(len(near)) + ((127 - 24) << M)
    bins = np.concatenate([-numbers[-2::-1], [0], numbers[:-1]]).astype(np.int16)
    size = np.linspace(0.03, 0.05, NUM_STEPS)[:, None] * (3 if kind == "heavy" else 1)
    below = ndtr((ends - np.linspace(0, 0.01, NUM_STEPS)[:, None]) / size)
    if kind == "heavy":
        below = (below + ndtr(ends / (size / 10))) / 2
    expected = np.diff(below, axis=1) * NUM_VALUES
    if kind == "zeros":
        expected[:, len(near) - 1] += NUM_VALUES
    counts = rng.poisson(expected)
    row, column = counts.nonzero()
    offsets = np.searchsorted(row, np.arange(NUM_STEPS + 1))
    bins, counts = bins[column], counts[row, column]
    low, high = bin_bounds(bins, M)
    middle = (low + high) / 2
    num = np.add.reduceat(counts, offsets[:-1])
    mean = np.add.reduceat(counts * middle, offsets[:-1]) / num
    variance = np.add.reduceat(counts * (middle - np.repeat(mean, np.diff(offsets))) ** 2, offsets[:-1]) / num
    none = np.zeros(NUM_STEPS, np.int64)
    return Histograms(
        step=np.arange(NUM_STEPS),
        m=np.full(NUM_STEPS, M),
        offsets=offsets,
        bins=bins,
        counts=counts.astype(np.int32),  # as those that TensorStore hands out are
        zeros=none,
        nans=none,
        infs=none,
        n=num,
        mean=mean,
        std=np.sqrt(variance),
        min=low[offsets[:-1]],
        max=high[offsets[1:] - 1],
    )


def _middles(h: Histograms, i: int) -> tuple[Any, Any]:
    entries = slice(h.offsets[i], h.offsets[i + 1])
    low, high = bin_bounds(h.bins[entries], M)
    return (low + high) / 2, h.counts[entries]


def _values(h: Histograms, i: int) -> Any:
    return np.repeat(*_middles(h, i))


def _naive(measure_name: str, h: Histograms, i: int) -> float:
    """One distance of row i from row 0 as one writes it with SciPy."""
    if measure_name == "wasserstein":
        (x, counts), (y, other_counts) = _middles(h, i), _middles(h, 0)
        return float(wasserstein_distance(x, y, counts, other_counts) / h.std[0])
    values, reference = _values(h, i), _values(h, 0)
    if measure_name == "ks":
        return float(ks_2samp(values, reference, method="asymp").statistic)
    pool, num = (np.concatenate([values, reference]), 20) if measure_name == "js_distance" else (reference, 10)
    cuts = np.quantile(pool, np.arange(1, num) / num)
    p, q = (np.bincount(np.searchsorted(cuts, one), minlength=num) / len(one) for one in (values, reference))
    if measure_name == "js_distance":
        return float(jensenshannon(p, q, base=2))
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return float(((p - q) * np.log(p / q)).sum())


def _naive_heat(h: Histograms) -> list[Any]:
    edges = np.linspace(h.min.min(), h.max.max(), 501)
    shares = []
    for i in range(len(h)):
        entries = slice(h.offsets[i], h.offsets[i + 1])
        low, high = bin_bounds(h.bins[entries], M)
        total = np.cumsum(h.counts[entries]) / h.counts[entries].sum()
        ends, below = np.stack([low, high], 1).ravel(), np.stack([np.append(0, total[:-1]), total], 1).ravel()
        shares.append(np.diff(np.interp(edges, ends, below)))
    if abs(np.array(shares).T - np.diff(shares_below(h, edges), axis=0)).max() > 1e-3:
        raise ValueError("the heat map is not what numpy.interp gives row by row")
    return shares


if __name__ == "__main__":
    print(json.dumps(trial(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
