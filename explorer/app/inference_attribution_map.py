"""Attributions as pictures: signed maps over an image, signed bars of tokens, features and units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import inference_session
from explorer.app.colours import DARK_DIVERGING, LIGHT_DIVERGING
from explorer.app.inference_maps import value_map
from explorer.app.inference_output import token_names, unique
from explorer.app.inference_token_edits import edited_tokens, vocabulary_of
from explorer.app.names import esc
from explorer.charts.arrow_stream import stream
from explorer.charts.model_lines import scores_spec, scores_table
from explorer.charts.pixels import enlarged, picture, scale_bar, shown_width, signed, value_range
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene

_MAX_ROWS: Final = 200
_MAX_COLOURED: Final = 600
_SIDE: Final = 260


def attribution_map(scene: Scene, recipe: Recipe, drawn: Drawn | None, values: Any, kind: str) -> None:  # noqa: ANN401
    """Draw an attribution to the input.

    Args:
        scene: what ran.
        recipe: the edits.
        drawn: the example with what was drawn on it; None: nothing was.
        values: signed, of one example: as the input, [1, h, w] (Grad-CAM), or [T, D] for tokens.
        kind: of the input.
    """
    if kind == "image":
        _over_image(scene, _seen(scene, recipe, drawn), values)
        return
    if kind == "tokens":
        tokens = edited_tokens([int(token) for token in scene.recorded], recipe, scene.path)
        known = token_names(scene.model, max([*tokens, 0]) + 1)
        names = unique([f"{place}: {known[token]}" for place, token in enumerate(tokens)])
        values = values.sum(axis=-1) if values.ndim == 2 else values
        if len(tokens) == values.size <= _MAX_COLOURED:
            vocabulary = vocabulary_of(scene)
            words = [vocabulary[token] if token < len(vocabulary) else str(token) for token in tokens]
            st.markdown(coloured_text(words, values.reshape(-1), _colours()))
            _bar(float(np.abs(values[np.isfinite(values)]).max(initial=0.0)))
            with st.expander("Every token", icon=":material/bar_chart:"):
                _bars(names, values.reshape(-1))
            return
    else:
        listed = scene.model.feature_names
        names = unique([listed[k] if k < len(listed) else f"feature {k}" for k in range(values.size)])
    _bars(names, values.reshape(-1))


def through_layer(values: Any) -> None:  # noqa: ANN401 - array
    """Draw how much of the change goes through each unit: values [D], [T, D] or [C, H, W] of one example."""
    plain = np.asarray(values, dtype=np.float64)
    if plain.ndim == 3:
        found = value_map(plain, "channel", 0, _colours())
        if found is not None:
            st.image(enlarged(found.pixels, 2 * _SIDE))
            _bar(found.largest)
    per_unit = (
        plain.reshape(len(plain), -1).sum(axis=1) if plain.ndim == 3 else plain.reshape(-1, plain.shape[-1]).sum(0)
    )
    word = "channel" if plain.ndim == 3 else "unit"
    _bars([f"{word} {number}" for number in range(len(per_unit))], per_unit)


def coloured_text(words: Sequence[str], scores: Any, colours: Sequence[str]) -> str:  # noqa: ANN401 - [n]
    """Words as Markdown, each on the colour of its score; blanks and line ends are shown by a sign.

    >>> coloured_text(["a"], np.array([1.0]), ("#0000ff", "#ffffff", "#ff0000"))
    ':color[a]{foreground="#ffffff" background="#ff0000"}'
    """
    parts = []
    for word, colour in zip(words, signed(np.asarray(scores)[None], colours, side=1)[0], strict=True):
        shown = esc(word.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣") or "∅", 60)
        red, green, blue = (int(part) for part in colour)
        # ITU-R BT.601 luma: dark letters on bright colours.
        ink = "#1b2430" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
        parts.append(f':color[{shown}]{{foreground="{ink}" background="#{red:02x}{green:02x}{blue:02x}"}}')
    return " ".join(parts)


def _seen(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> Any:  # noqa: ANN401 - array
    """The example as the edited model sees it."""
    changes = tuple(edit for edit in recipe if edit.on == "inputs")
    if not changes:
        return (drawn or {}).get(scene.path, scene.recorded)
    answer = inference_session.ask(scene, "run", changes, inputs=scene.inputs(drawn), before=False)
    return answer["inputs"][scene.path][scene.row]


def _over_image(scene: Scene, seen: Any, values: Any) -> None:  # noqa: ANN401 - arrays
    flat = values.sum(axis=0) if values.ndim == 3 else values
    left, right = st.columns(2)
    width = shown_width(flat.shape, _SIDE)
    left.image(picture(seen, value_range(scene.model.inputs[scene.path]), side=_SIDE), width=width)
    left.caption("Input")
    right.image(signed(flat, _colours(), side=_SIDE), width=width)
    right.caption("Attribution")
    with right:
        _bar(float(np.abs(flat[np.isfinite(flat)]).max(initial=0.0)))
    st.caption("Orange speaks for the output, blue against it.")


def _bar(largest: float) -> None:
    """Draw the scale of a signed map."""
    st.image(scale_bar(_colours(), _SIDE), caption=f"-{largest:.3g} … 0 … {largest:.3g}", width=_SIDE)


def _bars(names: Sequence[str], scores: Any) -> None:  # noqa: ANN401 - [n]
    if len(names) != len(scores):
        st.caption("There is no view for an attribution of this shape.")
        return
    order = np.arange(len(scores))
    if len(scores) > _MAX_ROWS:
        order = np.sort(np.argsort(-np.abs(scores))[:_MAX_ROWS])
        st.caption(f"The {_MAX_ROWS} largest of {len(scores):,}.")
    colours = _colours()
    rows = scores_table([names[int(place)] for place in order], scores[order])
    st.vega_lite_chart(
        {**scores_spec(len(order), "attribution", (colours[0], colours[-1])), "datasets": {"scores": stream(rows)}},
        key="inference.scores",
        alt="Attribution of each part of the input, told in numbers by the tooltip",
    )


def _colours() -> tuple[str, ...]:
    return DARK_DIVERGING if st.context.theme.type == "dark" else LIGHT_DIVERGING
