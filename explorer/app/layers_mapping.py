"""Which layer of one run is which of another: by name and shape, and by hand where these do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.analysis.layer_alignment import Alignment, align
from explorer.app import links, state
from explorer.app.names import count_text, esc, name_list, plain

if TYPE_CHECKING:
    from explorer.app.layers_read import Layers

MAP: Final = "map"  # key of the address: pairs, a tab between the names
MAX_ROWS: Final = 200
_MINE: Final = "layer"
_THEIRS: Final = "is"
_EDITOR: Final = "layers_map"
_DRAWN: Final = "layers_map_drawn"  # session: the rows and options that the browser shows, and what was edited by then


def align_runs(one: Layers, other: Layers) -> Alignment:
    """Return which layers of the two runs belong together, with those mapped by hand; takes over what was edited."""
    _take_edits()
    return align(shapes(one), shapes(other), manual_pairs())


def shapes(layers: Layers) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by name."""
    return {layer.name: layer.shape for layer in layers.rows}


def manual_pairs() -> dict[str, str]:
    """Return the pairs that the address names: layer of the first run to layer of the other."""
    pairs = {}
    for item in links.split(state.get(MAP) or ""):
        mine, tab, theirs = item.partition("\t")
        if tab and mine and theirs:
            pairs[mine] = theirs
    return pairs


def say_unmatched(one: Layers, other: Layers, alignment: Alignment) -> None:
    """Say which layers have no counterpart, and why."""
    lines = []
    for layers, names in ((one, alignment.only_a), (other, alignment.only_b)):
        if names:
            lines.append(f"- only in {esc(layers.label, 60)}: {name_list(list(names))}")
    lines += [f"- {esc(reason, 200)}" for reason in mismatch_texts(alignment)[:6]]
    if lines:
        num = len(alignment.only_a) + len(alignment.only_b) + len(alignment.mismatched)
        st.info(
            "\n".join(lines), title=f"{count_text(num, 'tensor')} without a counterpart", icon=":material/link_off:"
        )
    else:
        st.caption(f"All {count_text(len(alignment.pairs), 'tensor')} of the two runs match by name and shape.")


def mismatch_texts(alignment: Alignment) -> list[str]:
    """Return one sentence per pair that cannot be compared."""
    return [f"{one.a if one.a == one.b else f'{one.a} and {one.b}'}: {one.reason}" for one in alignment.mismatched]


def mapping_editor(one: Layers, other: Layers, alignment: Alignment) -> None:
    """Draw a table in which layers without a counterpart get one by hand."""
    automatic = align(shapes(one), shapes(other), {})
    matched = {name for name, _ in automatic.pairs}
    mine = [layer.name for layer in one.rows if layer.name not in matched][:MAX_ROWS]
    taken = {name for _, name in automatic.pairs}
    theirs = [layer.name for layer in other.rows if layer.name not in taken][:MAX_ROWS]
    if not mine or not theirs:
        return
    with st.expander(f"Map layers by hand ({len(mine):,} to {len(theirs):,})", key="layers_map_box"):
        st.caption("Only tensors of the same shape are compared. The mapping is part of the link.")
        _editor(mine, theirs)


def _editor(mine: Sequence[str], theirs: Sequence[str]) -> None:
    import pandas as pd

    manual = manual_pairs()
    # Options of a column are plain text: labels stand for names, which may hold anything.
    labels = {
        f"{plain(name, 120)}" if plain(name, 120) == name else f"{plain(name, 100)} #{k}": name
        for k, name in enumerate(theirs)
    }
    by_name = {name: label for label, name in labels.items()}
    frame = pd.DataFrame(
        {_MINE: [plain(name, 120) for name in mine], _THEIRS: [by_name.get(manual.get(name, "")) for name in mine]}
    )
    config: dict[str, Any] = {
        _MINE: st.column_config.TextColumn("layer of this run", disabled=True),
        _THEIRS: st.column_config.SelectboxColumn("layer of the other run", options=list(labels)),
    }
    st.session_state[_DRAWN] = (list(mine), labels, _edits())
    st.data_editor(frame, key=_EDITOR, hide_index=True, column_config=config)


def _edits() -> dict[int, str | None]:
    """What the browser says was edited: row to label of the other run's layer, None where one was taken away."""
    edited: Any = (st.session_state.get(_EDITOR) or {}).get("edited_rows") or {}
    return {int(row): change[_THEIRS] for row, change in edited.items() if _THEIRS in change}


def _take_edits() -> None:
    """Take over what was edited since the table was drawn; the browser's values are checked against what is known."""
    drawn: tuple[list[str], dict[str, str], dict[int, str | None]] | None = st.session_state.get(_DRAWN)
    if drawn is None or _EDITOR not in st.session_state:
        return
    mine, labels, before = drawn
    edits = _edits()
    if edits == before:
        return
    pairs = manual_pairs()
    for row, label in edits.items():
        theirs = labels.get(label or "")
        if not 0 <= row < len(mine):
            continue
        if theirs is None:
            pairs.pop(mine[row], None)
        else:
            pairs[mine[row]] = theirs
    state.put(MAP, links.join(f"{one}\t{other}" for one, other in pairs.items()) or None)
