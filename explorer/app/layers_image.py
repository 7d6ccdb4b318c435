"""The weights of one tensor as a picture, at any snapshot: a matrix, or the filters of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app import linked, shell
from explorer.app.names import esc, plain
from explorer.app.picture_card import (
    PictureCard,
    grid_csv,
    index_ticks,
    picture_card,
    weight_cells,
)
from explorer.app.run_text import value_text
from explorer.app.snapshot_choices import pick_tensor, too_large
from explorer.app.snapshot_values import (
    derived,
    identity,
    open_cached,
    read_value,
)
from explorer.charts.pictures import Cells, PictureLook
from explorer.charts.weights import MAX_TILES, Mosaic, Pixels, as_matrix, average_down, mosaic, reach

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.snapshots import SnapshotEntry

DRAW: Final = "draw"  # keys of the address
FIRST: Final = "filter1"
_VIEWS: Final = {"matrix": "Matrix", "filters": "Filters"}
_MAX_CSV: Final = 1_000_000  # values
_MAX_WIDTH_PX: Final = 980
_MAX_HEIGHT_PX: Final = 560
_MIN_PX: Final = 48
_AXIS_PX: Final = 76  # beside the picture


def image(info: RunInfo) -> None:
    """Draw a tensor of a snapshot of the run."""
    picked = pick_tensor(info)
    if picked is None:
        return
    step, name, entry = picked
    with shell.guard(f"The tensor {name}"):
        if too_large(entry):
            return
        views = ["matrix", "filters"] if len(entry.shape) > 2 and entry.num_bytes else ["matrix"]
        view = (
            linked.segments("Draw", DRAW, views, views[-1], format_func=_VIEWS.__getitem__) if views[1:] else "matrix"
        )
        if view == "filters":
            _filters(info, step, name, entry)
        else:
            _matrix(info, step, name, entry)


def _matrix(info: RunInfo, step: int, name: str, entry: SnapshotEntry) -> None:
    key = ("matrix", identity(info, step), name)
    pixels = derived(key, lambda: average_down(as_matrix(read_value(info, step, name))))
    look = PictureLook(
        tips=("row", "column", "weight"), scheme="diverging", height=picture_height(pixels), legend="weight",
        x_title=columns_title(entry.shape), y_title="row" if pixels.num_rows > 1 else None,
    )  # fmt: skip
    code = code_lines(str(info.path), step, name)
    draw_weights(
        pixels,
        f"{name}, step {step:,}",
        f"layers_image_{info.run_id}",
        look,
        entry,
        code,
        matrix_csv(info, step, name),
        of=plain(info.name or info.run_id, 80),
    )


def columns_title(shape: tuple[int, ...]) -> str:
    """Return what the columns of a tensor's matrix are."""
    return "column" if len(shape) <= 2 else f"column ({' × '.join(str(size) for size in shape[1:])} in a row)"


def picture_height(pixels: Pixels) -> int:
    """Return the height of the picture of a matrix: its pixels, within what fits on a screen."""
    return int(min(max(8 * pixels.values.shape[0], 60), 460))


def matrix_csv(info: RunInfo, step: int, name: str) -> Any:  # noqa: ANN401 - a function or None
    """Return what makes the CSV of a tensor, or None for one that is too long for it."""
    entry = open_cached(info, step).entries[name]
    if int(np.prod(entry.shape, dtype=np.float64)) > _MAX_CSV:
        return None

    def make() -> bytes:
        matrix = as_matrix(read_value(info, step, name)).astype(np.float64)
        return grid_csv([str(row) for row in range(len(matrix))], list(range(matrix.shape[1])), matrix, "row")

    return make


def draw_weights(
    pixels: Pixels,
    title: str,
    key: str,
    look: PictureLook,
    entry: SnapshotEntry,
    code: str,
    make_csv: Any,  # noqa: ANN401
    of: str = "",
) -> None:
    """Draw the picture of a matrix in colours centred on 0, and say what a pixel is."""
    if not pixels.values.size:
        st.info(f"{esc(title, 120)}: the tensor has no elements.", icon=":material/data_object:")
        return
    end = reach(pixels.values)
    parts = [f"{' × '.join(f'{size:,}' for size in entry.shape) or 'one number'} {entry.dtype}"]
    if pixels.is_averaged:
        parts.append(f"each pixel the mean of {pixels.rows_each:,} × {pixels.columns_each:,} values")
    else:
        parts.append("each pixel one value")
    parts.append(f"colours from {value_text(-end, digits=3)} to {value_text(end, digits=3)}, 0 in the middle")
    if pixels.num_bad:
        parts.append(f"{pixels.num_bad:,} NaN or Inf, in pink")
    card = PictureCard(title=title, key=key, caption=" · ".join(parts), look=look, of=of, code=code, make_csv=make_csv)
    rows, columns = pixels.values.shape
    picture_card(
        pixels.values,
        (-end, end),
        weight_cells(pixels),
        index_ticks(columns, pixels.columns_each, pixels.num_columns),
        index_ticks(rows, pixels.rows_each, pixels.num_rows),
        card,
    )


def _filters(info: RunInfo, step: int, name: str, entry: SnapshotEntry) -> None:
    first = 0
    if entry.shape[0] > MAX_TILES:
        starts = [str(start) for start in range(0, entry.shape[0], MAX_TILES)]
        first = int(linked.select("Output channels from", FIRST, starts, "0"))
    made = derived(("mosaic", identity(info, step), name, first), lambda: mosaic(read_value(info, step, name), first))
    values = np.ma.masked_where(gaps(made.values.shape, made.tile), made.values)
    end = reach(made.values)
    height, width = made.tile
    axes = ("output channel", "input channel") if made.out_is_x else ("input channel", "output channel")
    px = square_px(*values.shape)
    look = PictureLook(
        tips=("output channel", "input channel", "weights"), scheme="diverging", legend="weight",
        height=max(round(values.shape[0] * px), _MIN_PX), x_title=axes[0], y_title=axes[1],
    )  # fmt: skip
    parts = [f"{' × '.join(str(size) for size in entry.shape)} {entry.dtype}"]
    parts.append(f"output channels {first:,} to {first + made.num_out - 1:,} of {entry.shape[0]:,}")
    parts.append(f"input channels 0 to {made.num_in - 1:,} of {entry.shape[1]:,}, each {height} × {width}")
    parts.append(f"colours from {value_text(-end, digits=3)} to {value_text(end, digits=3)}, 0 in the middle")
    card = PictureCard(
        title=f"Filters of {name}, step {step:,}", key=f"layers_filters_{info.run_id}", caption=" · ".join(parts),
        look=look, of=plain(info.name or info.run_id, 80), code=code_lines(str(info.path), step, name), 
        make_csv=matrix_csv(info, step, name),
        width=max(round(values.shape[1] * px), 2 * _MIN_PX) + _AXIS_PX,
    )  # fmt: skip
    out_ticks = [str(first + k) for k in range(made.num_out)]
    in_ticks = [str(k) for k in range(made.num_in)]
    across, down = (out_ticks, in_ticks) if made.out_is_x else (in_ticks, out_ticks)
    x_ticks = [(k * (width + 1) + width / 2, text) for k, text in enumerate(across)]
    y_ticks = [(k * (height + 1) + height / 2, text) for k, text in enumerate(down)]
    picture_card(values, (-end, end), _tiles(made, across, down), x_ticks, y_ticks, card)


def square_px(rows: int, columns: int) -> float:
    """Return the size of a square pixel so that a picture fits the page: at most 980 wide, 560 high and 24 each.

    >>> square_px(3, 63), square_px(1_000, 10)
    (15.555555555555555, 0.56)
    """
    return min(_MAX_WIDTH_PX / max(columns, 1), _MAX_HEIGHT_PX / max(rows, 1), 24.0)


def gaps(shape: tuple[int, ...], tile: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return where a mosaic has no filter: the lines between its tiles."""
    rows, columns = (np.arange(size) % (side + 1) == side for size, side in zip(shape, tile, strict=True))
    return np.asarray(rows[:, None] | columns[None, :])


def _tiles(made: Mosaic, across: Sequence[str], down: Sequence[str]) -> Cells:
    """One cell of the tooltip per filter."""
    height, width = made.tile
    y, x = (side.ravel().astype(np.float64) for side in np.mgrid[0 : len(down), 0 : len(across)])
    texts: list[list[str]] = [[], [], []]
    for row, low_name in enumerate(down):
        for column, side_name in enumerate(across):
            top, left = row * (height + 1), column * (width + 1)
            tile = made.values[top : top + height, left : left + width]
            good = tile[np.isfinite(tile)]
            texts[0].append(side_name if made.out_is_x else low_name)
            texts[1].append(low_name if made.out_is_x else side_name)
            ends = [value_text(float(end), digits=3) for end in (good.min(), good.max())] if good.size else []
            texts[2].append(" to ".join(ends) or "NaN or Inf")
    left_px, top_px = x * (width + 1), y * (height + 1)
    return Cells(left_px, left_px + width, top_px, top_px + height, texts)


def code_lines(path: str, step: int, name: str) -> str:
    """Return Python that reads the same tensor."""
    return f"from explorer import open_run\n\nweights = open_run({path!r}).snapshot({step}).read({name!r})"
