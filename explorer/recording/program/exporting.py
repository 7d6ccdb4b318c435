"""Capture through `torch.export`: the graph of one call, functional, with sizes that may vary, operators kept whole.

Where the graph as export gives it does not do, an empty table of decompositions removes the wrappers of vmap, autocast
and gradient modes and the in-place forms. It keeps `linear`, `layer_norm`, `lstm` and attention whole, so that graphs
stay readable and the same on all devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from explorer.errors import ProgramError
from explorer.programs.operators import COND, name_of, resolve
from explorer.recording.program.encoding import (
    CannotEncode,
    Modules,
    encode_argument,
    input_paths,
    leaves,
    source_of,
    user_name,
    value_facts,
)
from explorer.recording.program.functional import functional
from explorer.recording.program.staging import Stage
from explorer.recording.program.unnoticed import exact
from explorer.storage.program import references

Document = dict[str, Any]
Constants = dict[str, Tensor]


def export(
    stage: Stage, args: Sequence[Any], kwargs: Mapping[str, Any], *, strict: bool = False, oblivious: bool = True
) -> Iterator[tuple[Document, Constants]]:
    """Capture by export.

    Args:
        stage: the model.
        args: example inputs, plain.
        kwargs: example inputs, plain.
        strict: by tracing the Python code instead of running it.
        oblivious: let a size of one vary like any other, and check sizes while running instead of before.

    Yields:
        The members of the document that a capture gives, and the tensors that belong to the program: made of the graph
        as export gives it, where that can be; then, for whoever does not like it, as PyTorch decomposes it.

    Raises whatever export raises, and CannotEncode.
    """
    sizes = tuple(_all_free(part) for part in (list(args), dict(kwargs)))
    with _size_oblivious(oblivious), _keeping_what_is_compiled(), exact():
        exported = torch.export.export(
            stage,
            (list(args), dict(kwargs)),
            dynamic_shapes=sizes,
            strict=strict,
            prefer_deferred_runtime_asserts_over_guards=oblivious,
        )
        graph = functional(exported.graph)
    if graph is not None:
        with suppress(CannotEncode, ProgramError):
            yield _document(exported, graph, args, kwargs)
    with _size_oblivious(oblivious), exact():
        exported = exported.run_decompositions({})
    yield _document(exported, exported.graph, args, kwargs)


def _all_free(inputs: Any) -> Any:  # noqa: ANN401 - nested containers
    auto = torch.export.Dim.AUTO
    return pytree.tree_map(
        lambda leaf: dict.fromkeys(range(leaf.dim()), auto) if isinstance(leaf, Tensor) else None, inputs
    )


@contextmanager
def _size_oblivious(wanted: bool) -> Iterator[None]:
    from torch.fx.experimental import _config

    before = _config.backed_size_oblivious
    _config.backed_size_oblivious = wanted
    try:
        yield
    finally:
        _config.backed_size_oblivious = before


@contextmanager
def _keeping_what_is_compiled() -> Iterator[None]:
    """The newer tracer of strict export begins with `torch._dynamo.reset()`: all that is compiled would be again."""
    import torch._export.config as config

    name = "use_new_tracer_experimental"
    before = getattr(config, name, None)
    if before is not None:
        setattr(config, name, False)
    try:
        yield
    finally:
        if before is not None:
            setattr(config, name, before)


def _document(
    exported: torch.export.ExportedProgram, found: fx.Graph, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Document, Constants]:
    inputs, weights, constants = _inputs(exported, args, kwargs)
    modules = _ModulesOfGraph()
    graph = _graph(found, exported.graph_module, modules)
    read = _read_names(graph)
    for name in [name for name, found in weights.items() if found["role"] == "constant" and name not in read]:
        constants.pop(weights.pop(name)["name"], None)  # such as the mask of an attention that is not asked for it
    kinds = [found.kind.name for found in exported.graph_signature.output_specs]
    graph["outputs"] = [out for kind, out in zip(kinds, graph["outputs"], strict=True) if kind == "USER_OUTPUT"]
    spec = exported.call_spec.out_spec
    whole = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    document = {
        "inputs": inputs,
        "weights": weights,
        "ties": _ties(exported),
        "symbols": _symbols(exported, inputs),
        "graph": graph,
        "output_paths": [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(whole)[0]],
        "modules": modules.modules.entries,
    }
    return document, constants


def _inputs(
    exported: torch.export.ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Document], dict[str, Document], Constants]:
    inputs: list[Document] = []
    weights: dict[str, Document] = {}
    constants: Constants = {}
    values = dict(
        zip((node.name for node in exported.graph.find_nodes(op="placeholder")), _metas(exported), strict=True)
    )
    paths = iter(zip(input_paths(args, kwargs), leaves(args, kwargs), strict=True))
    order: list[str] = []
    for spec in exported.graph_signature.input_specs:
        kind, name = spec.kind.name, spec.arg.name
        order.append(name)
        if kind == "USER_INPUT":
            path, leaf = next(paths)
            entry: Document = {"name": name, "path": path}
            facts = value_facts(values.get(name)) if isinstance(leaf, Tensor) else {}
            inputs.append({**entry, **facts} if facts else {**entry, "value": encode_argument(leaf, lambda _: None)})
        elif kind == "PARAMETER" or (kind == "BUFFER" and spec.persistent):
            role = "param" if kind == "PARAMETER" else "buffer"
            weights[name] = {"name": user_name(spec.target), "role": role, **value_facts(values[name])}
        elif kind in ("BUFFER", "CONSTANT_TENSOR"):
            constants[user_name(spec.target)] = exported.constants[spec.target].detach().clone()
            facts = value_facts(exported.constants[spec.target])
            weights[name] = {"name": user_name(spec.target), "role": "constant", **facts}
        else:
            raise CannotEncode(f"the graph has an input of the kind {kind}")
    return inputs, weights, constants


def _metas(exported: torch.export.ExportedProgram) -> Iterator[Any]:
    return (node.meta.get("val") for node in exported.graph.find_nodes(op="placeholder"))


def _symbols(exported: torch.export.ExportedProgram, inputs: Sequence[Document]) -> dict[str, list[int | None]]:
    """Ranges of the sizes that the inputs name."""
    used = {dim for found in inputs for dim in found.get("shape", ()) if isinstance(dim, str)}
    ranges: dict[str, list[int | None]] = {}
    for symbol, found in exported.range_constraints.items():
        if str(symbol) in used:
            high = str(found.upper)
            ranges[str(symbol)] = [int(found.lower), int(high) if high.isdigit() and int(high) < 2**62 else None]
    return ranges


def _ties(exported: torch.export.ExportedProgram) -> list[list[str]]:
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, value in exported.state_dict.items():
        key = (value.untyped_storage()._cdata, value.storage_offset(), tuple(value.shape), value.stride())
        alike.setdefault(key, []).append(user_name(name))
    return [names for names in alike.values() if len(names) > 1]


class _ModulesOfGraph:
    """Module of each node, with the how-manieth call of it that is."""

    def __init__(self) -> None:
        self.modules = Modules()

    def index(self, node: fx.Node) -> int | None:
        """The index of the innermost module, which is listed after those around it; None for the model itself."""
        innermost = None
        for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
            name = user_name(path)
            if path.startswith("_empty_nn_module") or not name:
                continue
            made_by = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
            call = key.rpartition("@")[2] if "@" in key else ""
            innermost = self.modules.index(name, made_by.rpartition(".")[2], int(call) if call.isdigit() else 0)
        return innermost


def _graph(graph: fx.Graph, module: fx.GraphModule, modules: _ModulesOfGraph) -> Document:
    nodes: list[Document] = []
    inputs: list[str] = []
    outputs: Any = []
    branches: dict[str, Document] = {}

    def name(value: Any) -> str | None:  # noqa: ANN401
        return value.name if isinstance(value, fx.Node) and value.name not in branches else None

    def encode(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, fx.Node) and value.name in branches:
            return {"graph": branches[value.name]}
        if isinstance(value, list | tuple) and any(isinstance(part, fx.Node) for part in value):
            return [encode(part) for part in value]
        return encode_argument(value, name)

    for node in graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "output":
            found = encode(node.args[0])
            outputs = found if isinstance(found, list) else [found]
        elif node.op == "get_attr":
            branch = getattr(module, str(node.target))
            if not isinstance(branch, fx.GraphModule):
                raise CannotEncode(f"the graph holds a {type(branch).__name__}")
            branches[node.name] = _graph(branch.graph, branch, modules)
        elif node.op == "call_function":
            nodes.append(_node(node, encode, modules))
        else:
            raise CannotEncode(f"the graph has a node of the kind {node.op}")
    return {"inputs": inputs, "nodes": nodes, "outputs": outputs}


def _read_names(graph: Document) -> set[str]:
    """Names that the nodes and outputs of a graph read."""
    parts = [graph["outputs"], *(node["args"] for node in graph["nodes"])]
    parts += [list(node.get("kwargs", {}).values()) for node in graph["nodes"]]
    return {name for part in parts for name in references(part)}


def _node(node: fx.Node, encode: Any, modules: _ModulesOfGraph) -> Document:  # noqa: ANN401
    if isinstance(node.target, torch._ops.HigherOrderOperator) and str(node.target) == COND:
        op = COND
    else:
        found = name_of(node.target)
        if found is None:
            raise CannotEncode(f"the graph calls {node.target}")
        resolve(found)
        op = found
    # What an assertion says may be as long as the sizes in it; it is for debugging PyTorch.
    args = (*node.args[:1], "the sizes do not fit") if op == "aten._assert_scalar.default" else node.args
    entry: Document = {"name": node.name, "op": op, "args": [encode(part) for part in args]}
    if node.kwargs:
        entry["kwargs"] = {key: encode(value) for key, value in node.kwargs.items()}
    module = modules.index(node)
    if module is not None:
        entry["module"] = module
    source = source_of(node.meta.get("stack_trace"))
    if source:
        entry["source"] = source
    return {**entry, **value_facts(node.meta.get("val"))}
