"""Which tensor of which snapshot a tab of the Layers page shows, and what is said where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from explorer.app import linked, links
from explorer.app.layers_flow import pick_step
from explorer.app.live import held
from explorer.app.names import esc, plain
from explorer.app.run_text import bytes_text
from explorer.app.snapshot_values import MAX_TENSOR_BYTES, not_usable, open_cached, usable

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.snapshots import SnapshotEntry

NO_SNAPSHOTS: Final = (
    "No snapshot of this run is recorded. Call `rec.snapshot(model, step)` in the training loop now and then, or "
    "`rec.snapshots(model, every=500, after=optimizer)` once before it."
)
NO_TENSORS: Final = (
    "This snapshot holds no tensors: the model had no parameters and no buffers, or none that can be saved."
)
_CHEAP_SIDE: Final = 1_024  # of a matrix: its spectrum takes half a second there


def pick_tensor(info: RunInfo, *, weights_only: bool = False) -> tuple[int, str, SnapshotEntry] | None:
    """Draw the choice of a tensor and a snapshot; None, said on the page, when there are none.

    Args:
        info: the run.
        weights_only: offer only tensors of at least two dimensions.
    """
    found = usable(info)
    say_unusable([info])
    if not found:
        st.info(NO_SNAPSHOTS, title="No snapshots", icon=":material/photo_camera:")
        return None
    steps = [one.step for one in found]
    if weights_only:
        steps = held("Spectra", steps, cheap=_smaller_side(info, steps[-1]) <= _CHEAP_SIDE)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        slot = st.container(width=340)
        with st.container():
            step = pick_step("Snapshot at step", links.STEP, steps)
    entries = open_cached(info, step).entries
    names = [name for name, one in entries.items() if not weights_only or len(one.shape) > 1]
    if not names:
        st.info(
            "This snapshot holds no weights of two dimensions or more." if entries else NO_TENSORS,
            icon=":material/grid_off:",
        )
        return None
    weights = [
        name
        for name in names
        if entries[name].role == "param" and len(entries[name].shape) > 1 and entries[name].num_bytes
    ]
    with slot:
        asked = linked.unknown(links.TENSOR, names)
        name = linked.select(
            "Tensor", links.TENSOR, names, (weights or names)[0], format_func=lambda one: plain(one, 120)
        )
    if asked is not None:
        st.warning(
            f"The snapshot of step {step:,} has no tensor {esc(asked, 80)} that can be drawn here; {esc(name, 80)} is "
            "shown.",
            icon=":material/link_off:",
        )
    return step, name, entries[name]


def _smaller_side(info: RunInfo, step: int) -> int:
    """The largest of the smaller sides of all matrices of a snapshot, which tells what a spectrum costs at most."""
    shapes = [one.shape for one in open_cached(info, step).entries.values() if len(one.shape) > 1]
    return max((min(shape[0], math.prod(shape[1:])) for shape in shapes), default=0)


def say_unusable(infos: Sequence[RunInfo]) -> None:
    """Say which snapshots of these runs are not shown, and why."""
    told = [f"- {esc(info.name or info.run_id, 60)}, {esc(text, 300)}" for info in infos for text in not_usable(info)]
    if told:
        st.warning("\n".join(told[:6]), title="Some snapshots are not shown", icon=":material/broken_image:")


def too_large(entry: SnapshotEntry) -> bool:
    """Return whether a tensor is too large to be drawn, and say so."""
    if entry.num_bytes <= MAX_TENSOR_BYTES:
        return False
    st.info(
        f"{esc(entry.name, 80)} has {bytes_text(entry.num_bytes)}; tensors up to {bytes_text(MAX_TENSOR_BYTES)} are "
        "drawn. Its statistics over steps are in the tab Overview.",
        icon=":material/data_object:",
    )
    return True
