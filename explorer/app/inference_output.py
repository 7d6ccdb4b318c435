"""The output of the model for one example: original and edited side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import inference_finite, linked, links
from explorer.app.inference_choices import class_name
from explorer.app.inference_output_image import is_image, output_image
from explorer.app.inference_result import are_tags, as_logits, first_output, output_kind, shown_classes
from explorer.app.inference_scene import output_name
from explorer.app.names import esc, plain
from explorer.charts.arrow_stream import stream
from explorer.charts.outcome import CONTROL, EDITED, ORIGINAL, bars_spec, bars_table, percent
from explorer.inference.outcome import class_change, log_probabilities, token_change, value_change

if TYPE_CHECKING:
    from explorer.app.inference_scene import Scene
    from explorer.inference.plain_model import PlainModel

Labelled = tuple[bool, bool]

_MAX_VALUES: Final = 500
_MAX_NAMES: Final = 20_000
_NUMBER: Final = st.column_config.NumberColumn(format="%.4g")


def output(scene: Scene, answer: Mapping[str, Any], is_edited: bool, labelled: Labelled = (True, True)) -> None:
    """Draw the output of the example.

    Args:
        scene: what was run.
        answer: of the sandbox's `run`: before, after, and controls or no_control.
        is_edited: whether there is anything to compare.
        labelled: whether the original and the edited side see the recorded example, whose label is known.
    """
    found, then = first_output(answer["before"]), first_output(answer["after"])
    if found is None or then is None:
        st.info("The model gives no floating tensor, so there is nothing to draw.")
        return
    path, before, after = _chosen(answer, found[0])
    kind = output_kind(scene.model, before)
    controls = answer.get("controls") if path == found[0] else None
    row = scene.row
    if labelled != (True, True):
        both = "Both sides see the drawing." if not labelled[0] else "Edited is the drawing, original the example."
        st.caption(both)
    inference_finite.warn(before[row], after[row], is_edited)
    if kind == "classes":
        sides = None if controls is None else controls[:, row]
        _classes(scene, before[row], after[row], sides, is_edited, labelled)
    elif kind == "tokens":
        _tokens(scene.model, before[row], after[row], is_edited)
    elif is_image(before) and is_image(after):
        output_image(before[row], after[row], before, is_edited)
    else:
        _values(scene, before, after, row, is_edited)
    if is_edited and answer.get("no_control"):
        st.caption(f"There is no random control: {esc(answer['no_control'], 200)}.")


def _chosen(answer: Mapping[str, Any], first: str) -> tuple[str, Any, Any]:
    """Draw the choice among several outputs; returns the path, and the output of the original and the edited model."""
    before, after = answer["before"], answer["after"]
    paths = [path for path, value in before.items() if _is_floating(value) and _is_floating(after.get(path))]
    path = first
    if len(paths) > 1:
        titles = {each: f"{output_name(each)} {list(before[each].shape[1:])}" for each in paths}
        path = linked.select(
            "Output", links.OUTPUT, titles, first,
            help="What is said about the recorded examples and in the tabs below is about the first one.",
        )  # fmt: skip
    return path, before[path], after[path]


def _is_floating(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim > 0


def _classes(
    scene: Scene,
    before: Any,  # noqa: ANN401 - arrays
    after: Any,  # noqa: ANN401
    controls: Any,  # noqa: ANN401 - [seeds, C] or None
    is_edited: bool,
    labelled: Labelled,
) -> None:
    model = scene.model
    original, likely = as_logits(before)
    edited = as_logits(after)[0]
    change = class_change(original, edited)
    right = None if scene.label is None else int(scene.label)
    drawn = [(ORIGINAL, np.exp(log_probabilities(original)))]
    ends: dict[str, tuple[Any, Any]] = {}
    if is_edited:
        drawn.append((EDITED, np.exp(log_probabilities(edited))))
        if controls is not None:
            sides = np.exp(log_probabilities(as_logits(controls)[0]))
            drawn.append((CONTROL, np.median(sides, axis=0)))
            ends[CONTROL] = (sides.min(axis=0), sides.max(axis=0))
    with st.container(horizontal=True, gap="large"):
        _prediction("Original predicts", model, change.predicted_before, drawn[0][1], right if labelled[0] else None)
        if is_edited:
            _prediction("Edited predicts", model, change.predicted_after, drawn[1][1], right if labelled[1] else None)
            st.metric("KL divergence", f"{change.kl:.3g} nats", help="Of the edited from the original probabilities")
    classes = shown_classes(original, edited)
    names = unique([class_name(model, int(index)) for index in classes])
    conditions = tuple(condition for condition, _ in drawn)
    shown = {condition: (low[classes], high[classes]) for condition, (low, high) in ends.items()}
    rows = bars_table(names, [(condition, found[classes]) for condition, found in drawn], shown)
    title = "probability" if likely else "probability (softmax of the output)"
    st.vega_lite_chart(
        {**bars_spec(conditions, len(names), title), "datasets": {"bars": stream(rows)}},
        key="inference.bars",
        alt="Probability of each class, told in numbers by the table below and the tooltip",
    )
    if controls is not None:
        st.caption(f"Random controls: the middle of {len(controls)} changes of the same size, with the least and most.")
    if len(original) > len(names):
        st.caption(f"The {len(names)} most probable of {len(original):,} classes.")
    with st.expander("Numbers", icon=":material/table:"):
        table = change.table.head(_MAX_NAMES)
        table.insert(1, "label", [class_name(model, int(index)) for index in table["class"]])
        columns = ["label", "logit_before", "probability_before", "rank_before"]
        if is_edited:
            columns = ["label", "logit_before", "logit_after", "logit_change", "probability_before"]
            columns += ["probability_after", "probability_change", "rank_before", "rank_after", "rank_change"]
        st.dataframe(
            table[columns],
            hide_index=True,
            column_config={name: _NUMBER for name in columns[1:] if not name.startswith("rank")},
            height="content" if len(table) <= 10 else 390,
        )


def _prediction(title: str, model: PlainModel, index: int, probabilities: Any, right: int | None) -> None:  # noqa: ANN401
    if np.isnan(probabilities[index]):
        st.metric(title, "no class: NaN")
        return
    verdict = None if right is None else "right" if right == index else f"wrong, it is {class_name(model, right)}"
    st.metric(
        title,
        f"{esc(class_name(model, index), 60)} · {percent(float(probabilities[index]))}",
        delta=None if verdict is None else esc(verdict, 100),
        delta_color="off" if right is None else "normal" if right == index else "inverse",
        delta_arrow="off",
    )


def _tokens(model: PlainModel, before: Any, after: Any, is_edited: bool) -> None:  # noqa: ANN401 - arrays
    original = as_logits(before)[0]
    edited = as_logits(after)[0] if is_edited else original
    names, is_next = output_names(model, original), not are_tags(model, original)
    what = "Next token" if is_next else "Class at the end"
    if original.shape != edited.shape:
        st.caption(
            f"The edited text has {len(edited):,} tokens and the original {len(original):,}: positions cannot be "
            "compared, so only the end is."
        )
        original, edited = original[-1:], edited[-1:]
    table = token_change(original, edited, names)
    last = table.iloc[-1]
    with st.container(horizontal=True, gap="large"):
        st.metric(what, f"{esc(last['token_before'], 70)} · {percent(last['probability_before'])}")
        if is_edited:
            st.metric(f"{what}, edited", f"{esc(last['token_after'], 70)} · {percent(last['probability_after'])}")
            st.metric("Predictions that changed", f"{int(table['flipped'].sum()):,} of {len(table):,}")
            st.metric("Mean KL divergence", f"{table['kl'].mean():.3g} nats")
    table["position"] = table["position"] if len(table) > 1 else "end"
    columns = ["position", "token_before", "probability_before"]
    columns += ["token_after", "probability_after", "probability_kept", "kl", "flipped"] if is_edited else []
    titles = {"token_before": "next token" if is_next else "class", "probability_before": "probability"}
    if is_edited:
        titles = {"token_before": "original", "probability_before": "p (original)", "token_after": "edited"}
        titles |= {"probability_after": "p (edited)", "probability_kept": "p of the original's", "kl": "KL (nats)"}
    # The end of the text is what continues: it stands on top.
    st.dataframe(
        table[columns].iloc[::-1].rename(columns=titles),
        hide_index=True,
        height=390 if len(table) > 10 else "content",
        column_config={titles[name]: _NUMBER for name in columns if name.startswith(("probability", "kl"))},
    )


def _values(scene: Scene, before: Any, after: Any, row: int, is_edited: bool) -> None:  # noqa: ANN401 - arrays
    one, other = (np.ravel(found[row] if found.ndim > 1 else found[row : row + 1]) for found in (before, after))
    if one.shape != other.shape:
        st.caption(f"The edited output has {other.size:,} values and the original {one.size:,}.")
        return
    table = value_change(one, other, unique([f"output {place}" for place in range(len(one))]))
    right = scene.label
    if right is not None and np.size(right) == len(one) and np.asarray(right).dtype.kind in "fiu":
        table.insert(1, "target", np.ravel(right).astype(np.float64))
    if len(one) == 1:
        with st.container(horizontal=True, gap="large"):
            st.metric("Original", f"{one[0]:.5g}")
            if is_edited:
                st.metric("Edited", f"{other[0]:.5g}", delta=f"{other[0] - one[0]:+.3g}", delta_color="off")
            if "target" in table:
                st.metric("Target", f"{table['target'].iloc[0]:.5g}")
        return
    shown = table if is_edited else table.drop(columns=["after", "change", "relative_change"])
    if len(shown) > _MAX_VALUES:
        size = np.abs(other - one) if is_edited else np.abs(one)
        shown = shown.iloc[np.sort(np.argsort(-size, kind="stable")[:_MAX_VALUES])]
        what = "changed most" if is_edited else "are largest"
        st.caption(f"The {_MAX_VALUES} of {len(table):,} values that {what}.")
    numbers = {name: _NUMBER for name in shown.columns if name != "name"}
    st.dataframe(
        shown.rename(columns={"before": "original", "after": "edited"}), hide_index=True, column_config=numbers
    )


def output_names(model: PlainModel, output: Any) -> list[str]:  # noqa: ANN401 - [..., V]
    """A readable name for each score of a position: of a token, or of a class where positions have classes."""
    return list(model.class_names) if are_tags(model, output) else token_names(model, output.shape[-1])


def token_names(model: PlainModel, count: int) -> list[str]:
    """A readable name for each token: quotes show spaces and line ends; numbers where there is no vocabulary."""
    known = [repr(plain_token(name)) for name in model.vocabulary[:count]]
    return known + [str(index) for index in range(len(known), count)]


def plain_token(name: str) -> str:
    """A token that fits a cell."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def unique(names: Sequence[str]) -> list[str]:
    """The same names; those that occur again get their place, so that a chart keeps them apart."""
    seen: set[str] = set()
    out = []
    for place, name in enumerate(names):
        out.append(plain(name, 60) if name not in seen else f"{plain(name, 50)} ({place})")
        seen.add(name)
    return out
