"""One number moved over its range: a feature, a shift, the size of an edit; and every token in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from explorer.app import inference_session, linked, links
from explorer.app.inference_choices import class_name
from explorer.app.inference_inputs import input_kind
from explorer.app.inference_output import output_names, token_names, unique
from explorer.app.inference_result import are_tags, as_logits, output_kind, shown_classes
from explorer.app.inference_token_edits import edited_tokens, vocabulary_of
from explorer.app.names import esc, plain
from explorer.charts.arrow_stream import stream
from explorer.charts.model_lines import rules_table, steps_table, sweep_spec
from explorer.charts.outcome import percent
from explorer.charts.pixels import value_range
from explorer.inference.edits.recipe import Recipe
from explorer.inference.outcome import kl_divergence, log_probabilities

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene

Floats = npt.NDArray[np.float64]

_NUM_VALUES: Final = 41
_MAX_SWEPT: Final = 500
_MAX_LINES: Final = 6
_MAX_TOKENS: Final = 1_000
_MAX_OUTPUT_VALUES: Final = 20_000_000
# Numbers of edits, with the ends between which they are moved.
_FIELDS: Final[dict[str, tuple[float, float]]] = {
    "factor": (-1.0, 2.0),
    "share": (0.0, 1.0),
    "t": (0.0, 1.0),
    "relative_sd": (0.0, 1.0),
}


@dataclass(frozen=True)
class Swept:
    """What can be moved.

    Attributes:
        title: for people.
        values: that it takes.
        held: the edit as plain data, without the number that is moved.
        field: name of that number.
        is_whole: whether it is a whole number.
        now: where it stands in the example; None: nowhere.
        at: place in the recipe whose edit these replace; None: they come last.
    """

    title: str
    values: Floats
    held: Mapping[str, Any]
    field: str
    is_whole: bool = False
    now: float | None = None
    at: int | None = None

    def edits(self) -> list[dict[str, Any]]:
        """The edit for each of the values."""
        numbers = [int(value) if self.is_whole else float(value) for value in self.values]
        return [{**self.held, self.field: number} for number in numbers]


def sweep(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> None:
    """Draw the output of the example over the range of one number."""
    found = {**_of_input(scene, recipe), **_of_edits(recipe)}
    kind = input_kind(scene)
    titles = {key: each.title for key, each in found.items()}
    if kind == "tokens":
        titles = {"token": "every token in one place", **titles}
    if not titles:
        st.caption("Add an edit with a number, such as a scale: its size is what can be moved for such inputs.")
        return
    if kind == "table" and len(scene.recorded) > _MAX_SWEPT:
        st.caption(f"The first {_MAX_SWEPT} of {len(scene.recorded):,} features can be moved here.")
    key = linked.select(
        "Move", links.SWEPT, {key: plain(title, 90) for key, title in titles.items()}, next(iter(titles))
    )
    if key == "token":
        _tokens(scene, recipe)
        return
    swept = found[key]
    rest = recipe if swept.at is None else (*recipe[: swept.at], *recipe[swept.at + 1 :])
    place = {} if swept.at is None else {"at": swept.at}
    after = _answers(scene, rest, drawn, swept.edits(), **place)[:, scene.row]
    _curve(scene, swept, after)


def _of_input(scene: Scene, recipe: Recipe) -> dict[str, Swept]:
    """Numbers of the input: the features of a row; shifts, blur and noise of an image."""
    kind, path = input_kind(scene), scene.edit_path
    of = {"input": path} if path else {}
    found: dict[str, Swept] = {}
    if kind == "table":
        table = np.asarray(scene.model.inputs[scene.path], dtype=np.float64)
        names = scene.model.feature_names
        for place in range(min(table.shape[1], _MAX_SWEPT)):
            column = table[:, place][np.isfinite(table[:, place])]
            low, high = (float(column.min()), float(column.max())) if column.size else (0.0, 0.0)
            margin = (high - low) / 4 or 1.0
            name = names[place] if place < len(names) else f"feature {place}"
            now = next(
                (float(edit.to_dict()["value"] or 0) for edit in reversed(recipe)
                 if edit.kind == "feature" and edit.to_dict().get("feature", 0) == place
                 and edit.to_dict().get("input", "") in ("", scene.path)),
                float(scene.recorded[place]),
            )  # fmt: skip
            found[f"feature.{place}"] = Swept(
                name,
                np.linspace(low - margin, high + margin, _NUM_VALUES),
                {"edit": "feature", "feature": place, **of},
                "value",
                now=now,
            )
    if kind == "image":
        height, width = scene.recorded.shape[-2:]
        low, high = value_range(scene.model.inputs[scene.path])
        for key, title, reach in (("right", "shift to the right", width // 2), ("down", "shift down", height // 2)):
            values = np.unique(np.linspace(-reach, reach, _NUM_VALUES).round())
            found[key] = Swept(f"{title} (pixels)", values, {"edit": "shift", **of}, key, is_whole=True, now=0.0)
        for by, title, most in (
            ("blur", "blur (pixels)", max(height, width) / 8),
            ("noise", "noise (standard deviation)", high - low),
        ):
            found[by] = Swept(
                title,
                np.linspace(0, most, _NUM_VALUES),
                {"edit": "box", "by": by, **of},
                "amount",
                now=0.0,
            )
    return found


def _of_edits(recipe: Recipe) -> dict[str, Swept]:
    """Numbers of the edits in the recipe, each moved where it stands."""
    found: dict[str, Swept] = {}
    for place, edit in enumerate(recipe):
        held = edit.to_dict()
        for field, (low, high) in _FIELDS.items():
            if field in held:
                found[f"edit.{place}.{field}"] = Swept(
                    f"{field} of edit {place + 1}: {edit.describe()}",
                    np.linspace(low, high, _NUM_VALUES),
                    held,
                    field,
                    now=float(held[field] or 0),
                    at=place,
                )
    return found


def _answers(scene: Scene, recipe: Recipe, drawn: Drawn | None, edits: list[dict[str, Any]], **more: Any) -> Any:  # noqa: ANN401
    bar = st.empty()

    def told(done: int, _: int | None) -> None:
        bar.progress(done / len(edits), text="Moving …")

    inputs = scene.inputs(drawn)
    answer = inference_session.ask(scene, "sweep", recipe, inputs=inputs, edits=edits, on_progress=told, **more)
    bar.empty()
    return answer["after"]


def _curve(scene: Scene, swept: Swept, after: Any) -> None:  # noqa: ANN401 - [values, ...]
    kind = output_kind(scene.model, after)
    is_share = kind in ("classes", "tokens")
    if is_share:
        logits = as_logits(after if kind == "classes" else after[:, -1])[0]
        probabilities = np.exp(log_probabilities(logits))
        best = np.sort(shown_classes(probabilities.max(axis=0), most=_MAX_LINES))
        tokens = output_names(scene.model, logits) if kind == "tokens" else []
        names = [tokens[int(k)] if tokens else class_name(scene.model, int(k)) for k in best]
        values = probabilities[:, best]
        turns = int((np.diff(logits.argmax(axis=-1)) != 0).sum())
    else:
        values = after.reshape(len(after), -1)[:, :_MAX_LINES].astype(np.float64)
        names = [f"output {place}" for place in range(values.shape[1])]
        turns = 0
    title = "probability" if is_share else "output"
    texts = [percent(float(value)) if is_share else f"{value:.5g}" for value in values.reshape(-1)]
    names = unique(names)
    now = [] if swept.now is None or not swept.values[0] <= swept.now <= swept.values[-1] else [swept.now]
    st.vega_lite_chart(
        {
            **sweep_spec(tuple(names), plain(swept.title, 120), title, is_share),
            "datasets": {
                "steps": stream(steps_table(swept.values, names, values, texts)),
                "rules": stream(rules_table(now, ["now"] * len(now))),
            },
        },
        key="inference.sweep",
        alt="Outputs over the range of what is moved, told in numbers by the tooltip",
    )
    if is_share:
        st.caption(f"The prediction changes {'once' if turns == 1 else f'{turns:,} times'} over this range.")


def _tokens(scene: Scene, recipe: Recipe) -> None:
    """Draw what every token of the vocabulary would do in one place of the text."""
    tokens = edited_tokens([int(token) for token in scene.recorded], recipe, scene.path)
    vocabulary = vocabulary_of(scene)
    count = len(vocabulary) or int(scene.model.inputs[scene.path].max(initial=0)) + 1
    names = unique(token_names(scene.model, count) if vocabulary else [str(token) for token in range(count)])
    options = list(range(len(tokens)))
    place = st.select_slider(
        "Position", options, value=options[-1], key=f"inference.sweep.position.{len(tokens)}",
        format_func=lambda at: f"{at}: {names[tokens[at]] if tokens[at] < len(names) else tokens[at]}",
    ) if len(options) > 1 else 0  # fmt: skip
    if count > _MAX_TOKENS:
        st.caption(f"The first {_MAX_TOKENS:,} of {count:,} tokens.")
        count = _MAX_TOKENS
    of = {"input": scene.edit_path} if scene.edit_path else {}
    edits = [{"edit": "replace_token", "position": int(place), "token": token, **of} for token in range(count)]
    before = inference_session.ask(scene, "run", recipe, inputs=scene.inputs())["after"]
    size = max((value.size for value in before.values() if isinstance(value, np.ndarray)), default=0)
    if size * count > _MAX_OUTPUT_VALUES:
        st.caption("The outputs of this model are too large to be compared for every token.")
        return
    after = _answers(scene, recipe, None, edits)[:, scene.row]
    kind = output_kind(scene.model, after)
    if kind == "values":
        flat = after.reshape(count, -1)
        rows = {"token": names[:count], **{f"output {k}": flat[:, k] for k in range(min(flat.shape[1], _MAX_LINES))}}
        st.dataframe(pd.DataFrame(rows), hide_index=True, height=390)
        return
    logits = as_logits(after if kind == "classes" else after[:, -1])[0]
    now = logits[tokens[int(place)]] if tokens[int(place)] < count else logits[0]
    best = logits.argmax(axis=-1)
    known = output_names(scene.model, logits) if kind == "tokens" else []
    table = pd.DataFrame(
        {
            "token here": names[:count],
            "prediction": [known[int(k)] if known else class_name(scene.model, int(k)) for k in best],
            "probability": np.exp(log_probabilities(logits))[np.arange(count), best],
            "KL (nats)": kl_divergence(np.broadcast_to(now, logits.shape), logits),
        }
    ).sort_values("KL (nats)", ascending=False, kind="stable")
    number = st.column_config.NumberColumn(format="%.4g")
    st.dataframe(table, hide_index=True, height=390, column_config={"probability": number, "KL (nats)": number})
    changed = int((best != now.argmax()).sum())
    is_next = kind == "tokens" and not are_tags(scene.model, logits)
    what = "the next token after the end" if is_next else "the prediction"
    st.caption(f"{changed:,} of {count:,} tokens at position {esc(place)} would change {what}.")
