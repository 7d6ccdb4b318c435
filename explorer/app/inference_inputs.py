"""The input of the model: an example to draw on, a text to change, or a row of features to move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from explorer.app import inference_recipe, linked, links
from explorer.app.inference_image import drawn_image, image
from explorer.app.inference_scene import input_name
from explorer.app.inference_tokens import continuation, token_input
from explorer.app.names import esc
from explorer.charts.pixels import is_picture
from explorer.inference.edits.kinds.inputs import SetFeature
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Drawn, Scene

Kind = Literal["image", "tokens", "table", "other"]

_MAX_SLIDERS: Final = 40
_MAX_ROWS: Final = 10_000


def input_kind(scene: Scene) -> Kind:
    """What the example is, as it was recorded or as its shape says."""
    value = scene.recorded
    floating = value.dtype.kind == "f"
    if floating and is_picture(value.shape) and scene.model.kind in ("image", ""):
        return "image"
    if value.ndim == 1 and value.dtype.kind in "iu":
        return "tokens"
    return "table" if floating and value.ndim == 1 else "other"


def drawn(scene: Scene) -> Drawn | None:
    """The example with what was uploaded or drawn on it, in each input that is an image; None where nothing was."""
    found: dict[str, Array] = {}
    for path in scene.paths:
        one = replace(scene, shown=path)
        value = drawn_image(one) if input_kind(one) == "image" else None
        if value is not None:
            found[path] = value
    return found or None


def inputs(scene: Scene, recipe: Recipe, drawn: Drawn | None, edited: Any) -> None:  # noqa: ANN401 - array or None
    """Draw the example and the ways to change it.

    Args:
        scene: what runs.
        recipe: the edits so far.
        drawn: the example with what was drawn on it; None: nothing was.
        edited: the example after the edits of the input; None: it could not be run.
    """
    _choose_input(scene)
    kind = input_kind(scene)
    if kind == "image":
        image(scene, (drawn or {}).get(scene.path), edited)
    elif kind == "tokens":
        token_input(scene, recipe)
        continuation(scene, recipe)
    elif kind == "table":
        _features(scene, recipe)
    else:
        value = scene.recorded
        shape = " x ".join(map(str, value.shape)) or "one value"
        st.caption(
            f"{esc(scene.path)}: {shape} of {value.dtype}, from {np.min(value):.4g} to {np.max(value):.4g}. "
            "There is no view for such inputs; weights and activations can be edited."
        )


def _choose_input(scene: Scene) -> None:
    """Draw which of several inputs is shown; edits stay with their inputs."""
    if len(scene.paths) < 2:
        return
    linked.segments(
        "Input",
        links.INPUT,
        scene.paths,
        scene.paths[0],
        format_func=lambda path: esc(input_name(path), 60),
        help="What was drawn and edited in any of them counts, whichever is shown.",
    )


def _features(scene: Scene, recipe: Recipe) -> None:
    """A slider for each feature."""
    table = np.asarray(scene.model.inputs[scene.path], dtype=np.float64)
    row = np.asarray(scene.recorded, dtype=np.float64)
    chosen = {
        edit.feature: edit.value for edit in recipe if isinstance(edit, SetFeature) and edit.input in ("", scene.path)
    }
    columns = st.columns(2)
    for place in range(min(len(row), _MAX_SLIDERS)):
        now = float(chosen.get(place, row[place]))
        low, high = _ends(table[:, place], now)
        name = feature_name(scene, place)
        key = f"inference.feature.{scene.info.run_id}.{scene.path}.{scene.example}.{place}"
        st.session_state[key] = now if math.isfinite(now) else low
        columns[place % 2].slider(
            f"{esc(name, 60)} :gray[({row[place]:.4g})]",
            low,
            high,
            step=(high - low) / 200,
            format="%.4g",
            key=key,
            on_change=_moved,
            args=(key, place, scene.edit_path),
        )
    if len(row) > _MAX_SLIDERS:
        st.caption(f"The first {_MAX_SLIDERS} of {len(row):,} features; more of them are in the table.")
    with st.expander("As numbers", icon=":material/table:", expanded=len(row) > _MAX_SLIDERS):
        _row_table(scene, row, chosen)


def _ends(column: npt.NDArray[np.float64], now: float) -> tuple[float, float]:
    """From the least to the most among the recorded examples and half as much beyond; further where the value is."""
    finite = column[np.isfinite(column)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    margin = (high - low) / 2 or 1.0
    beyond = [now] if math.isfinite(now) else []
    return min([low - margin, *beyond]), max([high + margin, *beyond])


def _row_table(scene: Scene, row: npt.NDArray[np.float64], chosen: Mapping[int, float]) -> None:
    """The row as a table: any value can be typed, those beyond the ends of the sliders, too."""
    if len(row) > _MAX_ROWS:
        st.caption(f"The first {_MAX_ROWS:,} of {len(row):,}.")
        row = row[:_MAX_ROWS]
    names = [feature_name(scene, place) for place in range(len(row))]
    now = [chosen.get(place, float(value)) for place, value in enumerate(row)]
    key = f"inference.row.{scene.info.run_id}.{scene.path}.{scene.example}.{abs(hash(tuple(now)))}"
    st.data_editor(
        pd.DataFrame({"feature": names, "recorded": row, "value": now}),
        key=key,
        hide_index=True,
        disabled=["feature", "recorded"],
        column_config={name: st.column_config.NumberColumn(format="%.6g") for name in ("recorded", "value")},
        height=300 if len(row) > 8 else "content",
        on_change=_typed,
        args=(key, scene.edit_path),
    )


def feature_name(scene: Scene, place: int) -> str:
    """The recorded name of a feature, or its number."""
    names = scene.model.feature_names
    return names[place] if place < len(names) else f"feature {place}"


def _typed(key: str, path: str) -> None:
    for place, change in st.session_state[key]["edited_rows"].items():
        value = change.get("value")
        if isinstance(value, int | float) and math.isfinite(value):
            _put(int(place), float(value), path)


def _moved(key: str, place: int, path: str) -> None:
    _put(place, float(st.session_state[key]), path)


def _put(place: int, value: float, path: str) -> None:
    inference_recipe.replace(
        lambda edit: not (isinstance(edit, SetFeature) and edit.feature == place and edit.input == path),
        (SetFeature(input=path, feature=place, value=float(f"{value:.9g}")),),
    )
