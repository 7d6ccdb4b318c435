"""An image of the user's own in the place of the recorded example; it stays in this session, not in the link."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import inference_session
from explorer.app.names import esc
from explorer.charts.pixels import value_range
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Scene

_FITS: Final[Mapping[str, str]] = {
    "crop": "cut to the middle",
    "pad": "all of it, black at the sides",
    "stretch": "stretched",
}
_MAX_BYTES: Final = 20 << 20  # as `sandbox.pictures`, which this process does not import


@dataclass(frozen=True, eq=False)
class Upload:
    """An uploaded image as the model's input.

    Attributes:
        value: like the recorded example; None where the file cannot be used.
        told: what was done to it, or why it cannot be used.
        source: tells one upload from another.
    """

    value: Array | None
    told: str
    source: str


def uploaded(scene: Scene) -> Upload | None:
    """What was given to the uploader of `upload_form`, decoded in the process that runs models; None: nothing."""
    key = _key(scene)
    file = st.session_state.get(key)
    # Streamlit forgets a widget that is not drawn, as when another input is shown.
    held: tuple[bytes, str, bool] | None = st.session_state.get(f"{key}.held")
    content = None if held is None else held[0]
    if file is not None:
        content = bytes(file.getvalue()[: _MAX_BYTES + 1])
    if content is None:
        return None
    _, fit, invert = held or (content, "crop", False)
    fit = st.session_state.get(f"{key}.fit") or fit
    invert = bool(st.session_state.get(f"{key}.invert", invert))
    st.session_state[f"{key}.held"] = (content, fit, invert)
    recorded = scene.recorded
    channels = recorded.shape[0] if recorded.ndim == 3 else 1
    height, width = recorded.shape[-2:]
    source = f"{zlib.crc32(content):08x}.{fit}.{invert}"
    try:
        answer = inference_session.ask(
            scene, "picture", file=np.frombuffer(content, np.uint8), channels=int(channels), height=int(height),
            width=int(width), fit=fit, invert=invert,
        )  # fmt: skip
    except ExplorerError as error:
        return Upload(None, str(error), source)
    low, high = value_range(scene.model.inputs[scene.path])
    value: Any = (low + np.asarray(answer["picture"]) * (high - low)).astype(recorded.dtype).reshape(recorded.shape)
    told = (
        f"{answer['format']}, {answer['size'][0]:,} pixels high and {answer['size'][1]:,} wide, {_FITS[fit]}, made "
        f"{height} x {width} in {'grey' if channels == 1 else 'colour'}; black is {low:.3g} and white {high:.3g}, the "
        "ends of the recorded examples. It stays in this session: the link does not hold it, the Python script does."
    )
    return Upload(value, told, source)


def upload_form(scene: Scene, found: Upload | None) -> None:
    """Draw the uploader and say what was made of the file."""
    key = _key(scene)
    with st.expander("Use an image of yours", icon=":material/upload:"):
        st.file_uploader(
            "PNG or JPEG",
            type=["png", "jpg", "jpeg"],
            key=key,
            help="At most 20 MiB and 40 million pixels.",
            on_change=_changed,
            args=(key,),
        )
        if found is not None and st.session_state.get(key) is None:
            st.button("Take the file away", key=f"{key}.away", icon=":material/close:", on_click=_changed, args=(key,))
        _, fit, invert = st.session_state.get(f"{key}.held") or (b"", "crop", False)
        st.session_state.setdefault(f"{key}.fit", fit)
        st.session_state.setdefault(f"{key}.invert", invert)
        left, right = st.columns(2, vertical_alignment="bottom")
        left.selectbox("Fit", list(_FITS), format_func=_FITS.__getitem__, key=f"{key}.fit")
        right.toggle(
            "Swap black and white", key=f"{key}.invert", help="For ink on paper where the model saw the reverse"
        )
        if found is not None and found.value is None:
            st.warning(esc(found.told, 400), title="This file cannot be used", icon=":material/broken_image:")
        elif found is not None:
            st.caption(esc(found.told, 600))


def _key(scene: Scene) -> str:
    return f"inference.upload.{scene.info.run_id}.{scene.path}"


def _changed(key: str) -> None:
    """The uploader was emptied, or given another file, which is then read when the page is drawn."""
    st.session_state.pop(f"{key}.held", None)
