"""A graph of `torch.export` without in-place calls, where it is plain that nothing else sees what they write.

Export gives the graph as the model was called. Nearly always it becomes one that a program may hold by a few
replacements; having PyTorch do that (`run_decompositions`) traces everything a second time, which costs as much as the
export. What is not plain here is left to PyTorch.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, fx

# In evaluation mode they give their first argument itself; the third one says whether it is that mode.
_ONLY_IN_TRAINING: Final = frozenset(
    f"{kind}dropout{end}" for kind in ("", "feature_", "alpha_", "feature_alpha_") for end in ("", "_")
)
_OF_ANY_DTYPE = """
    index_add_ index_copy_ index_fill_ index_put_ masked_fill_ masked_scatter_ scatter_ scatter_add_
"""
_OF_FLOATS = """
    abs_ add_ addcdiv_ addcmul_ celu_ ceil_ clamp_ clamp_max_ clamp_min_ cos_ div_ elu_ erf_ exp_ floor_ hardsigmoid_
    hardswish_ hardtanh_ leaky_relu_ lerp_ log_ mish_ mul_ neg_ pow_ reciprocal_ relu_ round_ rsqrt_ sigmoid_ silu_ sin_
    sqrt_ square_ sub_ tanh_
"""
_COMPOSED = """
    batch_norm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d cross_entropy_loss group_norm
    instance_norm layer_norm linear log_softmax matmul rms_norm softmax
"""
# In-place operators whose namesake gives the same numbers in the same dtype: always, where every tensor is of one
# floating dtype, and where every tensor is of one dtype and every number an integer.
_KEEP_ANY: Final = frozenset(_OF_ANY_DTYPE.split())
_KEEP_FLOATS: Final = frozenset(_OF_FLOATS.split())
_KEEP_INTEGERS: Final = frozenset(("add_", "sub_", "mul_"))
# Made of other operators, so that their schema does not tell whether they may give a view; these never do.
_ALWAYS_NEW: Final = frozenset(_COMPOSED.split())


def functional(graph: fx.Graph) -> fx.Graph | None:
    """A copy of a graph that writes into nothing; None where that is not plain."""
    copied = fx.Graph()
    output = copied.graph_copy(graph, {})
    copied.output(output)
    rewriter = _Rewriter(copied)
    return copied if all(map(rewriter.take, list(copied.nodes))) else None


class _Rewriter:
    """Takes the nodes in order; knows for each which memory it may share."""

    def __init__(self, graph: fx.Graph) -> None:
        self._order = {node: index for index, node in enumerate(graph.nodes)}
        self._memory: dict[fx.Node, frozenset[fx.Node]] = {}

    def take(self, node: fx.Node) -> bool:
        """Replace what writes. Whether the node may stay as it is now."""
        if node.op in ("placeholder", "output"):
            self._memory[node] = frozenset((node,))
            return True
        if node.op != "call_function" or isinstance(node.target, torch._ops.HigherOrderOperator):
            return False
        if not isinstance(node.target, torch._ops.OpOverload):  # arithmetic with sizes, or a part of a list
            self._memory[node] = self._memory_of_inputs(node)
            return True
        name = _name(node)
        if name in _ONLY_IN_TRAINING and node.args[2:] == (False,):
            node.target, node.args = torch.ops.aten.alias.default, node.args[:1]
            if name.endswith("_"):
                self._read_instead(node)
        elif name == "detach_":
            node.target = torch.ops.aten.detach.default
            self._read_instead(node)
        elif node.target._schema.is_mutable and not self._replace(node):
            return False
        self._memory[node] = self._memory_of_inputs(node) if _may_share(node) else frozenset((node,))
        return True

    def _replace(self, node: fx.Node) -> bool:
        """Make an in-place call one that gives something new, which is what later calls then read."""
        found = _namesake(node)
        if found is None:
            return False
        written = node.all_input_nodes[0]
        shared = self._memory[written]
        if any(each.op == "placeholder" for each in shared):
            return False
        for other, memory in self._memory.items():
            if other is not written and not memory.isdisjoint(shared) and self._is_read_after(node, other):
                return False
        node.target = found
        self._read_instead(node)
        return True

    def _is_read_after(self, node: fx.Node, other: fx.Node) -> bool:
        return any(self._order[user] > self._order[node] for user in other.users)

    def _read_instead(self, node: fx.Node) -> None:
        """Whatever comes later reads the node instead of its first argument."""
        written = node.all_input_nodes[0]
        written.replace_all_uses_with(node, delete_user_cb=lambda user: self._order[user] > self._order[node])

    def _memory_of_inputs(self, node: fx.Node) -> frozenset[fx.Node]:
        shared = (self._memory[each] for each in node.all_input_nodes)
        return frozenset((node,)).union(*shared)


def _name(node: fx.Node) -> str:
    name: str = node.target._schema.name  # type: ignore[union-attr]
    return name.rpartition("::")[2] if name.startswith("aten::") else ""


def _may_share(node: fx.Node) -> bool:
    """Whether the value may be, or hold, a view of an argument."""
    target: Any = node.target
    if any(part.alias_info is not None for part in target._schema.returns):
        return True
    if _name(node) in _ALWAYS_NEW:
        return False
    composite: bool = torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), "CompositeImplicitAutograd")
    return composite


def _namesake(node: fx.Node) -> Any:  # noqa: ANN401 - an operator, or None
    """The operator that computes what an in-place call writes, or None where it may differ in dtype."""
    name = _name(node)
    values = [each.meta.get("val") for each in node.all_input_nodes]
    tensors = [value for value in values if isinstance(value, Tensor)]
    if name not in _KEEP_ANY and not _keeps_dtype(name, tensors, node.args):
        return None
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    return getattr(packet, node.target._overloadname, None)  # type: ignore[union-attr]


def _keeps_dtype(name: str, tensors: list[Tensor], args: tuple[Any, ...]) -> bool:
    if len({tensor.dtype for tensor in tensors}) != 1:
        return False
    if tensors[0].is_floating_point():
        return name in _KEEP_FLOATS
    return name in _KEEP_INTEGERS and tensors[0].dtype != torch.bool and not any(isinstance(arg, float) for arg in args)
