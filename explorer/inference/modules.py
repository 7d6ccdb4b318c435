"""A program as the modules that its author wrote: the tree, what each holds, and where each one's output is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from explorer.errors import ProgramError
from explorer.storage.program import Node as Node, Program as Program, references


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer of a module: its full name, role, dtype and shape at capture."""

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Module:
    """One module of a model.

    Attributes:
        path: such as `blocks.0.mlp`; "" is the model.
        type: its class's name; "" for a container that only holds others.
        children: paths of the modules right below, in the order in which they run.
        num_calls: how often one run calls it; 0 for a container.
        num_nodes: operators in it and below.
        parameters: its own, without those below.
        num_parameters: numbers in its parameters and those below; tied ones once in each module.
        outputs: names of the nodes whose values leave it, in order.
        output_shapes: shape of each output that is one tensor, sizes that may vary by name.
    """

    path: str
    type: str
    children: tuple[str, ...]
    num_calls: int
    num_nodes: int
    parameters: tuple[Parameter, ...]
    num_parameters: int
    outputs: tuple[str, ...]
    output_shapes: tuple[tuple[int | str, ...], ...]


def module_tree(program: Program) -> dict[str, Module]:
    """Every module that computes, holds parameters or holds such a module, by path; parents before children."""
    paths = _all_paths(program)
    types = {call.path: call.type for call in program.modules}
    calls: dict[str, int] = {}
    for call in program.modules:
        calls[call.path] = max(calls.get(call.path, 0), call.call + 1)
    own: dict[str, list[Parameter]] = {path: [] for path in paths}
    for weight in program.weights.values():
        if weight.role != "constant":
            found = Parameter(weight.name, weight.role, weight.dtype, weight.shape)
            own[weight.name.rpartition(".")[0]].append(found)
    inside = _nodes_inside(program, paths)
    outputs = _outputs(program, paths)
    shapes = {node.name: node.shape for node in program.graph.nodes}
    children: dict[str, list[str]] = {path: [] for path in paths}
    sizes = dict.fromkeys(paths, 0)
    for path in paths:
        if path:
            children[parent_of(path)].append(path)
        numbers = sum(prod(found.shape) for found in own[path] if found.role == "param")
        for outer in ("", *outwards(path)):
            sizes[outer] += numbers
    return {
        path: Module(
            path=path,
            type=types.get(path, ""),
            children=tuple(children[path]),
            num_calls=calls.get(path, 0),
            num_nodes=len(inside[path]),
            parameters=tuple(own[path]),
            num_parameters=sizes[path],
            outputs=outputs[path],
            output_shapes=tuple(shape for name in outputs[path] if (shape := shapes[name]) is not None),
        )
        for path in paths
    }


def output_nodes(program: Program, path: str, call: int | None = None) -> tuple[str, ...]:
    """Names of the nodes in which the output of a module is: those of its nodes that are read from outside it.

    Args:
        program: the model.
        path: of the module; "" is the model.
        call: only of this call, counted from 0, for a module that computes itself and is called several times.

    Raises:
        ProgramError: no node belongs to such a module.
    """
    nodes = [
        node
        for node in program.graph.nodes
        if is_inside(path_of(program, node), path) and (call is None or _is_call(program, node, path, call))
    ]
    if not nodes:
        raise ProgramError(f"the program has no module {path!r}" + ("" if call is None else f" with a call {call}"))
    return _read_outside(program, nodes)


def names_of_outputs(program: Program) -> dict[str, tuple[str, ...]]:
    """Names of the nodes that each output of the model reads, by the output's path."""
    outputs = zip(program.output_paths, program.graph.outputs, strict=True)
    return {path: tuple(references(output)) for path, output in outputs}


def path_of(program: Program, node: Node) -> str:
    """Path of the innermost module that a node belongs to; "" for the model itself."""
    return "" if node.module is None else program.modules[node.module].path


def parent_of(path: str) -> str:
    """The path of the module that holds it."""
    return path.rpartition(".")[0]


def is_inside(path: str, outer: str) -> bool:
    """Whether a module is another one or within it."""
    return not outer or path == outer or path.startswith(outer + ".")


def outwards(path: str) -> list[str]:
    """The modules around a module below the model, from the outermost one, and itself.

    >>> outwards("blocks.0.mlp")
    ['blocks', 'blocks.0', 'blocks.0.mlp']
    """
    parts = path.split(".") if path else []
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _all_paths(program: Program) -> list[str]:
    found = dict.fromkeys([""])
    used = [path_of(program, node) for node in program.graph.nodes]
    held = [parent_of(weight.name) for weight in program.weights.values() if weight.role != "constant"]
    for path in (*used, *held):
        for outer in outwards(path):
            found.setdefault(outer)
    # Parents first, and otherwise in the order in which they run.
    return sorted(found, key=lambda path: path.count(".") + bool(path))


def _nodes_inside(program: Program, paths: list[str]) -> dict[str, list[Node]]:
    inside: dict[str, list[Node]] = {path: [] for path in paths}
    for node in program.graph.nodes:
        for outer in ("", *outwards(path_of(program, node))):
            inside[outer].append(node)
    return inside


def _outputs(program: Program, paths: list[str]) -> dict[str, tuple[str, ...]]:
    """For all modules in one pass: a value leaves every module of its node that its reader is not in."""
    owner = {node.name: path_of(program, node) for node in program.graph.nodes}
    leaving: dict[str, dict[str, None]] = {path: {} for path in paths}
    for reader, names in _readings(program):
        for name in names:
            if name in owner:
                for outer in outwards(owner[name]):
                    if reader is None or not is_inside(reader, outer):
                        leaving[outer][name] = None
                if reader is None:
                    leaving[""][name] = None
    order = {node.name: index for index, node in enumerate(program.graph.nodes)}
    return {path: tuple(sorted(names, key=order.__getitem__)) for path, names in leaving.items()}


def _readings(program: Program) -> Iterator[tuple[str | None, list[str]]]:
    """(module that reads, names that it reads); None for the outputs of the model."""
    for node in program.graph.nodes:
        yield path_of(program, node), [*references(node.args), *references(tuple(node.kwargs.values()))]
    yield None, list(references(program.graph.outputs))


def _read_outside(program: Program, nodes: list[Node]) -> tuple[str, ...]:
    inside = {node.name for node in nodes}
    read = set(references(program.graph.outputs))
    for node in program.graph.nodes:
        if node.name not in inside:
            read |= {*references(node.args), *references(tuple(node.kwargs.values()))}
    return tuple(node.name for node in nodes if node.name in read)


def _is_call(program: Program, node: Node, path: str, call: int) -> bool:
    found = None if node.module is None else program.modules[node.module]
    return found is not None and found.path == path and found.call == call
