"""What the edits do to all recorded examples, since a single one misleads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import streamlit as st

from explorer.app import inference_session
from explorer.app.inference_choices import class_name
from explorer.app.inference_result import as_logits, first_output, output_kind
from explorer.app.names import esc
from explorer.inference.edits.recipe import Recipe
from explorer.inference.outcome import ProbeEffect, probe_effect, value_effect

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene

_MAX_ROWS: Final = 200


def effect(scene: Scene, recipe: Recipe) -> None:
    """Draw accuracy, flips and change over the recorded examples, with a random control of the same size beside."""
    common = tuple(edit for edit in recipe if edit.on != "inputs")
    if not common:
        if recipe:
            st.caption("Edits of the input change this example only; the recorded examples stay as they are.")
        return
    answer = inference_session.ask(scene, "run", common, control=0)
    found, then = first_output(answer["before"]), first_output(answer["after"])
    if found is None or then is None:
        return
    control = first_output(answer.get("control") or {})
    before, after = found[1], then[1]
    count = scene.model.num_examples
    st.markdown(f"**On the {count:,} recorded examples**")
    kind = output_kind(scene.model, before)
    if kind == "values":
        _values(scene, before, after, control)
        return
    labels = _labels(scene, before)
    change = probe_effect(as_logits(before)[0], as_logits(after)[0], labels)
    other = None if control is None else probe_effect(as_logits(before)[0], as_logits(control[1])[0], labels)
    _numbers(change, other, "positions" if kind == "tokens" else "examples")
    if kind == "classes":
        _flips(scene, before, after)
    if count < 50:
        st.caption(f"Only {count} examples: one of them is {1 / count:.0%} of the accuracy.")
    if control is None and answer.get("no_control"):
        st.caption(f"There is no random control: {esc(answer['no_control'], 200)}.")


def _numbers(change: ProbeEffect, control: ProbeEffect | None, what: str) -> None:
    rows: dict[str, list[str]] = {"": ["edited"] + (["random control"] if control else [])}
    both = [change] + ([control] if control else [])
    if change.accuracy_before is not None:
        rows["accuracy, original"] = [f"{found.accuracy_before:.1%}" for found in both]
        rows["accuracy"] = [f"{found.accuracy_after:.1%}" for found in both]
        rows["became right"] = [f"{found.num_fixed:,}" for found in both]
        rows["became wrong"] = [f"{found.num_broken:,}" for found in both]
    rows["predictions changed"] = [f"{found.num_flips:,} of {found.num_examples:,} {what}" for found in both]
    rows["mean KL (nats)"] = [f"{found.mean_kl:.3g}" for found in both]
    rows["moved by over 1 %"] = [f"{found.share_affected:.0%}" for found in both]
    _turned(rows)


def _flips(scene: Scene, before: Any, after: Any) -> None:  # noqa: ANN401 - arrays
    first, then = before.argmax(axis=1), after.argmax(axis=1)
    flipped = np.flatnonzero(first != then)[:_MAX_ROWS]
    if not len(flipped):
        return
    labels = scene.model.labels
    rows: Mapping[str, list[Any]] = {
        "example": [int(place) + 1 for place in flipped],
        **({} if labels is None else {"label": [class_name(scene.model, int(labels[place])) for place in flipped]}),
        "original": [class_name(scene.model, int(first[place])) for place in flipped],
        "edited": [class_name(scene.model, int(then[place])) for place in flipped],
    }
    with st.expander(
        "1 changed prediction" if len(flipped) == 1 else f"{len(flipped)} changed predictions",
        icon=":material/swap_horiz:",
    ):
        st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(flipped) < 12 else 390)


def _values(scene: Scene, before: Any, after: Any, control: Any) -> None:  # noqa: ANN401 - arrays
    labels = scene.model.labels
    targets = labels if labels is not None and labels.size == before.size and labels.dtype.kind in "fiu" else None
    rows: dict[str, list[str]] = {"": [], "mean change": [], "mean |change|": [], "largest": []}
    if targets is not None:
        rows |= {"RMSE, original": [], "RMSE": []}
    for name, found in (("edited", after), ("random control", None if control is None else control[1])):
        if found is None or found.shape != before.shape:
            continue
        change = value_effect(before, found, targets)
        numbers = [change.mean_change, change.mean_absolute_change, change.largest_change]
        numbers += [each for each in (change.error_before, change.error_after) if each is not None]
        for column, text in zip(rows, [name, *(f"{number:.4g}" for number in numbers)], strict=True):
            rows[column].append(text)
    _turned(rows)


def _turned(rows: Mapping[str, list[str]]) -> None:
    """One line a quantity, one column a condition: narrow columns of the page hold it."""
    table = pd.DataFrame(rows).set_index("").T.reset_index(names="quantity")
    st.dataframe(table, hide_index=True, height="content")


def _labels(scene: Scene, before: Any) -> Any:  # noqa: ANN401 - arrays
    """Labels that fit the predictions; None where they are something else."""
    labels = scene.model.labels
    fits = labels is not None and labels.shape == before.shape[:-1] and labels.dtype.kind in "iu"
    return labels if fits else None
