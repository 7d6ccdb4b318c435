"""A picture whose cells are picked with the pointer: a click, or a box that is dragged. One inline component."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

_JS: Final = """
export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  const canvas = parentElement.querySelector('canvas'), frame = parentElement.querySelector('i');
  const told = parentElement.querySelector('small'), context = canvas.getContext('2d');
  const { width: W, height: H, rows, columns } = data;
  canvas.width = W;
  canvas.height = H;
  canvas.parentElement.style.maxWidth = data.side + 'px';
  const bytes = Uint8ClampedArray.from(atob(data.pixels), letter => letter.charCodeAt(0));
  context.putImageData(new ImageData(bytes, W, H), 0, 0);
  const place = (element, [top, left, bottom, right]) => {
    element.style.cssText = `display:block; top:${top / rows * 100}%; left:${left / columns * 100}%;` +
      `height:${(bottom - top) / rows * 100}%; width:${(right - left) / columns * 100}%`;
  };
  parentElement.querySelectorAll('b').forEach(old => old.remove());
  for (const box of data.marked) {
    const mark = document.createElement('b');
    place(mark, box);
    frame.before(mark);
  }
  const at = event => {
    const box = canvas.getBoundingClientRect();
    const cell = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    return [cell((event.clientY - box.top) / box.height, rows), cell((event.clientX - box.left) / box.width, columns)];
  };
  const box = (one, other) => [Math.min(one[0], other[0]), Math.min(one[1], other[1]),
                               Math.max(one[0], other[0]) + 1, Math.max(one[1], other[1]) + 1];
  const say = ([top, left, bottom, right]) => {
    const size = data.drag && (bottom - top > 1 || right - left > 1) ? ` (${bottom - top} x ${right - left})` : '';
    const number = top * columns + left;
    told.textContent = data.names.length ? data.names[number] ?? '' : `row ${top}, column ${left}${size}`;
  };
  let first = null;
  canvas.onpointerdown = event => {
    canvas.setPointerCapture(event.pointerId);
    first = at(event);
    place(frame, box(first, first));
  };
  canvas.onpointermove = event => {
    const now = at(event), seen = box(first && data.drag ? first : now, now);
    say(seen);
    if (first && data.drag) place(frame, seen);
  };
  canvas.onpointerleave = () => { if (!first) told.textContent = '\\u00a0'; };
  canvas.onpointercancel = () => { first = null; frame.style.display = 'none'; };
  canvas.onpointerup = event => {
    if (!first) return;
    const found = box(data.drag ? first : at(event), at(event));
    first = null;
    frame.style.display = 'none';
    setTriggerValue('picked', found);
  };
}
"""
_CSS: Final = """
div { position: relative; }
canvas {
  width: 100%; image-rendering: pixelated; touch-action: none; cursor: crosshair; display: block;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); box-sizing: border-box;
}
i, b { position: absolute; pointer-events: none; box-sizing: border-box; border: 2px solid var(--st-primary-color); }
i { display: none; background: color-mix(in srgb, var(--st-primary-color) 25%, transparent); }
small { color: var(--st-text-color); opacity: 0.7; font: 0.85rem var(--st-font); }
"""
_component = st.components.v2.component(
    "explorer_picture_picker",
    html="<div><canvas role='img' aria-label='Picture to pick from with the pointer'></canvas><i></i></div>"
    "<small>&nbsp;</small>\n",
    css=_CSS,
    js=_JS,
)


def picker(
    key: str,
    pixels: Pixels,
    cells: tuple[int, int],
    on_pick: Callable[[Box], None],
    *,
    drag: bool = False,
    marked: Sequence[Box] = (),
    names: Sequence[str] = (),
    side: int = 300,
) -> None:
    """Draw a picture of rows x columns cells; a pick calls back with the cells' box.

    Args:
        key: of the widget.
        pixels: uint8[H, W, 4], red, green, blue and opacity.
        cells: (rows, columns) of equal size.
        on_pick: called before the page is drawn again with (top, left, bottom, right) in cells, the last two not
            inclusive; a click gives one cell.
        drag: whether more than one cell can be picked.
        marked: boxes that are outlined.
        names: of the cells, row after row, which the line below the picture tells; () tells row and column.
        side: of the picture in the page, in CSS pixels, at most.
    """
    rows, columns = cells

    def arrived() -> None:
        value: Any = st.session_state.get(key)
        found = picked(value.get("picked") if hasattr(value, "get") else None, cells)
        if found is not None:
            on_pick(found)

    _component(
        key=key,
        data={
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "pixels": base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode(),
            "rows": rows,
            "columns": columns,
            "drag": drag,
            "marked": [list(box) for box in marked],
            "names": list(names),
            "side": side,
        },
        on_picked_change=arrived,
    )


def picked(found: object, cells: tuple[int, int]) -> Box | None:
    """What the browser sent as a box within the cells; None where it is anything else.

    >>> picked([0, 1, 2, 3], (4, 4)), picked([0, 0, 9, 1], (4, 4)), picked("x", (4, 4))
    ((0, 1, 2, 3), None, None)
    """
    if not isinstance(found, list | tuple) or len(found) != 4 or not all(type(part) is int for part in found):
        return None
    top, left, bottom, right = found
    return (top, left, bottom, right) if 0 <= top < bottom <= cells[0] and 0 <= left < right <= cells[1] else None
