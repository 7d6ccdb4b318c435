"""The forms that add an edit of weights or activations to the recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from explorer.app import inference_recipe, shell
from explorer.app.inference_part import part
from explorer.app.inference_places import node_choices, weight_choices
from explorer.app.names import plain, run_labels
from explorer.inference.edits.kinds.activations import ABLATE_BY
from explorer.inference.edits.kinds.weights import ROUND_TO
from explorer.inference.edits.recipe import Recipe
from explorer.reading.runs import open_run

if TYPE_CHECKING:
    from explorer.app.inference_scene import Drawn, Scene

Fields = dict[str, Any]

_WEIGHTS: Final[Mapping[str, str]] = {
    "scale": "Scale",
    "zero": "Set to zero",
    "set": "Set to a value",
    "prune": "Prune the smallest",
    "noise": "Add noise",
    "round": "Round to 8 bits",
    "low_rank": "Reduce the rank",
    "reset": "Reset to the first snapshot",
    "take": "Take from another step",
    "interpolate": "Move towards another step",
}
_ACTIVATIONS: Final[Mapping[str, str]] = {
    "ablate": "Ablate",
    "scale_activation": "Scale",
    "clamp_activation": "Clamp",
    "patch": "Patch from elsewhere",
}
_BY: Final[Mapping[str, str]] = {
    "mean": "its mean over the examples",
    "zero": "zero",
    "resample": "other examples' values",
}


def weight_form(scene: Scene) -> None:
    """Draw the form for an edit of weights."""
    places = weight_choices(scene.model)
    left, right = st.columns(2)
    kind = left.selectbox("Edit", list(_WEIGHTS), format_func=_WEIGHTS.__getitem__, key="inference.weight_edit")
    target = right.selectbox(
        "Weights", list(places), format_func=lambda name: plain(places[name], 90), key="inference.weight_target"
    )
    index = ""
    if target in {weight.name for weight in scene.model.program.weights.values()}:
        index = left.text_input(
            "Only at index",
            key="inference.weight_index",
            placeholder="all",
            help="`3` is row 3, `:,2` is column 2, `3,2` is one element; empty is the whole tensor.",
        )
    fields = _weight_fields(scene, kind, right)
    place = f"{target}[{index.strip().strip('[]').replace(' ', '')}]" if index.strip() else target
    _add(lambda: {"edit": kind, "target": place, **fields}, "weights")


def activation_form(scene: Scene, recipe: Recipe, drawn: Drawn | None) -> None:
    """Draw the form for an edit of activations; parts are picked in a picture of the value as it is now."""
    choices = node_choices(scene.model)
    if not choices:
        st.caption("This program has no floating values between its operators.")
        return
    left, right = st.columns(2)
    kind = left.selectbox("Edit", list(_ACTIVATIONS), format_func=_ACTIVATIONS.__getitem__, key="inference.act_edit")
    node = right.selectbox(
        "Value",
        list(choices),
        format_func=lambda name: plain(choices[name].title, 90),
        key="inference.act_node",
        help="The outputs of modules come first, then the values of single operators.",
    )
    chosen = part(scene, recipe, drawn, node, choices[node])
    fields = _activation_fields(scene, kind)
    _add(lambda: {"edit": kind, "node": node, "part": chosen, **fields}, "activations", ready=chosen is not None)


def _weight_fields(scene: Scene, kind: str, where: Any) -> Fields:  # noqa: ANN401 - a column
    if kind == "scale":
        return {"factor": where.number_input("Factor", value=0.5, step=0.1, key="inference.w.factor")}
    if kind == "set":
        return {"value": where.number_input("Value", value=0.0, step=0.1, key="inference.w.value")}
    if kind == "prune":
        return {"share": where.slider("Share that becomes zero", 0.0, 1.0, 0.5, key="inference.w.share")}
    if kind == "noise":
        size = where.number_input("Size, relative to the weights", 0.0, 1e6, 0.1, step=0.05, key="inference.w.sd")
        return {"relative_sd": size, "seed": _seed("w")}
    if kind == "round":
        to = where.selectbox("To", ROUND_TO, key="inference.w.to")
        return {"to": to, "scales": where.selectbox("One scale for each", ("tensor", "channel"), key="inference.w.sc")}
    if kind == "low_rank":
        return {"rank": where.number_input("Rank", 0, 100_000, 1, key="inference.w.rank")}
    if kind in ("take", "interpolate"):
        found = _source(scene, where, where, "w")
        if kind == "take":
            return found
        return {**found, "t": where.slider("How far", 0.0, 1.0, 0.5, key="inference.w.t")}
    return {}


def _activation_fields(scene: Scene, kind: str) -> Fields:
    columns = st.columns(3)
    if kind == "ablate":
        by = columns[0].selectbox("By", ABLATE_BY, format_func=_BY.__getitem__, key="inference.a.by")
        return {"by": by, **({"seed": _seed("a")} if by == "resample" else {})}
    if kind == "scale_activation":
        return {"factor": columns[0].number_input("Factor", value=0.5, step=0.1, key="inference.a.factor")}
    if kind == "clamp_activation":
        low = columns[0].number_input("At least", value=None, key="inference.a.low", placeholder="open")
        return {"low": low, "high": columns[1].number_input("At most", value=1.0, key="inference.a.high")}
    count = scene.model.num_examples
    example = columns[0].number_input("From example, from 1", 1, count, min(2, count), key="inference.a.example")
    return {"example": example - 1, **_source(scene, columns[1], columns[2], "a", or_here=True)}


def _source(scene: Scene, left: Any, right: Any, key: str, *, or_here: bool = False) -> Fields:  # noqa: ANN401 - columns
    """Draw the choice of a step of this run or of another one whose weights fit.

    Args:
        scene: what runs.
        left: where the run is chosen.
        right: where the step is.
        key: of the widgets.
        or_here: whether the weights at hand can be chosen, too.
    """
    others = {info.run_id: info for info in shell.runs() if os.path.isdir(os.path.join(info.path, "params"))}
    others.pop(scene.info.run_id, None)
    labels = run_labels(list(others.values()))
    run = left.selectbox(
        "Of run",
        ["", *others],
        format_func=lambda run_id: plain(labels[run_id], 60) if run_id else "this run",
        key=f"inference.{key}.run",
        help="Another run's weights must have the same names and shapes.",
    )
    steps: list[int | None] = [*scene.steps]
    if run:
        held = open_run(others[run]).snapshots
        steps = [*sorted({each.step for each in held if each.rank == 0 and each.problem is None})]
    if or_here and not run:
        steps = [None, *steps]
    step = right.selectbox(
        "Step",
        steps,
        format_func=lambda step: "this step" if step is None else f"{step:,}",
        key=f"inference.{key}.step.{run}",
    )
    return {**({} if step is None else {"step": step}), **({"run": run} if run else {})}


def _seed(where: str) -> int:
    return int(st.number_input("Seed", 0, 2**31 - 1, 0, key=f"inference.{where}.seed"))


def _add(make: Callable[[], Fields], what: str, *, ready: bool = True) -> None:
    st.button(
        "Add this edit",
        key=f"inference.add.{what}",
        icon=":material/add:",
        type="primary",
        disabled=not ready,
        on_click=inference_recipe.append,
        args=(make,),
    )
