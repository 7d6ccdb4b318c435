"""Which part of a node's value an edit is about: typed as numbers, or picked in a picture of the value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import inference_session
from explorer.app.colours import DARK_DIVERGING, LIGHT_DIVERGING
from explorer.app.inference_maps import numbers_of, toggled, value_map
from explorer.app.inference_picker import Box, picker
from explorer.errors import ExplorerError
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_places import NodeChoice
    from explorer.app.inference_scene import Drawn, Scene

_PARTS: Final[Mapping[str, str]] = {
    "": "all of it",
    "unit": "units",
    "channel": "channels",
    "position": "positions",
    "head": "heads",
}
_WORDS: Final[Mapping[str, str]] = {"unit": "unit", "channel": "channel", "position": "position", "head": "head"}


def part(scene: Scene, recipe: Recipe, drawn: Drawn | None, node: str, choice: NodeChoice) -> str | None:
    """Draw which part of a node's value is meant, and return it as a recipe names it; None: none was chosen yet."""
    rank = len(choice.shape)
    known = ["", "unit", *(["channel"] if rank >= 3 else []), *(["position", "head"] if rank >= 3 else [])]
    columns = st.columns(3)
    default = known.index("channel") if rank >= 4 else known.index("unit")
    kind = columns[0].selectbox(
        "Part", known, index=default, format_func=_PARTS.__getitem__, key=f"inference.act_part.{node}"
    )
    if not kind:
        return ""
    key = f"inference.act_which.{node}"
    indices = columns[1].text_input(
        "Which, from 0", key=key, placeholder="pick below, or 0,3", help="One number, or several with commas between."
    )
    heads = 0
    if kind == "head":
        heads = columns[2].number_input(
            "Number of heads",
            0,
            4_096,
            0,
            key=f"inference.act_heads.{node}",
            help="0 where heads have a dimension of their own; else how many lie side by side in the features.",
        )
    _picture(node_value(scene, recipe, drawn, node, choice.batch_dim), node, kind, heads, key)
    if not indices.strip():
        return None
    return f"{kind}:{indices.replace(' ', '')}" + (f"/{heads}" if heads else "")


def _picture(value: Any, node: str, kind: str, num_heads: int, key: str) -> None:  # noqa: ANN401 - of `node_value`
    """Draw the value of the node in the edited model; a click puts a part into the list or takes it out."""
    if value is None:
        return
    dark = st.context.theme.type == "dark"
    found = value_map(value, kind, num_heads, DARK_DIVERGING if dark else LIGHT_DIVERGING)
    if found is None:
        st.caption("This part of a value of this shape has no picture: type its numbers.")
        return

    def picked(box: Box) -> None:
        number = found.number(box)
        if number is not None:
            st.session_state[key] = toggled(str(st.session_state.get(key) or ""), number)

    word = _WORDS[kind]
    cells = found.numbers.reshape(-1)
    names = [f"{word} {number}" if number >= 0 else "" for number in cells] if len(cells) <= 20_000 else ()
    chosen = numbers_of(str(st.session_state.get(key) or ""))
    side = int(min(420, max(240, 18 * max(found.cells))))
    picker(f"inference.pick.{node}.{kind}", found.pixels, found.cells, picked, marked=found.boxes(chosen),
           names=names, side=side)  # fmt: skip
    cut = " The first ones are shown." if found.is_cut else ""
    st.caption(
        f"The value for this example: click a {word} to choose it. Orange is above 0, blue below; full colour is "
        f"{found.largest:.3g}.{cut}"
    )


def node_value(scene: Scene, recipe: Recipe, drawn: Drawn | None, node: str, batch_dim: int = 0) -> Any:  # noqa: ANN401
    """The value of a node for the example in the edited model, without the batch; None where there is none to show.

    `batch_dim` is the dimension of the value that counts the examples.
    """
    inputs = scene.inputs(drawn)
    try:
        answer = inference_session.ask(scene, "run", recipe, inputs=inputs, keep=[node])
    except ExplorerError:  # told where the output would stand
        st.caption("The edited model cannot be run, so its values cannot be shown.")
        return None
    value = answer["kept"].get(node)
    size = len(inputs[scene.path])
    if isinstance(value, np.ndarray) and value.ndim >= 2:
        value = np.moveaxis(value, batch_dim, 0)
    if not isinstance(value, np.ndarray) or value.ndim < 2 or len(value) != size or value.dtype.kind != "f":
        st.caption("This value does not have one entry for each example, so it has no picture.")
        return None
    return value[scene.row]
