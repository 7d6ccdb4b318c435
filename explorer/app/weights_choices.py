"""Which two snapshots the Weights page compares: any steps of any runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import streamlit as st

from explorer.app import linked, links, shell
from explorer.app.layers_flow import pick_step
from explorer.app.live import held
from explorer.app.names import count_text, esc
from explorer.app.run_text import bytes_text
from explorer.app.snapshot_choices import say_unusable
from explorer.app.snapshot_values import open_cached, usable
from explorer.app.weights_export import downloads

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.snapshots import Snapshot, SnapshotInfo

WHAT: Final = "Weights"  # names the page to `live`
_CHEAP_BYTES: Final = 64 << 20  # of a snapshot: two of them are compared in half a second
NOT_RECORDED: Final = (
    "No snapshot of these runs is recorded. Call `rec.snapshot(model, step)` in the training loop now and then, or "
    "`rec.snapshots(model, every=500, after=optimizer)` once before it."
)


class Chosen(NamedTuple):
    """One side of the comparison: a run, its label, and an open snapshot of it."""

    info: RunInfo
    label: str
    snapshot: Snapshot

    @property
    def title(self) -> str:
        """Run and step, plain text."""
        return f"{self.label} · step {self.snapshot.step:,}"


def choose(infos: Sequence[RunInfo], labels: Mapping[str, str]) -> tuple[Chosen, Chosen] | None:
    """Draw both choices and return what is chosen; None, said on the page, when there is no snapshot at all."""
    having = {info.run_id: found for info in infos if (found := usable(info))}
    say_unusable(infos)
    if not having:
        st.info(NOT_RECORDED, title="No snapshots", icon=":material/photo_camera:")
        return None
    by_id = {info.run_id: info for info in infos if info.run_id in having}
    for key in (links.RUN, links.OTHER_RUN):
        asked = linked.unknown(key, by_id)
        if asked is not None:
            st.warning(
                f"The run {esc(asked, 80)} of the link has no snapshots among the selected runs; another one is shown.",
                icon=":material/link_off:",
            )
    before, after = st.columns(2)
    with before:
        first = _side("Before", by_id, labels, having, links.RUN, links.BEFORE, next(iter(by_id)), last=False)
    with after:
        same = next(iter(by_id)) if first is None else first.info.run_id
        second = _side("After", by_id, labels, having, links.OTHER_RUN, links.AFTER, same, last=True)
    return None if first is None or second is None else (first, second)


def _side(
    title: str,
    infos: Mapping[str, RunInfo],
    labels: Mapping[str, str],
    having: Mapping[str, Sequence[SnapshotInfo]],
    run_key: str,
    step_key: str,
    default: str,
    *,
    last: bool,
) -> Chosen | None:
    with st.container(border=True, gap="small"):
        run_id = linked.select(title, run_key, list(infos), default, format_func=lambda one: labels[one])
        found = having[run_id]
        steps = sorted(one.step for one in found)
        size = next(one.size_bytes for one in found if one.step == steps[-1])
        steps = held(WHAT, steps, cheap=size <= _CHEAP_BYTES, part=title) if last else steps
        step = pick_step("Step", step_key, steps, default=steps[-1 if last else 0])
        one = next(one for one in found if one.step == step)
        chosen = None
        with shell.guard(f"The snapshot of step {step:,}"):
            chosen = Chosen(infos[run_id], labels[run_id], open_cached(infos[run_id], step))
            words = [count_text(one.num_tensors, "tensor"), bytes_text(one.size_bytes) + " on disk"]
            words += ["in a file of the user's own"] if one.has_reference else []
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(" · ".join([*words, f"{count_text(len(steps), 'snapshot')} in this run"]), width="stretch")
                downloads(infos[run_id], labels[run_id], chosen.snapshot, title.lower())
    return chosen
