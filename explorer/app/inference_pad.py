"""A pad to draw on an image: one inline component, no network. What was drawn lives in the link, checked on arrival."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.app import links, state
from explorer.charts.pixels import shown_width

Pixels = npt.NDArray[np.uint8]

MAX_SIDE: Final = 128
_SIDE: Final = 300  # of the pad in the page, in CSS pixels, at most
_VERSION: Final = "1"
_MAX_INK_CHARS: Final = 12_000
_MAX_LAYERS: Final = 16
_SENT: Final = "inference.pad.sent"
_REVISION: Final = "inference.pad.revision"

_JS: Final = """
export default function (component) {
  const { parentElement, data, setStateValue } = component;
  const canvas = parentElement.querySelector('canvas');
  const context = canvas.getContext('2d');
  const W = data.width, H = data.height;
  let kept = canvas.kept;
  if (!kept || kept.W !== W || kept.H !== H) {
    kept = canvas.kept = { W, H, grey: new Uint8Array(W * H), base: '', rgb: [], revision: null };
    canvas.width = W;
    canvas.height = H;
  }
  canvas.style.maxWidth = data.side + 'px';
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  if (data.revision !== kept.revision) {  // another example, a link, or cleared: Python owns the picture
    kept.revision = data.revision;
    kept.grey = bytes(data.pixels);
    kept.base = bytes(data.base);
    kept.rgb = bytes(data.rgb);
  }
  const paint = () => {
    const image = context.createImageData(W, H);
    for (let i = 0; i < W * H; i++) {
      const v = kept.grey[i], own = v === kept.base[i];
      image.data.set(own ? [...kept.rgb.slice(3 * i, 3 * i + 3), 255] : [v, v, v, 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
  };
  const dab = (x, y) => {
    const r = data.brush;
    for (let j = Math.max(0, Math.floor(y - r)); j <= Math.min(H - 1, y + r); j++)
      for (let i = Math.max(0, Math.floor(x - r)); i <= Math.min(W - 1, x + r); i++) {
        const ink = Math.min(1, r + 0.5 - Math.hypot(i + 0.5 - x, j + 0.5 - y));
        if (ink <= 0) continue;
        const k = j * W + i, v = Math.round(255 * ink);
        kept.grey[k] = data.erase ? Math.min(kept.grey[k], 255 - v) : Math.max(kept.grey[k], v);
      }
  };
  const at = event => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * W, (event.clientY - box.top) / box.height * H];
  };
  let last = null;
  canvas.onpointerdown = event => {
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    dab(...last);
    paint();
  };
  canvas.onpointermove = event => {
    if (!last) return;
    const [x, y] = at(event), n = Math.ceil(Math.hypot(x - last[0], y - last[1]) * 3) || 1;
    for (let k = 1; k <= n; k++) dab(last[0] + (x - last[0]) * k / n, last[1] + (y - last[1]) * k / n);
    last = [x, y];
    paint();
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (!last) return;
    last = null;
    setStateValue('pixels', btoa(String.fromCharCode(...kept.grey)));
  };
  paint();
}
"""
_CSS: Final = """
canvas {
  width: 100%; image-rendering: pixelated; touch-action: none; cursor: crosshair; display: block;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
}
"""
_pad = st.components.v2.component(
    "explorer_drawing_pad",
    html="<canvas role='img' aria-label='Drawing pad: draw on the example with the pointer'></canvas>\n",
    css=_CSS,
    js=_JS,
)


def pad(
    example: int, base: Pixels, rgb: Pixels, *, brush: float, erase: bool, source: str = "", number: int = 0
) -> None:
    """Draw the pad over an example; `ink` tells what was drawn.

    Args:
        example: number of the example.
        base: uint8[H, W], the example in grey.
        rgb: uint8[H, W, 3], how it looks where nothing was drawn.
        brush: radius in pixels.
        erase: whether strokes make pixels dark.
        source: changes when the picture is another one though the example is not.
        number: of the input, where the model takes several.
    """
    height, width = base.shape
    found = ink(example, base.shape, number)
    now = base if found is None else np.where(found > 0, grey_of(found), base).astype(np.uint8)
    # The pad's own strokes come back as the link they made: sending them again could undo a stroke under way.
    text = state.get(links.INK)
    revision = st.session_state.setdefault(_REVISION, [0, None])
    here = (example, source, number, text)
    if here != revision[1] and (text is None or text != st.session_state.get(_SENT)):
        revision[0] += 1
    revision[1] = here
    key = f"inference.pad.{example}.{source}" + (f".{number}" if number else "")
    _pad(
        key=key,
        data={
            "width": width,
            "height": height,
            "pixels": _base64(now),
            "base": _base64(base),
            "rgb": _base64(rgb),
            "revision": f"{example}.{source}.{number}.{revision[0]}",
            "brush": brush,
            "erase": erase,
            "side": shown_width(base.shape, _SIDE),
        },
        on_pixels_change=lambda: _arrived(key, example, base, number),
    )


def ink(example: int, shape: tuple[int, ...], number: int = 0) -> Pixels | None:
    """What the link says was drawn on this example of an input, uint8[H, W]; None: nothing.

    It is 0 where nothing was drawn, else see `grey_of`.
    """
    parts = _layers(example).get(number, "").split(".")
    if len(parts) < 4 or parts[2] != "x".join(map(str, shape)):
        return None
    size = shape[0] * shape[1]
    try:
        unzip = zlib.decompressobj()
        packed = base64.b64decode(parts[3] + "=" * (-len(parts[3]) % 4), altchars=b"-_", validate=True)
        plain = unzip.decompress(packed, size + 1)
    except (binascii.Error, zlib.error, ValueError):
        return None
    if len(plain) != size:
        return None
    found: Pixels = np.frombuffer(plain, np.uint8).reshape(shape)
    return found if found.any() else None


def grey_of(found: Pixels) -> npt.NDArray[np.float64]:
    """Drawn pixels as grey from 0 to 255: they are stored as 1 to 255."""
    return (np.maximum(found, 1).astype(np.float64) - 1) * 255 / 254


def clear(example: int, number: int = 0) -> None:
    """Take the drawing on an input away; for a button."""
    _put(example, number, None)


def ink_text(example: int, drawn: Pixels, base: Pixels, number: int = 0) -> str | None:
    """The text for the link of a picture (uint8[H, W]) that differs from `base`; None where it does not.

    Those of several inputs (`number`) stand one after the other, with "~" between them.
    """
    layer = np.where(drawn != base, np.round(drawn.astype(np.float64) * 254 / 255) + 1, 0).astype(np.uint8)
    if not layer.any():
        return None
    packed = base64.urlsafe_b64encode(zlib.compress(layer.tobytes(), 9)).decode().rstrip("=")
    return f"{_VERSION}.{example}.{'x'.join(map(str, base.shape))}.{packed}" + (f".{number}" if number else "")


def _arrived(key: str, example: int, base: Pixels, number: int) -> None:
    """A stroke ended. What the browser sends is anybody's: only as many bytes as there are pixels are taken."""
    value: Any = st.session_state.get(key)
    text = value.get("pixels") if hasattr(value, "get") else None
    if not isinstance(text, str) or len(text) > 2 * MAX_SIDE * MAX_SIDE:
        return
    try:
        plain = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    if len(plain) != base.size:
        return
    _put(example, number, ink_text(example, np.frombuffer(plain, np.uint8).reshape(base.shape), base, number))


def _layers(example: int) -> dict[int, str]:
    """The texts of the drawings on an example, by number of the input."""
    found: dict[int, str] = {}
    for text in (state.get(links.INK) or "").split("~")[:_MAX_LAYERS]:
        version, of, *rest = [*text.split("."), ""][:6]
        number = rest[2] if len(rest) > 2 else ""
        is_number = number.isascii() and number.isdecimal() and len(number) <= 3
        if [version, of] == [_VERSION, str(example)] and (is_number or not number):
            found[int(number or 0)] = text
    return found


def _put(example: int, number: int, text: str | None) -> None:
    """Set or take away the drawing on one input; one that would make the link too long changes nothing."""
    layers = {**_layers(example), number: text}
    found = "~".join(layer for _, layer in sorted(layers.items()) if layer is not None)
    if len(found) <= _MAX_INK_CHARS:
        st.session_state[_SENT] = found or None
        state.put(links.INK, found or None)


def _base64(pixels: Pixels) -> str:
    return base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode()
