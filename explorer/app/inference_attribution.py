"""Which parts of the input an output depends on: signed attributions by methods that are exact on a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import inference_session, linked, links
from explorer.app.inference_choices import class_name
from explorer.app.inference_inputs import input_kind
from explorer.app.inference_output import token_names, unique
from explorer.app.inference_result import output_kind
from explorer.app.inference_tokens import edited_tokens
from explorer.charts.arrow_stream import stream
from explorer.charts.model_lines import scores_spec, scores_table
from explorer.charts.pixels import picture, signed, value_range
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Array, Scene

# chartDivergingColors of .streamlit/config.toml: below 0 first.
_LIGHT: Final = (
    *("#1d5fd1", "#4f84dc", "#86aae7", "#b9cff2", "#e6eefa"),
    *("#fbeadb", "#f6cda0", "#efaa60", "#e78a27", "#c96a00"),
)
_DARK: Final = (
    *("#6aa9ff", "#5187cc", "#3a6699", "#294869", "#1c2c3e"),
    *("#3b2c1b", "#664726", "#996632", "#cc8436", "#ffa02e"),
)
_METHODS: Final[Mapping[str, str]] = {
    "integrated_gradients": "Integrated gradients",
    "saliency": "Saliency (gradient)",
    "occlusion": "Occlusion",
    "feature_ablation": "Ablation, one at a time",
}
_HELP: Final = (
    "Integrated gradients add up to the change of the output from the baseline; the gap says how well. Saliency is the "
    "gradient. Occlusion covers 3 x 3 pixels or one feature at a time. Methods that replace gradients of modules "
    "(DeepLift, guided backpropagation) cannot be right on operators and are not offered."
)
_STEPS: Final = 32
_MAX_GAP: Final = 0.05
_MAX_ROWS: Final = 200


def attribution(scene: Scene, recipe: Recipe, drawn: Array | None, output: Any) -> None:  # noqa: ANN401 - [N, ...]
    """Draw the attribution of one output to the input that the edited model sees.

    Args:
        scene: what runs.
        recipe: the edits.
        drawn: the example with what was drawn on it; None: nothing was.
        output: of the edited model, [N, ...].
    """
    kind = input_kind(scene)
    methods = ["feature_ablation"] if kind == "tokens" else ["integrated_gradients", "saliency", "occlusion"]
    if not scene.model.runs_single and kind != "tokens":
        # The batch that integrated gradients need has another size than the one that was captured.
        methods = ["saliency", "occlusion"]
        st.caption("The model was recorded for one batch size only, so integrated gradients cannot be computed.")
    columns = st.columns([2, 2, 2, 3], vertical_alignment="bottom")
    with columns[0]:
        method = linked.select("Method", links.METHOD, {each: _METHODS[each] for each in methods}, methods[0],
                               help=_HELP)  # fmt: skip
    with columns[1]:
        target = _target(scene, output)
    baselines = {
        "zero": "token 0" if kind == "tokens" else "zero",
        **({"mean": "mean of the examples"} if kind != "tokens" else {}),
    }
    baselines |= {"blur": "blurred"} if kind == "image" and scene.recorded.ndim == 3 else {}
    with columns[2]:
        baseline = st.selectbox(
            "Baseline", list(baselines), format_func=baselines.__getitem__, key="inference.baseline",
            disabled=method == "saliency", help="What counts as absent",
        )  # fmt: skip
    with columns[3]:
        check = st.toggle(
            "Check with shuffled weights",
            key="inference.check",
            help="An attribution that tells about the model must change when the weights are shuffled, from the output "
            "down (Adebayo et al., 2018).",
        )
    answer = inference_session.ask(
        scene,
        "attribute",
        recipe,
        inputs=scene.inputs(drawn),
        method=method,
        target=target,
        baseline=baseline,
        num_steps=_STEPS,
        check=check,
    )
    values = np.asarray(answer["values"][scene.row], dtype=np.float64)
    left, right = st.columns([3, 4], gap="medium")
    with left:
        _tell(answer, scene.row, method)
    with right:
        _draw(scene, recipe, drawn, values, kind)
    if check:
        with left:
            st.dataframe(
                answer["check"].rename(columns={"num_shuffled": "tensors shuffled",
                                                "signed_rank_correlation": "rank correlation",
                                                "absolute_rank_correlation": "of magnitudes"}),
                hide_index=True,
                column_config={name: st.column_config.NumberColumn(format="%.2f")
                               for name in ("rank correlation", "of magnitudes")},
            )  # fmt: skip
            st.caption("Near 1 with all tensors shuffled: the map tells about the input, not about what was learned.")


def _target(scene: Scene, output: Any) -> int | list[int] | None:  # noqa: ANN401 - [N, ...]
    """Draw the choice of what is explained: the prediction, unless the link says another class."""
    kind = output_kind(scene.model, output)
    row = output[scene.row]
    if kind == "classes":
        predicted = int(row.argmax())
        titles = {str(index): class_name(scene.model, index) for index in range(min(len(row), 2_000))}
        default = str(predicted)
        titles[default] = f"{class_name(scene.model, predicted)} (predicted)"
        return int(linked.select("Explain", links.TARGET, titles, default))
    if kind == "tokens":
        names = token_names(scene.model, row.shape[-1])
        token = int(row[-1].argmax())
        st.text_input("Explain", f"{names[token]} after the end", disabled=True)
        return [len(row) - 1, token]
    size = int(np.prod(row.shape))
    if size == 1:
        st.text_input("Explain", "the output", disabled=True)
        return None if output.ndim == 1 else 0 if output.ndim == 2 else [0] * (output.ndim - 1)
    place = int(linked.select("Explain", links.TARGET, [str(k) for k in range(min(size, 2_000))], "0"))
    index = [int(part) for part in np.unravel_index(place, row.shape)]
    return index[0] if len(index) == 1 else index


def _tell(answer: Mapping[str, Any], row: int, method: str) -> None:
    output = float(answer["output"][row])
    with st.container(horizontal=True, gap="large"):
        st.metric("Output explained", f"{output:.4g}", help="The model's own number for it, before any softmax")
        if answer.get("baseline_output") is not None:
            st.metric("At the baseline", f"{float(answer['baseline_output'][row]):.4g}")
        gap = answer.get("gap")
        if gap is not None:
            st.metric("Completeness gap", f"{float(gap[row]):.2g}", help="Sum of the attributions less the change")
    relative = answer.get("relative_gap")
    if relative is not None and not relative <= _MAX_GAP:
        st.warning(
            f"The attributions miss {relative:.0%} of the change of the output: do not read small parts of them.",
            icon=":material/warning:",
        )
    if method == "saliency":
        st.caption("A gradient tells what a small change would do, not how much a part adds to the output.")


def _draw(scene: Scene, recipe: Recipe, drawn: Array | None, values: Any, kind: str) -> None:  # noqa: ANN401
    colours = _DARK if st.context.theme.type == "dark" else _LIGHT
    if kind == "image":
        flat = values.sum(axis=0) if values.ndim == 3 else values
        seen = scene.recorded if drawn is None else drawn
        left, right = st.columns(2)
        left.image(picture(seen, value_range(scene.model.inputs[scene.path]), side=260), caption="Input")
        right.image(signed(flat, colours, side=260), caption="Attribution")
        largest = float(np.abs(flat[np.isfinite(flat)]).max(initial=0.0))
        st.caption(f"Orange speaks for the output, blue against it; full colour is {largest:.3g} in size.")
        return
    if kind == "tokens":
        tokens = edited_tokens([int(token) for token in scene.recorded], recipe, scene.path)
        known = token_names(scene.model, max([*tokens, 0]) + 1)
        names = unique([f"{place}: {known[token]}" for place, token in enumerate(tokens)])
    else:
        listed = scene.model.feature_names
        names = unique([listed[k] if k < len(listed) else f"feature {k}" for k in range(values.size)])
    scores = values.reshape(-1)
    if len(names) != len(scores):
        st.caption("There is no view for an attribution of this shape.")
        return
    order = np.arange(len(scores)) if len(scores) <= _MAX_ROWS else np.sort(np.argsort(-np.abs(scores))[:_MAX_ROWS])
    rows = scores_table([names[place] for place in order], scores[order])
    st.vega_lite_chart(
        {**scores_spec(len(order), "attribution", (colours[0], colours[-1])), "datasets": {"scores": stream(rows)}},
        key="inference.scores",
        alt="Attribution of each part of the input, told in numbers by the tooltip",
    )
