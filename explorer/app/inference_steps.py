"""The same example with the weights of every snapshot: how its answer came about in the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from explorer.app import inference_session
from explorer.app.inference_choices import class_name
from explorer.app.inference_output import output_names, unique
from explorer.app.inference_result import are_tags, as_logits, output_kind, shown_classes
from explorer.app.names import esc
from explorer.charts.arrow_stream import stream
from explorer.charts.model_lines import rules_table, steps_spec, steps_table
from explorer.charts.outcome import percent
from explorer.inference.edits.recipe import Recipe
from explorer.inference.outcome import log_probabilities

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene

Steps = npt.NDArray[np.int64]

_AT_ONCE: Final = 6  # snapshots a question
_MAX_STEPS: Final = 60
_MAX_LINES: Final = 6


def steps(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> None:
    """Draw the output of the example over the snapshots, and which examples were learned when."""
    kept = tuple(edit for edit in recipe if edit.on != "weights" and getattr(edit, "step", None) is None)
    if len(scene.steps) < 2:
        st.caption("There is only one snapshot. `rec.snapshots(model, log_spaced=True)` keeps more of them.")
        return
    chosen = chosen_steps(scene)
    bar = st.empty()

    def told(done: int) -> None:
        bar.progress(done / (2 * len(chosen)), text="Running every snapshot …")

    found = over_steps(scene, kept, chosen, scene.inputs(drawn), lambda done: told(done))
    everything = over_steps(scene, (), chosen, None, lambda done: told(len(chosen) + done))
    bar.empty()
    if len(kept) < len(recipe):
        st.caption("Edits of weights belong to one step and are left out here; those of input and activations stay.")
    if len(chosen) < len(scene.steps):
        st.caption(f"{len(chosen)} of {len(scene.steps):,} snapshots, evenly spread.")
    kind = output_kind(scene.model, everything[0])
    at = np.asarray(chosen, dtype=np.int64)
    example = found[:, scene.row]
    if kind == "classes":
        names = [class_name(scene.model, i) for i in range(example.shape[-1])]
        # Nobody has said what a drawing shows.
        label = None if drawn is not None or scene.label is None or scene.label.ndim else int(scene.label)
        _lines(scene, at, as_logits(example)[0], names, label)
        _learned(scene, at, everything.argmax(axis=-1))
    elif kind == "tokens":
        _lines(scene, at, as_logits(example[:, -1])[0], output_names(scene.model, example), None)
        is_next = not are_tags(scene.model, example)
        st.caption("The token that follows the end of the text." if is_next else "The class at the end of the text.")
    else:
        values = example.reshape(len(at), -1)[:, :_MAX_LINES].astype(np.float64)
        _chart(at, unique([f"output {place}" for place in range(values.shape[1])]), values, "output", False)


def chosen_steps(scene: Scene) -> list[int]:
    """The steps that are run: all with a snapshot, or evenly spread ones of them."""
    places = np.unique(np.linspace(0, len(scene.steps) - 1, min(len(scene.steps), _MAX_STEPS)).astype(int))
    return [scene.steps[place] for place in places]


def first_right(steps: Steps, right: npt.NDArray[np.bool_]) -> Steps:
    """The first step at which each example is right, [N] of right [S, N]; -1 where none is."""
    return np.where(right.any(axis=0), steps[right.argmax(axis=0)], -1).astype(np.int64)


def right_since(steps: Steps, right: npt.NDArray[np.bool_]) -> Steps:
    """The step from which each example stays right to the end, [N] of right [S, N]; -1 where the last one is wrong."""
    since = len(right) - np.cumprod(right[::-1], axis=0).sum(axis=0)
    return np.where(since < len(right), steps[np.minimum(since, len(right) - 1)], -1).astype(np.int64)


def over_steps(
    scene: Scene, recipe: Recipe, chosen: list[int], inputs: dict[str, Any] | None, told: Callable[[int], None]
) -> Any:  # noqa: ANN401 - [S, N, ...]
    """A few snapshots a question, so that it can be stopped in between, and each answer is kept."""
    found = []
    for first in range(0, len(chosen), _AT_ONCE):
        some = chosen[first : first + _AT_ONCE]
        answer = inference_session.ask(scene, "scrub", recipe, inputs=inputs, steps=some)
        found.append(answer["outputs"])
        told(first + len(some))
    return np.concatenate(found)


def _lines(scene: Scene, steps: Steps, logits: npt.NDArray[np.float64], names: list[str], label: int | None) -> None:
    probabilities = np.exp(log_probabilities(logits))
    best = np.sort(shown_classes(probabilities.max(axis=0), most=_MAX_LINES))
    if label is not None and label not in best:
        best = np.sort(np.append(best[: _MAX_LINES - 1], label))
    marks: tuple[list[float], list[str]] = ([float(scene.step)], ["this step"])
    first = -1
    if label is not None:
        right = logits.argmax(axis=-1)[:, None] == label
        first = int(first_right(steps, right)[0])
        if first >= 0 and first != scene.step:
            marks[0].append(float(first))
            marks[1].append("first right")
    _chart(steps, unique([names[int(place)] for place in best]), probabilities[:, best], "probability", True, marks)
    predictions = logits.argmax(axis=-1)
    turns = np.flatnonzero(np.diff(predictions) != 0)
    told = (
        "did not change" if not len(turns) else "changed once" if len(turns) == 1 else f"changed {len(turns):,} times"
    )
    started = f"It began as {esc(names[int(predictions[0])], 60)} at step {int(steps[0]):,}"
    ended = f"ended as {esc(names[int(predictions[-1])], 60)}"
    rights = "" if label is None else f" First right at step {first:,}." if first >= 0 else " It was never right."
    st.caption(f"The prediction for this example {told} from one snapshot to the next. {started} and {ended}.{rights}")
    if len(turns):
        rows = {
            "at step": [f"{int(steps[place + 1]):,}" for place in turns],
            "from": [names[int(predictions[place])] for place in turns],
            "to": [names[int(predictions[place + 1])] for place in turns],
        }
        with st.expander("Every change of the prediction", icon=":material/swap_horiz:"):
            st.dataframe(pd.DataFrame(rows), hide_index=True)


def _chart(
    steps: Steps,
    names: list[str],
    values: npt.NDArray[np.float64],
    title: str,
    is_share: bool,
    marks: tuple[list[float], list[str]] = ([], []),
) -> None:
    texts = [percent(float(value)) if is_share else f"{value:.5g}" for value in values.reshape(-1)]
    rows = steps_table(steps, names, values, texts)
    st.vega_lite_chart(
        {
            **steps_spec(tuple(names), title, is_share),
            "datasets": {"steps": stream(rows), "rules": stream(rules_table(*marks))},
        },
        key="inference.steps",
        alt="Outputs for this example over the snapshots, told in numbers by the tooltip",
    )


def _learned(scene: Scene, steps: Steps, predictions: Any) -> None:  # noqa: ANN401 - [S, N]
    labels = scene.model.labels
    if labels is None:
        return
    right = predictions == labels
    first, since = first_right(steps, right), right_since(steps, right)
    flips = (np.diff(predictions, axis=0) != 0).sum(axis=0)

    def told(step: int) -> str:
        return "never" if step < 0 else f"{step:,}"

    with st.expander("When each recorded example was learned, unedited", icon=":material/school:"):
        st.dataframe(
            pd.DataFrame(
                {
                    "example": np.arange(1, len(labels) + 1),
                    "label": [class_name(scene.model, int(label)) for label in labels],
                    "first right at step": [told(int(step)) for step in first],
                    "right to the end since": [told(int(step)) for step in since],
                    "changes of prediction": flips,
                    "last prediction": [class_name(scene.model, int(last)) for last in predictions[-1]],
                }
            ),
            hide_index=True,
            height=390,
        )
