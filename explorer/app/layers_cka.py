"""Which layers represent a batch alike: debiased CKA between layers, steps and runs, on a recorded probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.analysis.cka import MIN_EXAMPLES, cka
from explorer.app import linked, links, shell
from explorer.app.layers_flow import pick_step
from explorer.app.names import esc, plain
from explorer.app.picture_card import PictureCard, grid_csv, name_ticks, picture_card
from explorer.app.snapshot_values import derived
from explorer.charts.pictures import Cells, PictureLook
from explorer.reading.probes import Probe, ProbeInfo, list_probes, read_probe

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

Floats = npt.NDArray[np.float64]

BETWEEN: Final = "between"  # keys of the address
MODULE: Final = "module"
_BETWEEN: Final = {"layers": "Layers of a step", "steps": "Steps of a layer", "runs": "Two runs"}
MAX_LAYERS: Final = 48
MAX_STEPS: Final = 40
_SIDE_PX: Final = 560
_NAMES_PX: Final = 90
_SHORT: Final = 6  # characters that fit under a column
_NO_PROBES: Final = (
    "No probe of this run is recorded. Call `rec.probe(model, batch)` now and then in the training loop, with the same "
    "batch each time (about 100 examples): one forward pass in evaluation mode, nothing else changes."
)
_ABOUT: Final = (
    "Centred kernel alignment, linear and debiased: 1 where two representations of the batch are equal up to rotation "
    "and scale, about 0 where they have nothing in common. It is no measure of equal function, and a few extreme "
    "examples can move it."
)


class Side(NamedTuple):
    """Representations that one axis of the picture stands for: what each is called, and its activations `[b, p]`."""

    title: str
    names: Sequence[str]
    values: Sequence[npt.NDArray[np.floating]]


def similarity(run_id: str, infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    """Draw the comparison that the user asks for; `run_id` is one of `infos`, the others are those to compare with."""
    info = next(one for one in infos if one.run_id == run_id)
    found = _usable(info)
    if not found:
        st.info(_NO_PROBES, title="No probes", icon=":material/labs:")
        return
    between = linked.segments("CKA between", BETWEEN, list(_BETWEEN), "layers", format_func=_BETWEEN.__getitem__)
    with shell.guard("The comparison of representations"):
        if between == "layers":
            step = pick_step("Probe at step", links.STEP, [one.step for one in found])
            probe = _read(info, found, step)
            side = layers_side(probe, "layer")
            key = (info.run_id, _identity(found, step))
            _draw(side, side, f"CKA between layers, step {step:,}", ("layers", key), info, _notes(probe))
        elif between == "steps":
            _steps(info, found)
        else:
            _runs(info, found, infos, labels)


def _usable(info: RunInfo, *, tell: bool = True) -> list[ProbeInfo]:
    """The probes of a run that can be read; the page says which others there are."""
    found = list_probes(info.path)
    bad = [f"- {esc(one.problem, 300)}" for one in found if one.problem is not None]
    if bad and tell:
        st.warning("\n".join(bad[:5]), title="Some probes are not shown", icon=":material/broken_image:")
    return [one for one in found if one.problem is None]


def layers_side(probe: Probe, title: str) -> Side:
    """Return the layers of a probe, evenly chosen where they are more than fit."""
    names = list(probe.layers)
    if len(names) > MAX_LAYERS:
        names = [names[place] for place in np.unique(np.linspace(0, len(names) - 1, MAX_LAYERS).astype(int))]
    return Side(title, names, [probe.layers[name] for name in names])


def _steps(info: RunInfo, found: Sequence[ProbeInfo]) -> None:
    last = found[-1]
    same = [one for one in found if one.sha256 == last.sha256]
    if len(same) < 2:
        st.info(
            "Only one step has this probe. Steps are compared when `rec.probe` was called with the same batch twice."
        )
        return
    probe = _read(info, found, last.step)
    names = list(probe.layers)
    name = linked.select("Layer", MODULE, names, names[-1], format_func=lambda one: plain(one, 120))
    chosen = [same[place] for place in np.unique(np.linspace(0, len(same) - 1, MAX_STEPS).astype(int))]
    probes = [(one.step, _read(info, found, one.step)) for one in chosen]
    having = [(step, one) for step, one in probes if name in one.layers]
    side = Side("step", [f"{step:,}" for step, _ in having], [one.layers[name] for _, one in having])
    key = (info.run_id, name, tuple(_identity(found, step) for step, _ in having))
    notes = _notes(probe) + (
        [f"{len(having):,} of {len(same):,} steps, evenly chosen"] if len(having) < len(same) else []
    )
    left_out = len(found) - len(same)
    notes += [f"{left_out:,} probes of another batch left out"] if left_out else []
    _draw(side, side, f"CKA between steps: {plain(name, 80)}", ("steps", key), info, notes)


def _runs(info: RunInfo, found: Sequence[ProbeInfo], infos: Sequence[RunInfo], labels: Mapping[str, str]) -> None:
    others = {one.run_id: one for one in infos if one.run_id != info.run_id and _usable(one, tell=False)}
    if not others:
        st.info("No other selected run has recorded a probe. Select another one in the sidebar.")
        return
    ids = list(others)
    left, middle, right = st.columns([2, 3, 3])
    with left:
        chosen = linked.select("With run", links.OTHER_RUN, ids, ids[0], format_func=lambda one: labels[one])
    theirs = _usable(others[chosen])
    with middle:
        step = pick_step(f"Step of {esc(labels[info.run_id], 40)}", links.STEP, [one.step for one in found])
    with right:
        other_step = pick_step(f"Step of {esc(labels[chosen], 40)}", links.THEN, [one.step for one in theirs])
    mine, their = _read(info, found, step), _read(others[chosen], theirs, other_step)
    if mine.sha256 != their.sha256:
        st.warning(
            "The two probes were made with different batches, so their activations cannot be compared. Pass the same "
            "examples to `rec.probe` in every run.",
            title="Not the same probe",
            icon=":material/link_off:",
        )
        return
    # Without the steps, which would draw a new chart of every step.
    one, other = layers_side(mine, f"layer of {labels[info.run_id]}"), layers_side(their, f"layer of {labels[chosen]}")
    key = (info.run_id, chosen, _identity(found, step), _identity(theirs, other_step))
    steps = f"step {step:,}" if step == other_step else f"steps {step:,} and {other_step:,}"
    _draw(one, other, f"CKA between the layers of two runs, {steps}", ("runs", key), info, _notes(mine))


def _read(info: RunInfo, found: Sequence[ProbeInfo], step: int) -> Probe:
    key = ("probe", str(info.path), _identity(found, step))
    return derived(key, lambda: read_probe(info.path, step), lambda probe: sum(v.nbytes for v in probe.layers.values()))


def _identity(found: Sequence[ProbeInfo], step: int) -> tuple[object, ...]:
    one = next(one for one in found if one.step == step)
    return (one.step, one.attempt, one.rank, one.sha256, one.identity)


def _notes(probe: Probe) -> list[str]:
    return [f"{probe.num_examples:,} examples", f"probe {probe.sha256[:8]}"]


def _draw(rows: Side, columns: Side, title: str, key: tuple[object, ...], info: RunInfo, notes: Sequence[str]) -> None:
    if rows.values and rows.values[0].shape[0] < MIN_EXAMPLES:
        st.info(f"Debiased CKA needs at least {MIN_EXAMPLES} examples; this probe has fewer.", icon=":material/labs:")
        return
    values = derived(("cka", *key), lambda: cka([(rows.values, columns.values)]))
    px = min(max(_SIDE_PX / max(values.shape), 12.0), 44.0)
    height = max(round(values.shape[0] * px), 90)
    low = lowest_colour(values)
    look = PictureLook(
        tips=(rows.title, columns.title, "CKA"), height=height, x_title=columns.title, y_title=rows.title, legend="CKA",
        y_extent=_NAMES_PX, slant=max(map(len, columns.names)) > _SHORT,
    )  # fmt: skip
    bad = int((~np.isfinite(values)).sum())
    parts = [f"{values.shape[0]:,} × {values.shape[1]:,}", *notes, f"colours from {low:.1f} to 1"]
    parts += [f"{bad:,} undefined in pink: a layer whose outputs are all equal, or not finite"] if bad else []
    card = PictureCard(
        title=title,
        key=f"layers_cka_{info.run_id}_{key[0]}",
        caption=" · ".join(parts),
        look=look,
        of=plain(info.name or info.run_id, 80),
        width=max(round(values.shape[1] * px), 240) + _NAMES_PX + 60,
        help=_ABOUT,
        make_csv=lambda: grid_csv(rows.names, columns.names, values, "CKA"),
        code=_code(info),
    )
    picture_card(
        values,
        (low, 1.0),
        _cells(rows, columns, values),
        name_ticks(columns.names, round(values.shape[1] * px)),
        name_ticks(rows.names, height),
        card,
    )


def lowest_colour(values: Floats) -> float:
    """Return the value that has the first colour: the smallest one rounded down to a tenth, from 0 to 0.9.

    >>> lowest_colour(np.array([0.74, 1.0])), lowest_colour(np.array([-0.1])), lowest_colour(np.array([np.nan]))
    (0.7, 0.0, 0.0)
    """
    finite = values[np.isfinite(values)]
    return float(np.clip(np.floor(finite.min() * 10) / 10, 0.0, 0.9)) if finite.size else 0.0


def _cells(rows: Side, columns: Side, values: Floats) -> Cells:
    y, x = (side.ravel().astype(np.float64) for side in np.mgrid[0 : values.shape[0], 0 : values.shape[1]])
    texts = [
        [plain(name, 60) for name in rows.names for _ in columns.names],
        [plain(name, 60) for _ in rows.names for name in columns.names],
        ["undefined" if value != value else f"{value:.3f}" for value in values.ravel().tolist()],
    ]
    return Cells(x, x + 1, y, y + 1, texts)


def _code(info: RunInfo) -> str:
    return "\n".join(
        [
            "from explorer.analysis.cka import cka",
            "from explorer.reading.probes import list_probes, read_probe",
            "",
            f"path = {str(info.path)!r}",
            "probe = read_probe(path, list_probes(path)[-1].step)",
            "layers = list(probe.layers.values())",
            "print(cka([(layers, layers)]))",
        ]
    )
