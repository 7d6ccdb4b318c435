"""Which parts of the input an output depends on: signed attributions by methods that are exact on a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st

from explorer.app import inference_session, linked, links
from explorer.app.inference_attribution_map import attribution_map, through_layer
from explorer.app.inference_choices import class_name
from explorer.app.inference_inputs import input_kind
from explorer.app.inference_output import output_names
from explorer.app.inference_places import batched_choices, last_active
from explorer.app.inference_result import are_tags, output_kind
from explorer.app.names import plain
from explorer.inference.edits.recipe import Recipe

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene

_METHODS: Final[Mapping[str, str]] = {
    "integrated_gradients": "Integrated gradients",
    "saliency": "Saliency (gradient)",
    "occlusion": "Occlusion",
    "grad_cam": "Grad-CAM",
    "layer_conductance": "Layer conductance",
    "feature_ablation": "Ablation, one at a time",
}
_HELP: Final = (
    "Integrated gradients add up to the change of the output from the baseline; the gap says how well. Saliency is the "
    "gradient. Occlusion covers 3 x 3 pixels or one feature at a time. Grad-CAM weighs the maps of a layer by their "
    "mean gradients. Layer conductance tells how much of the change goes through each unit of a layer. Methods that "
    "replace gradients of modules (DeepLift, guided backpropagation) cannot be right on operators and are not offered."
)
_STEPS: Final = 32
_MAX_GAP: Final = 0.05
_ONLY_AT: Final = ("grad_cam", "layer_conductance")
_AT_LAYER: Final = (*_ONLY_AT, "integrated_gradients")


def attribution(scene: Scene, recipe: Recipe, drawn: Drawn | None, output: Any) -> None:  # noqa: ANN401 - [N, ...]
    """Draw the attribution of one output to the input that the edited model sees.

    Args:
        scene: what runs.
        recipe: the edits.
        drawn: the example with what was drawn on it; None: nothing was.
        output: of the edited model, [N, ...].
    """
    kind = input_kind(scene)
    if kind == "other" and scene.recorded.dtype.kind != "f":
        st.caption(
            f"This input holds {scene.recorded.dtype}, which nothing can be attributed to"
            + (": choose another input above." if len(scene.paths) > 1 else ".")
        )
        return
    layers = {method: _layers(scene, method, kind) for method in _AT_LAYER}
    methods = _methods(kind, layers)
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
            disabled=method in ("saliency", "grad_cam"), help="What counts as absent",
        )  # fmt: skip
    with columns[3]:
        check = st.toggle(
            "Check with shuffled weights",
            key="inference.check",
            help="An attribution that tells about the model must change when the weights are shuffled, from the output "
            "down (Adebayo et al., 2018).",
        )
    node = _layer(layers[method], method) if method in _AT_LAYER and (kind == "tokens" or method in _ONLY_AT) else None
    answer = inference_session.ask(
        scene,
        "attribute",
        recipe,
        inputs=scene.inputs(drawn),
        method=method,
        path=scene.path,
        target=target,
        baseline=baseline,
        num_steps=_STEPS,
        check=check,
        node=node,
    )
    values = np.asarray(answer["values"][scene.row], dtype=np.float64)
    left, right = st.columns([3, 4], gap="medium")
    with left:
        _tell(answer, scene.row, method)
    with right:
        if method == "layer_conductance":
            through_layer(values)
        else:
            attribution_map(scene, recipe, drawn, values, kind)
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


def _methods(kind: str, layers: Mapping[str, tuple[Mapping[str, str], str]]) -> list[str]:
    """The methods that are exact on such inputs and have what they need."""
    if kind == "tokens":
        return ["feature_ablation", *(["integrated_gradients"] if layers["integrated_gradients"][0] else [])]
    found = ["integrated_gradients", "saliency", "occlusion"]
    found += ["grad_cam"] if kind == "image" and layers["grad_cam"][0] else []
    return found + (["layer_conductance"] if layers["layer_conductance"][0] else [])


def _layers(scene: Scene, method: str, kind: str) -> tuple[Mapping[str, str], str]:
    """Nodes that a method can look at, with their titles, and the one to begin with."""
    rank = {"grad_cam": 4, "integrated_gradients": 3}.get(method)
    choices = batched_choices(scene.model, rank)
    if method == "integrated_gradients":
        # Gradients flow to what stands for the tokens, not to their numbers.
        ops = {node.name: node.op for node in scene.model.program.graph.nodes}
        embeddings = [name for name in choices if "embedding" in ops[name]]
        if kind != "tokens" or not embeddings:
            return {}, ""
        default = embeddings[0]
    elif not choices or (method == "layer_conductance" and not scene.model.runs_single):
        # Conductance differs between steps of the integral, two of which make a batch of twice the size.
        return {}, ""
    else:
        default = last_active(choices)
    return {name: plain(choice.title, 90) for name, choice in choices.items()}, default


def _layer(layers: tuple[Mapping[str, str], str], method: str) -> str:
    words = {
        "grad_cam": "The maps of this layer",
        "layer_conductance": "The units of this layer",
        "integrated_gradients": "Through the layer",
    }
    return linked.select(words[method], links.NODE, layers[0], layers[1])


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
        names = output_names(scene.model, row)
        best, last = row.argmax(axis=-1), len(row) - 1
        where = "at" if are_tags(scene.model, row) else "after"
        titles = {str(last): f"{names[int(best[last])]} {where} the end"}
        titles |= {str(at): f"{names[int(best[at])]} {where} position {at}" for at in range(last - 1, -1, -1)}
        at = int(linked.select("Explain", links.TARGET, titles, str(last)))
        return [at, int(best[at])]
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
    if not np.isfinite(output):
        st.warning(
            "The output is not a number, so there is nothing to explain: see the message beside it.",
            icon=":material/error:",
        )
    elif relative is not None and not relative <= _MAX_GAP:
        st.warning(
            f"The attributions miss {relative:.0%} of the change of the output: do not read small parts of them.",
            icon=":material/warning:",
        )
    if method == "saliency":
        st.caption("A gradient tells what a small change would do, not how much a part adds to the output.")
