"""The way of the weights through their space: snapshots on the two directions along which they spread most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.analysis.trajectories import Trajectory, trajectory
from explorer.app import linked, links, shell
from explorer.app.colours import LIGHT_RAMP
from explorer.app.csv_text import csv_bytes
from explorer.app.export_menu import Export, below, card_head
from explorer.app.live import held
from explorer.app.names import count_text, esc, name_list, plain
from explorer.app.run_text import bytes_text
from explorer.app.snapshot_choices import NO_SNAPSHOTS, say_unusable
from explorer.app.snapshot_values import as_real, derived, identity, open_cached, read_value, usable
from explorer.charts.export import standalone
from explorer.charts.layers import linear_ends
from explorer.charts.spectra import path_spec, path_table
from explorer.charts.tables import view_table

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from explorer.reading.catalogue import RunInfo

MAX_SNAPSHOTS: Final = 100
MAX_BYTES: Final = 2 << 30
_CHEAP_BYTES: Final = 128 << 20  # of all snapshots: laid side by side again in half a second when one more is there
_PICTURE_PX: Final = 560  # height of an exported picture
_ALL: Final = "all parameters"


def path(info: RunInfo) -> None:
    """Draw the path of all parameters, or of one tensor, over the snapshots of a run."""
    found = usable(info)
    say_unusable([info])
    if len(found) < 3:
        few = (
            f"This run has {count_text(len(found), 'snapshot')}, and a path needs three. Take more of them: "
            "`rec.snapshots(model, every=500, after=optimizer)` once before the training loop."
        )
        st.info(few if found else NO_SNAPSHOTS, title="No path to draw", icon=":material/timeline:")
        return
    places = np.unique(np.linspace(0, len(found) - 1, MAX_SNAPSHOTS).astype(int))
    steps = [found[place].step for place in places]
    with shell.guard("The path of the weights"):
        names = common_parameters(info, steps)
        if not names:
            st.info("No parameter has the same shape in all snapshots.", icon=":material/link_off:")
            return
        options = [_ALL, *names]
        with st.container(width=340):
            chosen = linked.select("Of", links.TENSOR, options, _ALL, format_func=lambda one: plain(one, 120))
        wanted = names if chosen == _ALL else [chosen]
        size = sum(open_cached(info, steps[0]).entries[name].num_bytes for name in wanted)
        steps = held("Path", steps, cheap=size * len(steps) <= _CHEAP_BYTES)
        if size * len(steps) > MAX_BYTES:
            keep = max(MAX_BYTES // max(size, 1), 0)
            if keep < 3:
                st.info(
                    f"{esc(chosen, 80)} has {bytes_text(size)} a snapshot, too much to lay side by side here. "
                    "Choose one tensor.",
                    icon=":material/data_object:",
                )
                return
            steps = [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, keep).astype(int))]
        key = ("path", tuple(identity(info, step) for step in steps), tuple(wanted))
        bar = st.empty()  # always there, so that what stands below it keeps its place
        try:
            made, left_out = derived(key, lambda: _work_out(info, steps, wanted, bar))
        except ValueError as error:
            st.info(f"{esc(error, 300)}.", title="No path to draw", icon=":material/timeline:")
            return
        _draw(info, made, np.array(steps, dtype=np.int64), chosen, len(found))
        if left_out:
            st.caption(
                f"Without {name_list(list(left_out))}: NaN or Inf at one of these steps, and no path goes through them."
            )


def common_parameters(info: RunInfo, steps: list[int]) -> list[str]:
    """Return the parameters that all these snapshots have in the same shape, in the order of the first."""
    entries = [open_cached(info, step).entries for step in steps]
    return [
        name
        for name, one in entries[0].items()
        if one.role == "param"
        and one.num_bytes
        and all(name in other and tuple(other[name].shape) == tuple(one.shape) for other in entries)
    ]


def _work_out(
    info: RunInfo, steps: list[int], names: list[str], bar: DeltaGenerator
) -> tuple[Trajectory, tuple[str, ...]]:
    """The path, and what is left out of it: tensors of which a value is not finite at one of the steps.

    Tensor by tensor, so that all snapshots of the whole model are never in memory at once.
    """
    left_out: list[str] = []

    def tensors() -> Iterator[list[npt.NDArray[Any]]]:
        for place, name in enumerate(names):
            bar.progress(place / len(names), f"Reading snapshots: {plain(name, 60)}")
            values = [as_real(read_value(info, step, name)) for step in steps]
            if len(names) > 1 and not all(np.isfinite(one).all() for one in values):
                left_out.append(name)
            else:
                yield values

    try:
        return trajectory(tensors()), tuple(left_out)
    finally:
        bar.empty()


def _draw(info: RunInfo, made: Trajectory, steps: npt.NDArray[np.int64], chosen: str, num_snapshots: int) -> None:
    x, y = (np.ascontiguousarray(made.coordinates[:, axis], dtype=np.float64) for axis in (0, 1))
    shares = made.explained[:2]
    told = [f"step {step:,}" for step in steps.tolist()]
    tables = {"path": path_table(x, y, steps, told), "view": view_table(linear_ends(x), linear_ends(y))}
    title = f"Path of {plain(chosen, 80)}"
    drawn = count_text(len(steps), "snapshot")
    few = f" of {num_snapshots:,}, evenly chosen" if len(steps) < num_snapshots else ""
    held, walked = (f"{100 * one[0]:.1f} % and {100 * one[1]:.1f} %" for one in (shares, made.random_walk))
    caption = f"{drawn}{few} · joined in order, coloured by step · PC 1 and 2 hold {held} of the variance"
    of = plain(info.name or info.run_id, 80)
    spec = path_spec("PC 1", "PC 2", "snapshot")
    export = Export(
        name=f"path_{info.run_id}", stem=title, table=lambda: _csv(x, y, steps), code=lambda: _code(info, chosen),
        spec=lambda: standalone(spec, tables, (), LIGHT_RAMP, title, below(of, caption), _PICTURE_PX),
        about_table="The coordinates of every snapshot, with every digit",
    )  # fmt: skip
    with st.container(border=True, gap=None):
        card_head(title, export, help="Principal components of the flattened weights.")
        st.vega_lite_chart({**spec, "datasets": tables}, key=f"layers_path_{info.run_id}", alt=title)
        st.caption(caption)
    st.info(
        f"The two directions hold {held} of the variance. A random walk of {len(steps):,} snapshots, which learns "
        f"nothing, would give {walked}, and curves that look just as smooth. Read meaning only into what exceeds that.",
        icon=":material/casino:",
    )


def _csv(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], steps: npt.NDArray[np.int64]) -> bytes:
    return csv_bytes(["step", "pc1", "pc2"], zip(steps.tolist(), x.tolist(), y.tolist(), strict=True))


def _code(info: RunInfo, chosen: str) -> str:
    which = "entry.role == 'param'" if chosen == _ALL else f"name == {chosen!r}"
    return "\n".join(
        [
            "import numpy as np",
            "from explorer import open_run",
            "",
            f"run = open_run({str(info.path)!r})",
            "snapshots = [run.snapshot(found.step) for found in run.snapshots]",
            f"names = [name for name, entry in snapshots[0].entries.items() if {which}]",
            "flat = np.stack([np.concatenate([s.read(name).ravel() for name in names]) for s in snapshots])",
            "u, s, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)",
            "coordinates = u[:, :2] * s[:2]",
        ]
    )
