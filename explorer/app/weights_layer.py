"""One tensor of two snapshots, opened: how its elements moved, which rows did, and the difference as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.analysis.densities import density
from explorer.analysis.movement import Movement, movement
from explorer.app import linked, shell
from explorer.app.colours import LIGHT
from explorer.app.csv_text import csv_bytes
from explorer.app.curve_card import Card, curve_card
from explorer.app.export_menu import Export, below, card_head
from explorer.app.layers_image import columns_title, draw_weights, picture_height
from explorer.app.metrics_tables import Curve
from explorer.app.names import count_text, esc, plain
from explorer.app.picture_card import grid_csv
from explorer.app.run_text import value_text
from explorer.app.snapshot_values import as_real, derived, identity, read_value
from explorer.charts.export import standalone
from explorer.charts.pictures import PictureLook
from explorer.charts.spectra import bars_spec, bars_table
from explorer.charts.tables import view_table
from explorer.charts.weights import Pixels, as_matrix, average_down

if TYPE_CHECKING:
    from explorer.app.weights_choices import Chosen

SHOW: Final = "show"  # key of the address
_SHOWS: Final = {"difference": "Difference", "before": "Before", "after": "After"}
_PICTURE_PX: Final = 400  # height of an exported picture
_MAX_CSV: Final = 1_000_000  # values


def draw(before: Chosen, after: Chosen, name: str, counterpart: str) -> None:
    """Draw the tensor `name` of the first snapshot against `counterpart` of the second."""
    st.subheader(esc(name, 160), anchor=False)
    with shell.guard(f"The tensor {name}"):
        left, right = st.columns(2)
        of = f"{plain(name, 80)}, {before.title} to {after.title}"
        code = code_lines(before, after, name, counterpart)
        key = (
            "moved",
            identity(before.info, before.snapshot.step),
            identity(after.info, after.snapshot.step),
            name,
            counterpart,
        )
        found = _movement(before, after, name, counterpart, key)
        with left:
            _histogram(found, name, code, of)
        with right:
            _rows(found, name, code, of)
        _picture(before, after, name, counterpart, key, code)


def _values(before: Chosen, after: Chosen, name: str, counterpart: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return (
        read_value(before.info, before.snapshot.step, name),
        read_value(after.info, after.snapshot.step, counterpart),
    )


def _movement(before: Chosen, after: Chosen, name: str, counterpart: str, key: tuple[object, ...]) -> Movement:
    def make() -> Movement:
        one, other = _values(before, after, name, counterpart)
        return movement(as_real(other), as_real(one))

    return derived((*key, "movement"), make, lambda found: found.row_change.nbytes * 2 + found.difference.num_bytes)


def _histogram(found: Movement, name: str, code: str, of: str) -> None:
    row = found.difference
    shown = density(row)
    edges = np.append(shown.low, shown.high[-1:])
    if len(edges) and edges[0] == edges[-1]:  # all elements changed by the same
        width = abs(float(edges[0])) * 0.5 or 0.5
        edges = edges + np.array([-width, width])
    title = "Change of each element"
    if not len(shown.low):
        st.info("No element has a finite change.", icon=":material/data_object:")
        return
    told = [
        f"{value_text(low, digits=3)} to {value_text(high, digits=3)}: {share:.3%}"
        for low, high, share in zip(edges[:-1].tolist(), edges[1:].tolist(), shown.share.tolist(), strict=True)
    ]
    tables = {
        "bars": bars_table(edges, shown.share, told),
        "view": view_table((float(edges[0]), float(edges[-1])), (0.0, float(shown.share.max()) * 1.05)),
    }
    spec = bars_spec("change (after − before)", "share of elements", "elements", 220)
    parts = [f"{count_text(int(row.n[0]), 'element')} in {count_text(len(told), 'bin')} of equal width"]
    parts += [f"{zeros:,} did not change"] if (zeros := int(row.zeros[0])) else []
    parts += [f"{found.num_left_out:,} NaN or Inf left out"] if found.num_left_out else []
    parts.append(f"mean {value_text(float(row.mean[0]), digits=3)}, sd {value_text(float(row.std[0]), digits=3)}")
    caption = " · ".join(parts)
    export = Export(
        name="weights_histogram",
        stem=f"{title} {name}",
        spec=lambda: standalone(spec, tables, LIGHT, (), title, below(of, caption), _PICTURE_PX),
        table=lambda: csv_bytes(
            ["low", "high", "share"],
            zip(edges[:-1].tolist(), edges[1:].tolist(), shown.share.tolist(), strict=True),
        ),
        about_table="The share of elements in each bin",
        code=histogram_code(code, edges),
    )
    with st.container(border=True, gap=None):
        card_head(title, export, help="After minus before, element by element.")
        st.vega_lite_chart({**spec, "datasets": tables}, key="weights_histogram", alt=title)
        st.caption(caption)


def histogram_code(code: str, edges: npt.NDArray[np.float64]) -> str:
    """Return Python that counts the elements in the same bins; `code` leaves their changes in `difference`."""
    low, high, num = float(edges[0]), float(edges[-1]), len(edges)
    return "\n".join(
        [
            code,
            "elements = difference.ravel().view(difference.real.dtype)",
            "finite = elements[np.isfinite(elements)]",
            f"edges = np.linspace({low!r}, {high!r}, {num})",
            "counts, _ = np.histogram(finite.clip(edges[0], edges[-1]), bins=edges)",
            "shares = counts / finite.size",
        ]
    )


def rows_code(code: str) -> str:
    """Return Python that leaves the relative change of each row in `change`."""
    return "\n".join(
        [
            code,
            "rows = [np.atleast_1d(part) for part in (difference, before)]",
            "moved, size = (np.linalg.norm(part.reshape(len(part), -1), axis=1) for part in rows)",
            "change = moved / size",
        ]
    )


def _rows(found: Movement, name: str, code: str, of: str) -> None:
    changes = found.row_change
    label = plain(name, 60)
    card = Card(
        title="Relative change of each row",
        key=f"weights_rows_{len(changes)}",
        x_title="row (output)",
        height=220,
        note=f"the largest is row {int(np.nanargmax(changes)):,}" if np.isfinite(changes).any() else "",
        help="Norm of the row's difference over its norm before. A row is what belongs to one output; all sizes behind "
        "the first are its elements.",
        of=of,
        code=rows_code(code),
    )
    curve_card([Curve(label, np.arange(len(changes)), changes)], {label: 0}, card)


def _picture(before: Chosen, after: Chosen, name: str, counterpart: str, key: tuple[object, ...], code: str) -> None:
    show = linked.segments("Picture of", SHOW, list(_SHOWS), "difference", format_func=_SHOWS.__getitem__)

    def make() -> Pixels:
        one, other = _values(before, after, name, counterpart)
        if show == "difference":
            return average_down(as_matrix(difference(one, other)))
        return average_down(as_matrix(one if show == "before" else other))

    pixels = derived((*key, "picture", show), make)
    entry = before.snapshot.entries[name] if show != "after" else after.snapshot.entries[counterpart]
    look = PictureLook(
        tips=("row", "column", "change" if show == "difference" else "weight"), scheme="diverging",
        height=picture_height(pixels), legend="change (after − before)" if show == "difference" else "weight",
        x_title=columns_title(tuple(entry.shape)), y_title="row" if pixels.num_rows > 1 else None,
    )  # fmt: skip
    title = {"difference": "After − before", "before": before.title, "after": after.title}[show]
    draw_weights(
        pixels,
        title,
        "weights_picture",
        look,
        entry,
        code,
        _csv(before, after, name, counterpart),
        of=f"{plain(name, 80)}, {before.title} to {after.title}" if show == "difference" else plain(name, 80),
    )


def difference(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return after minus before in float64 (complex128 for complex values); whole numbers do not wrap around.

    >>> difference(np.array([200], np.uint8), np.array([10], np.uint8))
    array([-190.])
    """
    kind = np.complex128 if np.iscomplexobj(before) or np.iscomplexobj(after) else np.float64
    with np.errstate(invalid="ignore"):
        return np.asarray(after.astype(kind) - before.astype(kind))


def _csv(before: Chosen, after: Chosen, name: str, counterpart: str) -> Any:  # noqa: ANN401 - a function or None
    entry = before.snapshot.entries[name]
    if int(np.prod(entry.shape, dtype=np.float64)) > _MAX_CSV:
        return None

    def make() -> bytes:
        matrix = as_matrix(np.real(difference(*_values(before, after, name, counterpart))))
        return grid_csv([str(row) for row in range(len(matrix))], list(range(matrix.shape[1])), matrix, "row")

    return make


def code_lines(before: Chosen, after: Chosen, name: str, counterpart: str) -> str:
    """Return Python that reads the same tensor on both sides and leaves what changed in `difference`."""
    return "\n".join(
        [
            "import numpy as np",
            "from explorer import open_run",
            "",
            f"before = open_run({str(before.info.path)!r}).snapshot({before.snapshot.step}).read({name!r})",
            f"after = open_run({str(after.info.path)!r}).snapshot({after.snapshot.step}).read({counterpart!r})",
            "difference = np.subtract(after, before, dtype=np.result_type(before, after, np.float64))",
        ]
    )
