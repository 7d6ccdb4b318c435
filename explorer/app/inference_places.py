"""What edits can name in a program, in the words of its author's modules; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from explorer.inference.edits.batch import batch_dim
from explorer.inference.modules import module_tree, path_of

if TYPE_CHECKING:
    from explorer.inference.plain_model import PlainModel

_MAX_NODES: Final = 2_000
_ACTIVE: Final = ("relu", "gelu", "silu", "tanh", "sigmoid", "elu", "hardswish", "mish")


@dataclass(frozen=True)
class NodeChoice:
    """A value that can be edited: what it is called for people, its shape at capture, and whose output it is.

    `batch_dim` is the dimension of the shape that counts the examples.
    """

    title: str
    shape: tuple[int | str, ...]
    module: str = ""
    batch_dim: int = 0


def weight_choices(model: PlainModel) -> dict[str, str]:
    """Targets of edits of weights to their titles: the whole model, then each module with its tensors."""
    return dict(_weight_choices(model))


def node_choices(model: PlainModel) -> dict[str, NodeChoice]:
    """Nodes that hold a floating tensor: outputs of modules in the order in which they run, then all others."""
    return dict(_node_choices(model))


def batched_choices(model: PlainModel, rank: int | None = None) -> dict[str, NodeChoice]:
    """The nodes whose first dimension is the batch of the inputs, with at least one more dimension.

    Args:
        model: what was captured.
        rank: how many dimensions; None is any number.
    """
    batches = {found.shape[0] for found in model.program.inputs if found.dtype and found.shape}
    return {
        name: choice
        for name, choice in node_choices(model).items()
        if len(choice.shape) >= 2 and choice.shape[0] in batches and (rank is None or len(choice.shape) == rank)
    }


def last_active(choices: Mapping[str, NodeChoice]) -> str:
    """The last value after a nonlinearity, which says more about its units than one before it; else the first one."""
    active = [name for name in choices if any(word in name for word in _ACTIVE)]
    return active[-1] if active else next(iter(choices))


@lru_cache(maxsize=8)
def _weight_choices(model: PlainModel) -> tuple[tuple[str, str], ...]:
    tree = module_tree(model.program)
    found = [("", "the whole model")]
    for path, module in sorted(tree.items()):
        if path and module.num_parameters:
            found.append((path, f"{path} ({module.type or 'module'}, {module.num_parameters:,})"))
        for each in module.parameters:
            what = "" if each.role == "param" else ", buffer"
            found.append((each.name, f"{each.name}  {list(each.shape)}{what}"))
    return tuple(dict(found).items())


@lru_cache(maxsize=8)
def _node_choices(model: PlainModel) -> tuple[tuple[str, NodeChoice], ...]:
    program = model.program
    floating = {node.name: node for node in program.graph.nodes if "float" in node.dtype and node.shape}
    order = {name: place for place, name in enumerate(floating)}
    found: dict[str, NodeChoice] = {}
    modules = [(path, module) for path, module in module_tree(program).items() if path and module.outputs]
    for path, module in sorted(modules, key=lambda each: order.get(each[1].outputs[-1], 0)):
        for name in module.outputs:
            if name in floating and (name not in found or not module.children):
                shape = _of(floating[name].shape)
                title = f"{path} ({module.type}) {_shape(shape)}"
                found[name] = NodeChoice(title, shape, path, batch_dim(program, shape))
    for name, node in floating.items():
        if name not in found:
            place = path_of(program, node) or "model"
            title = f"{place} · {node.op.removeprefix('aten.')} {_shape(node.shape)} {node.source}"
            found[name] = NodeChoice(title, _of(node.shape), batch_dim=batch_dim(program, node.shape))
    return tuple(list(found.items())[:_MAX_NODES])


def _of(shape: tuple[int | str, ...] | None) -> tuple[int | str, ...]:
    return shape or ()


def _shape(shape: tuple[int | str, ...] | None) -> str:
    """Sizes; one that may vary is a star."""
    return "[" + ", ".join("*" if isinstance(dim, str) else str(dim) for dim in _of(shape)) + "]"
