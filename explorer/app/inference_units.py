"""The units of a module over the recorded examples: which are dead, what excites them, what is lost without them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from explorer.app import inference_recipe, inference_session, linked, links, state
from explorer.app.inference_choices import class_name
from explorer.app.inference_inputs import input_kind
from explorer.app.inference_output import token_names, unique
from explorer.app.inference_places import batched_choices, last_active
from explorer.app.inference_result import as_logits, output_kind
from explorer.app.names import esc, plain
from explorer.charts.pixels import picture, value_range
from explorer.inference.edits.recipe import Recipe
from explorer.inference.outcome import log_probabilities
from explorer.inference.unit_dims import unit_dim

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_ASKED: Final = "inference.units.asked"  # session: node and unit to be opened by the next script run
_NUM_TOP: Final = 8
_MAX_SWEPT: Final = 256
_MAX_SWEPT_VALUES: Final = 8_000_000
_MAX_CLASSES: Final = 20
_NUMBER: Final = st.column_config.NumberColumn(format="%.3g", width=62)
_SHARE: Final = st.column_config.NumberColumn(format="percent", width=66)


def choose(node: str, unit: int) -> None:
    """Open a unit of a node; for a button."""
    state.put(links.NODE, node)
    st.session_state[_ASKED] = (node, unit)


def units(scene: Scene, recipe: Recipe) -> None:
    """Draw the units of one node, in the edited model, over all recorded examples."""
    choices = batched_choices(scene.model)
    if not choices:
        st.caption("This program has no values with units.")
        return
    common = tuple(edit for edit in recipe if edit.on != "inputs")
    left, right = st.columns([3, 4], gap="medium")
    with left:
        titles = {name: plain(choice.title, 90) for name, choice in choices.items()}
        node = linked.select("Value", links.NODE, titles, last_active(choices), help="Modules come first")
    answer = inference_session.ask(scene, "units", common, node=node, k=_NUM_TOP)
    table: pd.DataFrame = answer["table"]
    rank = len(choices[node].shape)
    word = "channel" if rank >= 3 and unit_dim(scene.model.program, node, rank) == 1 else "unit"
    with left:
        asked = st.session_state.pop(_ASKED, None)
        unit = _table(table, word, asked[1] if asked is not None and asked[0] == node else None)
    with right:
        st.markdown(f"**{word.capitalize()} {unit}** of {esc(titles[node], 90)}")
        _excited(scene, answer["top_examples"][unit], answer["top_values"][unit])
        st.button(
            f"Ablate this {word}",
            key="inference.units.ablate",
            icon=":material/add:",
            on_click=inference_recipe.append,
            args=(lambda: {"edit": "ablate", "node": node, "part": f"{word}:{unit}"},),
        )
    _each_in_turn(scene, common, node, word, len(table))


def _table(table: pd.DataFrame, word: str, asked: int | None) -> int:
    """Draw the numbers of all units; returns the one that is chosen or asked for, else that with the highest mean."""
    key = f"inference.units.table.{word}.{len(table)}"
    if asked is not None:
        rows = np.flatnonzero(table["unit"] == asked).tolist()
        st.session_state[key] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    dead, constant = int(table["dead"].sum()), int((table["constant"] & ~table["dead"]).sum())
    told = f"{len(table):,} {word}s, {dead:,} of them dead (0 for every recorded example)"
    st.caption(told + (f", {constant:,} constant" if constant else "") + ". Choose a row to see what excites it.")
    state: Any = st.dataframe(
        table.rename(columns={"unit": word, "share_active": "above 0"}),
        hide_index=True,
        height=320,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            word: st.column_config.NumberColumn(width=62),
            **dict.fromkeys(("mean", "sd", "low", "high"), _NUMBER),
            "above 0": _SHARE,
            **dict.fromkeys(("dead", "constant"), st.column_config.CheckboxColumn(width=62)),
        },
    )
    rows = state.selection.rows
    best = int(table.sort_values("mean", ascending=False, kind="stable")["unit"].iloc[0])
    return int(table["unit"].iloc[rows[0]]) if rows and rows[0] < len(table) else best


def _excited(scene: Scene, examples: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
    """Draw the examples that excite a unit most, most first."""
    model, labels = scene.model, scene.model.labels
    whole = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
    names = [class_name(model, int(labels[place])) if whole and labels is not None else "" for place in examples]
    if whole:
        counts = Counter(names).most_common(4)
        listed = ", ".join(f"{count} x {esc(name, 40)}" for name, count in counts)
        st.caption(f"The {len(names)} recorded examples that excite it most are {listed}.")
    kind, inputs = input_kind(scene), model.inputs[scene.path]
    if kind == "image":
        ends = value_range(inputs)
        captions = [f"{value:.3g}" + (f" · {name}" if name else "") for value, name in zip(values, names, strict=True)]
        st.image([_framed(picture(inputs[place], ends, side=96)) for place in examples], caption=captions, width=104)
        return
    rows: dict[str, list[Any]] = {"example": [int(place) + 1 for place in examples], "highest value": list(values)}
    if whole:
        rows["label"] = names
    if kind == "tokens":
        known = token_names(model, int(inputs.max(initial=0)) + 1)
        glue = "" if model.vocabulary and all(len(name) == 1 for name in model.vocabulary) else " "
        words = model.vocabulary or known
        rows["text"] = [
            plain(glue.join(words[int(token)] for token in inputs[place][:80] if int(token) < len(words)), 200)
            for place in examples
        ]
    elif kind == "table":
        for column in range(min(inputs.shape[1], 8)):
            name = model.feature_names[column] if column < len(model.feature_names) else f"feature {column}"
            rows[plain(name, 60)] = [float(inputs[place, column]) for place in examples]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"highest value": _NUMBER})


def _framed(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """With a clear edge, so that pictures side by side stand apart."""
    full = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    return np.pad(np.concatenate([rgb, full], axis=2), ((0, 0), (4, 4), (0, 0)))


def _each_in_turn(scene: Scene, recipe: Recipe, node: str, word: str, count: int) -> None:
    """Draw what the recorded examples lose without each unit: what it carries."""
    if not st.toggle(
        f"Ablate each {word} in turn",
        key="inference.units.turn",
        help="Each is replaced by its mean over the recorded examples, one after the other",
    ):
        return
    if count > _MAX_SWEPT:
        st.caption(f"The first {_MAX_SWEPT} of {count:,} {word}s.")
    listed = range(min(count, _MAX_SWEPT))
    edits = [{"edit": "ablate", "node": node, "part": f"{word}:{unit}"} for unit in listed]
    probe = inference_session.ask(scene, "run", recipe)["after"]
    size = sum(value.size for value in probe.values() if isinstance(value, np.ndarray))
    if size * len(edits) > _MAX_SWEPT_VALUES:
        st.caption("The outputs of this model are too large to be compared for every unit.")
        return
    bar = st.empty()

    def told(done: int, _: int | None) -> None:
        bar.progress(done / len(edits), text="Ablating …")

    answer = inference_session.ask(scene, "sweep", recipe, edits=edits, on_progress=told)
    bar.empty()
    before, after = answer["before"], answer["after"]
    if output_kind(scene.model, before) == "classes":
        table = _per_class(scene, before, after, word)
        changes = [name for name in table.columns if name not in (word, "predictions changed")]
        st.dataframe(
            table, hide_index=True, height=390,
            column_config={name: st.column_config.NumberColumn(format="%+.3f") for name in changes},
        )  # fmt: skip
        st.caption(
            "Change of the probability of the right class, on the recorded examples of each class: a large loss says "
            f"that this {word} carries the class. Means of few examples: see the count of each class above."
        )
        return
    change = np.abs(after - before[None]).reshape(len(edits), -1).mean(axis=1)
    st.dataframe(pd.DataFrame({word: list(listed), "mean |change| of the output": change}), hide_index=True, height=390)


def _per_class(scene: Scene, before: Any, after: Any, word: str) -> pd.DataFrame:  # noqa: ANN401 - [N, C], [U, N, C]
    """Mean change of the probability of the right class, one row a unit, one column a class, most harmful first."""
    labels = scene.model.labels
    right = np.asarray(labels if labels is not None else before.argmax(axis=-1), dtype=np.int64)
    rows = np.arange(len(before))
    p = np.exp(log_probabilities(as_logits(before)[0]))[rows, right]
    q = np.exp(log_probabilities(as_logits(after)[0]))[:, rows, right]
    flips = (after.argmax(axis=-1) != before.argmax(axis=-1)).sum(axis=1)
    change = q - p
    classes = np.unique(right)[:_MAX_CLASSES]
    names = unique([f"{class_name(scene.model, int(each))} ({int((right == each).sum())})" for each in classes])
    columns = {name: change[:, right == each].mean(axis=1) for name, each in zip(names, classes, strict=True)}
    first = {word: np.arange(len(after)), "predictions changed": flips, "all": change.mean(axis=1)}
    table = pd.DataFrame({**first, **columns})
    return table.sort_values("all", kind="stable", ignore_index=True)
