"""What the edits do to all recorded examples, since a single one misleads, beside random edits of the same size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
_NUM_CONTROLS: Final = 20


def effect(scene: Scene, recipe: Recipe) -> None:
    """Draw accuracy, flips and change over the recorded examples, with random controls of the same size beside."""
    common = tuple(edit for edit in recipe if edit.on != "inputs")
    if not common:
        if recipe:
            st.caption("Edits of the input change this example only; the recorded examples stay as they are.")
        return
    answer = inference_session.ask(scene, "run", common, controls=_NUM_CONTROLS)
    found, then = first_output(answer["before"]), first_output(answer["after"])
    if found is None or then is None:
        return
    controls = answer.get("controls", ())
    before, after = found[1], then[1]
    count = scene.model.num_examples
    st.markdown(f"**On the {count:,} recorded examples**")
    kind = output_kind(scene.model, before)
    if kind == "values":
        _values(scene, before, after, controls)
        return
    labels = _labels(scene, before)
    change = probe_effect(as_logits(before)[0], as_logits(after)[0], labels)
    others = [probe_effect(as_logits(before)[0], as_logits(control)[0], labels) for control in controls]
    _numbers(change, others, "positions" if kind == "tokens" else "examples")
    if kind == "classes":
        _flips(scene, before, after)
    if count < 50:
        st.caption(f"Only {count} examples: one of them is {1 / count:.0%} of the accuracy.")
    if answer.get("no_control"):
        st.caption(f"There is no random control: {esc(answer['no_control'], 200)}.")


def _numbers(change: ProbeEffect, controls: Sequence[ProbeEffect], what: str) -> None:
    rows: dict[str, list[str]] = {}

    def row(name: str, value: Callable[[ProbeEffect], float], text: Callable[[float], str]) -> None:
        rows[name] = [text(value(change))] + ([spread([value(each) for each in controls], text)] if controls else [])

    if change.accuracy_before is not None:
        row("accuracy, original", lambda found: found.accuracy_before or 0.0, "{:.1%}".format)
        row("accuracy", lambda found: found.accuracy_after or 0.0, "{:.1%}".format)
        row("became right", lambda found: found.num_fixed or 0, "{:,}".format)
        row("became wrong", lambda found: found.num_broken or 0, "{:,}".format)
    row(f"predictions changed, of {change.num_examples:,} {what}", lambda found: found.num_flips, "{:,}".format)
    row("mean KL (nats)", lambda found: found.mean_kl, "{:.2g}".format)
    row("moved by over 1 %", lambda found: found.share_affected, "{:.0%}".format)
    _table(rows, len(controls))
    _against(change.mean_kl, [each.mean_kl for each in controls])


def spread(values: Sequence[float], text: Callable[[float], str]) -> str:
    """The median of values, and their ends where they differ.

    >>> spread([3.0, 1.0, 2.0], "{:g}".format), spread([2.0, 2.0], "{:g}".format)
    ('2 (1 to 3)', '2')
    """
    ordered = sorted(values)
    ends = text(ordered[0]), text(ordered[-1])
    middle = text(ordered[len(ordered) // 2])
    return middle if ends[0] == ends[1] else f"{middle} ({ends[0]} to {ends[1]})"


def _table(rows: Mapping[str, list[str]], num_controls: int) -> None:
    """One line a quantity, one column a condition: narrow columns of the page hold it."""
    columns = ["edited", *([f"{num_controls} random controls"] if num_controls else [])]
    table = pd.DataFrame.from_dict(dict(rows), orient="index", columns=columns).reset_index(names="quantity")
    st.dataframe(table, hide_index=True, height="content")


def _against(size: float, controls: Sequence[float]) -> None:
    """Say how the edit stands among random ones: what any change of this size does is not what this edit does."""
    if controls and math.isfinite(size):
        less = sum(each < size for each in controls)
        st.caption(
            f"The edit changes the outputs more than {less} of {len(controls)} random controls do: changes of the same "
            "size at other places. The middle one is told, with the least and the most."
        )


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


def _values(scene: Scene, before: Any, after: Any, controls: Any) -> None:  # noqa: ANN401 - arrays
    labels = scene.model.labels
    targets = labels if labels is not None and labels.size == before.size and labels.dtype.kind in "fiu" else None
    if after.shape != before.shape:
        st.caption("The edited outputs have another shape, so they cannot be compared.")
        return
    change = value_effect(before, after, targets)
    others = [value_effect(before, control, targets) for control in controls]
    names = {"mean change": "mean_change", "mean |change|": "mean_absolute_change", "largest": "largest_change"}
    if targets is not None:
        names |= {"RMSE, original": "error_before", "RMSE": "error_after"}
    rows = {}
    for name, field in names.items():
        rows[name] = [f"{getattr(change, field):.4g}"]
        rows[name] += [spread([getattr(each, field) for each in others], "{:.4g}".format)] if others else []
    _table(rows, len(others))
    _against(change.mean_absolute_change, [each.mean_absolute_change for each in others])


def _labels(scene: Scene, before: Any) -> Any:  # noqa: ANN401 - arrays
    """Labels that fit the predictions; None where they are something else."""
    labels = scene.model.labels
    fits = labels is not None and labels.shape == before.shape[:-1] and labels.dtype.kind in "iu"
    return labels if fits else None
