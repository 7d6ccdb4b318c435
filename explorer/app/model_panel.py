"""What is known of the module or operator that is looked at, and where to go from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import streamlit as st

from explorer.app import links, model_opened, shell
from explorer.app.model_boxes import outputs_text
from explorer.app.model_code import source_line
from explorer.app.model_opened import Picked
from explorer.app.model_paint import NOTHING, Painting, told
from explorer.app.model_shapes import shape_text
from explorer.app.names import esc, plain
from explorer.charts import arrow
from explorer.inference.edits.recipe import parse_recipe, to_text
from explorer.inference.folding import PARAMETRIZATIONS, FoldedGraph, operator_of
from explorer.inference.modules import is_inside, parent_of, path_of

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture, ModuleRow, Weight
    from explorer.app.model_timing import Times
    from explorer.inference.modules import Node
    from explorer.reading.catalogue import RunInfo

_MAX_NODES: Final = 200
_MAX_WEIGHTS: Final = 200
_MAX_ABOVE: Final = 12


def panel(
    info: RunInfo, model: Architecture, graph: FoldedGraph, found: Picked, painted: Painting, times: Times | None
) -> None:
    """Draw the panel."""
    row = model.rows[found.path]
    with st.container(border=True, gap="small"):
        group = next((box for box in graph.boxes if box.id == found.node and box.kind == "group"), None)
        if group is not None:
            _group([member.path for member in group.members if member.kind == "module"], len(group.members))
            return
        node = _node(model, found.node)
        if node is not None:
            _operator(info, model, node)
            return
        if found.node:
            _port(model, found.node)
            return
        _head(model, graph, row)
        _facts(model, row, painted, times)
        weights = _own(model, row)
        _weights(row, weights)
        _ways(info, row, weights)
        _edits(info, model, row)
        _nodes(model, row, times)


def _head(model: Architecture, graph: FoldedGraph, row: ModuleRow) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(
            f"**{esc(row.path or 'The whole model', 120)}**  \n{esc(row.type or 'container', 80)}", width="stretch"
        )
        if row.path and row.num_nodes:
            is_open = row.path in graph.opened
            st.button(
                "Close" if is_open else "Open", key="model_open", icon=":material/unfold_less:" if is_open
                else ":material/unfold_more:", help="In the graph; a double click on its box does the same",
                on_click=_toggle, args=(row.path, graph.opened),
            )  # fmt: skip
        if row.path:
            st.button(
                "", key="model_up", icon=":material/arrow_upward:", help="The module around it", type="tertiary",
                on_click=model_opened.pick, args=(parent_of(row.path),),
            )  # fmt: skip
    if not row.path:
        st.caption("Click a box or a row to see what is in it.")


def _toggle(path: str, opened: Sequence[str]) -> None:
    model_opened.toggle(path, opened)
    model_opened.pick(path)


def _facts(model: Architecture, row: ModuleRow, painted: Painting, times: Times | None) -> None:
    frozen = "not recorded" if row.num_frozen is None else f"{row.num_frozen:,}"
    tied = [name for weight in row.weights for name in weight.tied]
    facts: dict[str, str] = {}
    if row.num_calls is not None and row.path and not (row.num_nodes and not row.num_calls):
        facts["Calls"] = f"{row.num_calls:,}" if row.num_calls else "never, when it was captured"
    if row.num_nodes is not None:
        facts["Operators"] = f"{row.num_nodes:,}"
    if row.shapes or row.dtypes:
        facts["Output"] = outputs_text(model, row.outputs) + f" {' '.join(dtype for dtype in row.dtypes if dtype)}"
    facts["Parameters"] = f"{row.num_parameters:,}" + (f", frozen: {frozen}" if row.num_parameters else "")
    if row.num_buffers:
        facts["Buffers"] = f"{row.num_buffers:,} values"
    if tied:
        facts["Tied to"] = ", ".join(plain(name, 80) for name in tied[:4])
    if times is not None and row.path in times.total_ms:
        whole = times.total_ms.get("", 0.0)
        share = f", {times.total_ms[row.path] / whole:.1%} of the run" if whole > 0 else ""
        facts["Time"] = f"{times.total_ms[row.path]:.3g} ms{share}; {times.self_ms.get(row.path, 0.0):.3g} ms itself"
    if painted.key not in (NOTHING, "parameters", "time"):
        value = painted.values.get(row.path)
        of = f" ({plain(value.of, 80)})" if value is not None and value.num > 1 and value.of else ""
        facts[painted.title] = told(None if value is None else value.value, painted.key) + of
    _list(facts)


def _list(facts: Mapping[str, str]) -> None:
    st.markdown("\n".join(f"- {esc(name, 80)}: **{esc(text, 300)}**" for name, text in facts.items()))


def _own(model: Architecture, row: ModuleRow) -> list[Weight]:
    """Its parameters and buffers, and those that its weights are computed from, as by weight_norm."""
    within = f"{row.path}.{PARAMETRIZATIONS}" if row.path else PARAMETRIZATIONS
    behind = [other for path, other in model.rows.items() if is_inside(path, within)]
    return [weight for each in (row, *behind) for weight in each.weights]


def _weights(row: ModuleRow, weights: Sequence[Weight]) -> None:
    if not weights:
        return
    shown = weights[:_MAX_WEIGHTS]
    flags = [
        " ".join(["buffer"] * weight.is_buffer + ["frozen"] * bool(weight.is_frozen) + ["tied"] * bool(weight.tied))
        for weight in shown
    ]
    st.dataframe(
        arrow.table(
            {
                "tensor": arrow.texts([plain(_name_in(row, weight), 80) for weight in shown]),
                "shape": arrow.texts([shape_text(weight.shape, {}) for weight in shown]),
                "dtype": arrow.texts([plain(weight.dtype, 20) for weight in shown]),
                "values": arrow.numbers([weight.num_values for weight in shown], pa.int64()),
                "": arrow.texts(flags),
            }
        ),
        key="model_weights",
        hide_index=True,
        height="content" if len(shown) <= 6 else 240,
        column_config={"values": st.column_config.NumberColumn(format="localized")},
        alt="Its own parameters and buffers",
    )


def _name_in(row: ModuleRow, weight: Weight) -> str:
    inner = weight.name.removeprefix(f"{row.path}.")
    return inner if inner.startswith(PARAMETRIZATIONS) else weight.name.rpartition(".")[2]


def _ways(info: RunInfo, row: ModuleRow, weights: Sequence[Weight]) -> None:
    """To the pages that show what was recorded of it."""
    names = [weight.name for weight in weights if not weight.is_buffer]
    tensor = next((weight.name for weight in weights if len(weight.shape) > 1), names[0] if names else "")
    run = {"runs": [info.run_id], links.RUN: info.run_id}
    with st.container(horizontal=True, gap="xsmall"):
        if tensor:
            _way("Distributions", "bar_chart", "distributions", {**run, links.TENSOR: tensor, links.KIND: "param"})
            _way("Layers", "layers", "layers", {**run, "layers": links.join(names[:8]), "what": "parameters"})
            _way("Weights", "difference", "weights", {**run, links.TENSOR: tensor})
        elif row.path and not row.children:
            values = {**run, links.TENSOR: row.path, links.KIND: "activation"}
            _way("Distributions", "bar_chart", "distributions", values)
            _way("Layers", "layers", "layers", {**run, "layers": links.join([row.path]), "what": "activations"})


def _way(name: str, icon: str, page: str, values: Mapping[str, Any]) -> None:
    if st.button(name, key=f"model_to_{page}", icon=f":material/{icon}:"):
        shell.go(page, **values)


def _edits(info: RunInfo, model: Architecture, row: ModuleRow) -> None:
    """To the page Inference, with an edit of the module."""
    if model.program is None or not row.num_nodes:
        return
    output = next((name for name in row.outputs if "float" in model.facts.get(name, ("", None))[0]), None)
    choices: dict[str, dict[str, Any]] = {}
    if output is not None and row.path:
        choices |= _edits_of(output, "its output")
    if row.num_parameters:
        what = "its weights" if row.path else "all weights"
        choices[f"Halve {what}"] = {"edit": "scale", "target": row.path, "factor": 0.5}
        choices[f"Set {what} to zero"] = {"edit": "zero", "target": row.path}
        choices[f"Prune half of {what}"] = {"edit": "prune", "target": row.path, "share": 0.5}
    _edit_menu(info, choices)


def _edits_of(node: str, what: str) -> dict[str, dict[str, Any]]:
    return {
        f"Ablate {what} (its mean over the examples)": {"edit": "ablate", "node": node, "part": "", "by": "mean"},
        f"Halve {what}": {"edit": "scale_activation", "node": node, "part": "", "factor": 0.5},
    }


def _edit_menu(info: RunInfo, choices: Mapping[str, dict[str, Any]]) -> None:
    if not choices:
        return
    chosen = st.menu_button("Edit and run", list(choices), key="model_edit", icon=":material/tune:")
    if chosen is not None and chosen in choices:
        shell.go("inference", run=info.run_id, recipe=to_text(parse_recipe([choices[chosen]])))


def _nodes(model: Architecture, row: ModuleRow, times: Times | None) -> None:
    """The operators of a module and below, of which one can be looked at."""
    program = model.program
    if program is None or not row.num_nodes:
        return
    box = st.expander(
        f"{row.num_nodes:,} operator{'s' if row.num_nodes > 1 else ''}", icon=":material/data_object:",
        key="model_operators", on_change="rerun",
    )  # fmt: skip
    if not box.open:
        return
    inside = [node for node in program.graph.nodes if is_inside(path_of(program, node), row.path)]
    shown = [node for node in inside if node.dtype][:_MAX_NODES]
    hidden = len(inside) - len(shown)
    with box:
        _node_table(model, shown, times)
        st.caption(
            "Tick one to see it."
            + (f" {hidden:,} more: sizes, checks and what gives no single tensor." if hidden else "")
        )


def _node_table(model: Architecture, nodes: Sequence[Node], times: Times | None) -> None:
    program = model.program
    paths = [path_of(program, node) if program else "" for node in nodes]
    columns = {
        "operator": arrow.texts([plain(operator_of(node.op), 60) for node in nodes]),
        "source": arrow.texts([plain(node.source, 80) for node in nodes]),
        "output": arrow.texts([shape_text(node.shape, model.sizes) for node in nodes]),
        "dtype": arrow.texts([plain(node.dtype, 20) for node in nodes]),
        "module": arrow.texts([plain(path, 80) for path in paths]),
    }
    if times is not None:
        columns["ms"] = arrow.numbers([times.node_ms.get(node.name) for node in nodes])
    st.dataframe(
        arrow.table(columns),
        key="model_nodes",
        hide_index=True,
        height="content" if len(nodes) <= 7 else 270,
        on_select=lambda: _ticked(nodes, paths),
        selection_mode="single-row",
        column_config={"ms": st.column_config.NumberColumn(format="%.3g")},
        alt="Operators in the order in which they run",
    )


def _ticked(nodes: Sequence[Node], paths: Sequence[str]) -> None:
    report: Any = (st.session_state.get("model_nodes") or {}).get("selection") or {}
    rows = report.get("rows") or []
    if rows and isinstance(rows[0], int) and rows[0] < len(nodes):
        model_opened.pick(paths[rows[0]], nodes[rows[0]].name)


def _node(model: Architecture, name: str) -> Node | None:
    program = model.program
    return None if program is None else next((node for node in program.graph.nodes if node.name == name), None)


def _operator(info: RunInfo, model: Architecture, node: Node) -> None:
    program = model.program
    path = "" if program is None else path_of(program, node)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{esc(operator_of(node.op), 80)}**  \n{esc(node.op, 100)}", width="stretch")
        st.button(
            "", key="model_up", icon=":material/arrow_upward:", help="The module that it is in", type="tertiary",
            on_click=model_opened.pick, args=(path,),
        )  # fmt: skip
    facts = {"Name": node.name, "Module": path or "the model itself"}
    if node.source:
        facts["Source line"] = node.source
    if node.dtype:
        facts["Output"] = f"{shape_text(node.shape, model.sizes)} {node.dtype}"
    _list(facts)
    if node.source:
        source_line(info, node.source)
    if "float" in node.dtype:
        _edit_menu(info, _edits_of(node.name, "its value"))


def _port(model: Architecture, key: str) -> None:
    program = model.program
    if program is None:
        return
    kind, _, path = key.partition(":")
    st.markdown(f"**{'Input' if kind == 'input' else 'Output'}** {esc(path, 100)}")
    for found in program.inputs if kind == "input" else ():
        if found.path == path:
            _list({"Shape": shape_text(found.shape, model.sizes), "dtype": found.dtype})
    difference = program.check.get(path)
    if kind == "output" and difference is not None:
        _list({"Largest difference from the model's own output at capture": f"{difference:.3g}"})


def _group(paths: Sequence[str], num: int) -> None:
    st.markdown(f"**{num} neighbours in one box**")
    st.caption("The graph would have too many boxes otherwise. Choose one to draw it by itself.")
    for place, path in enumerate(paths[:_MAX_ABOVE]):
        st.button(esc(path, 80), key=f"model_member_{place}", type="tertiary", on_click=model_opened.pick, args=(path,))
    if len(paths) > _MAX_ABOVE:
        st.selectbox(
            "Others",
            paths[_MAX_ABOVE:],
            index=None,
            placeholder=f"{len(paths) - _MAX_ABOVE:,} more",
            key="model_other_member",
            format_func=plain,
            on_change=_pick_member,
        )


def _pick_member() -> None:
    path = st.session_state.get("model_other_member")
    if path:
        model_opened.pick(path)
