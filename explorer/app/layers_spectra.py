"""Singular values of a weight matrix: how many directions it uses, and how that changed since the first snapshot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import streamlit as st

from explorer.analysis.spectra import MIN_TAIL, Spectrum, Tail, spectrum, weight_tail
from explorer.app import linked, shell
from explorer.app.curve_card import Card, curve_card
from explorer.app.layers_image import code_lines
from explorer.app.metrics_tables import Curve
from explorer.app.names import plain
from explorer.app.run_text import value_text
from explorer.app.snapshot_choices import pick_tensor, too_large
from explorer.app.snapshot_values import derived, identity, open_cached, read_value, usable

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

ALL: Final = "every"  # key of the address: all snapshots are worked out
MAX_SNAPSHOTS: Final = 24
MAX_SIDE: Final = 4_096
"""Of the smaller side of a matrix: its spectrum takes about 10 s there."""
_MEASURES: Final = {
    "spectral norm": "Largest singular value",
    "stable rank": "Squared Frobenius norm over the squared largest singular value",
    "effective rank": "Exponential of the entropy of the singular values, as shares of their sum",
    "participation ratio": "Squared sum of the eigenvalues (squared singular values) over the sum of their squares",
    "alpha": "Exponent of the power law that the largest eigenvalues follow, with its standard error. Tells little "
    "below 30 of them; its change from the first snapshot tells more than its size",
    "tail": "How many eigenvalues alpha rests on",
}


class Measured(NamedTuple):
    """What is worked out of one weight matrix."""

    spectrum: Spectrum
    tail: Tail


def spectra(info: RunInfo) -> None:
    """Draw the spectrum of a tensor at a snapshot, against the first one, and its ranks over snapshots."""
    picked = pick_tensor(info, weights_only=True)
    if picked is None:
        return
    step, name, entry = picked
    with shell.guard(f"The spectrum of {name}"):
        rows, columns = entry.shape[0], math.prod(entry.shape[1:])
        if too_large(entry):
            return
        if not rows or not columns:
            st.info("This tensor has no elements, and so no spectrum.", icon=":material/data_object:")
            return
        if min(rows, columns) > MAX_SIDE:
            st.info(
                f"The smaller side of this matrix is {min(rows, columns):,}; spectra are made up to {MAX_SIDE:,}.",
                icon=":material/hourglass_empty:",
            )
            return
        having = [one.step for one in usable(info) if name in open_cached(info, one.step).entries]
        every = linked.toggle(
            "All snapshots",
            ALL,
            help=f"Work out up to {MAX_SNAPSHOTS} snapshots at even distances, and draw them over steps",
        )
        steps = chosen_steps(having, step, every)
        found = _work_out(info, steps, name)
        if not any(found):
            st.info("The values are complex or not all finite: there is no spectrum.", icon=":material/data_object:")
            return
        _draw(info, step, name, {at: one for at, one in zip(steps, found, strict=True) if one is not None})


def chosen_steps(having: Sequence[int], step: int, every: bool) -> list[int]:
    """Return the steps whose spectra are worked out: the first and the chosen one, or up to 25 at even distances.

    >>> chosen_steps([0, 10, 20], 20, False), chosen_steps([0, 10, 20], 20, True)
    ([0, 20], [0, 10, 20])
    """
    gap = 1
    while len(having) > gap * MAX_SNAPSHOTS:  # doubled, so that a new snapshot leaves the chosen ones as they are
        gap *= 2
    return sorted({having[0], step, *(having[::gap] if every else ())})


def _work_out(info: RunInfo, steps: Sequence[int], name: str) -> list[Measured | None]:
    bar, found = st.empty(), []
    for place, step in enumerate(steps):
        key = ("spectrum", identity(info, step), name)

        def make(step: int = step, done: float = place / len(steps)) -> Measured | None:
            bar.progress(done, f"Singular values, step {step:,}")
            return _measure(info, step, name)

        found.append(derived(key, make))
    bar.empty()
    return found


def _measure(info: RunInfo, step: int, name: str) -> Measured | None:
    values = read_value(info, step, name)
    if np.iscomplexobj(values) or not np.isfinite(values).all():
        return None
    return Measured(spectrum(values), weight_tail(values))


def _draw(info: RunInfo, step: int, name: str, found: dict[int, Measured]) -> None:
    first = min(found)
    shown = [first, step] if step != first and step in found else [first]
    curves, places = [], {}
    for place, at in enumerate(shown):
        values = found[at].spectrum.singular_values
        # Without the steps, which would draw a new chart of every snapshot.
        label = "first snapshot" if place == 0 and len(shown) > 1 else "this snapshot"
        places[label] = 7 if place == 0 and len(shown) > 1 else 0
        curves.append(Curve(label, np.arange(1, len(values) + 1), np.asarray(values, dtype=np.float64)))
    left, right = st.columns([3, 2])
    with left:
        of = " and ".join(f"step {at:,}" for at in shown)
        card = Card(
            title=f"Singular values of {plain(name, 80)}", when=of, key=f"layers_spectrum_{info.run_id}_{len(shown)}",
            log_y=True, x_title="number, largest first", height=300, code=_code(info, step, name),
            of=plain(info.name or info.run_id, 80),
            help="Of the matrix with one row per output; of a convolution, each output's filters are one row.",
        )  # fmt: skip
        curve_card(curves, places, card)
    with right:
        _table([(at, found[at]) for at in shown])
    if len(found) > 2:
        _over_steps(info, name, found)


def measures(one: Measured) -> dict[str, float]:
    """Return the numbers that sum a spectrum up, by what they are called."""
    return {
        "spectral norm": float(one.spectrum.singular_values[0]),
        "stable rank": one.spectrum.stable_rank,
        "effective rank": one.spectrum.effective_rank,
        "participation ratio": one.spectrum.participation_ratio,
        "alpha": one.tail.alpha,
        "tail": float(one.tail.num_tail),
    }


def _table(shown: Sequence[tuple[int, Measured]]) -> None:
    import pandas as pd

    frame = pd.DataFrame({"measure": list(_MEASURES)})
    config: dict[str, Any] = {"change": st.column_config.Column(alignment="right")}
    for place, (at, one) in enumerate(shown):
        told = measures(one)
        # The step is a label: a column of another name would draw another table of every snapshot.
        column = "first" if place == 0 and len(shown) > 1 else "this"
        config[column] = st.column_config.Column(f"step {at:,}", alignment="right")
        frame[column] = [_told(key, told[key], one) for key in _MEASURES]
    if len(shown) > 1:
        before, after = (measures(one) for _, one in shown)
        frame["change"] = [_change(before[key], after[key]) for key in _MEASURES]
    st.dataframe(frame, hide_index=True, column_config=config, alt="What sums the spectrum up")
    few = [at for at, one in shown if one.tail.num_tail < MIN_TAIL]
    notes = [f"{key}: {about}." for key, about in _MEASURES.items()]
    if few:
        notes.insert(0, f"**Alpha rests on fewer than {MIN_TAIL} eigenvalues here: do not read much into it.**")
    st.caption("  \n".join(notes))


def _change(before: float, after: float) -> str:
    return value_text(after - before, digits=3, sign=True) if np.isfinite(after - before) else "–"


def _told(key: str, value: float, one: Measured) -> str:
    if math.isnan(value):
        return "–"
    if key == "alpha":
        return f"{value:.3g} ± {one.tail.sigma:.2g}"
    return value_text(value, digits=4)


def _over_steps(info: RunInfo, name: str, found: dict[int, Measured]) -> None:
    steps = np.array(sorted(found), dtype=np.int64)
    told = [measures(found[int(step)]) for step in steps]
    with st.grid(2, gap="small"):
        for key, about in list(_MEASURES.items())[:-1]:
            values = np.array([one[key] for one in told], dtype=np.float64)
            if not np.isfinite(values).any():
                continue
            card = Card(
                title=f"{key.capitalize()} over snapshots",
                key=f"layers_rank_{info.run_id}_{key}",
                height=180,
                help=about,
                of=plain(info.name or info.run_id, 80),
                code=_code_over_steps(info, name),
            )
            label = plain(name, 60)
            curve_card([Curve(label, steps, values)], {label: 0}, card)


def _code(info: RunInfo, step: int, name: str) -> str:
    lines = code_lines(str(info.path), step, name)
    return f"{lines}\n\nimport numpy as np\nprint(np.linalg.svd(weights.reshape(len(weights), -1), compute_uv=False))"


def _code_over_steps(info: RunInfo, name: str) -> str:
    return "\n".join(
        [
            "from explorer import open_run",
            "from explorer.analysis.spectra import spectrum, weight_tail",
            "",
            f"run = open_run({str(info.path)!r})",
            f"weights = {{one.step: run.snapshot(one.step).read({name!r}) for one in run.snapshots}}",
            "for step, values in weights.items():",
            "    found, tail = spectrum(values), weight_tail(values)",
            "    print(step, found.singular_values[0], found.stable_rank, found.effective_rank, tail.alpha)",
        ]
    )
