"""Which dimension of a value counts its units: channels where they are convolved, features elsewhere."""

from __future__ import annotations

from typing import Final

from explorer.storage.program import Program, references

# Operators on [N, C, L], and those that give out each value in the place of one that they were given.
_CONVOLVING: Final = frozenset("""
    adaptive_avg_pool1d avg_pool1d batch_norm conv1d conv_transpose1d group_norm instance_norm max_pool1d
    upsample_linear1d upsample_nearest1d
""".split())  # fmt: skip  # noqa: SIM905
_KEEPING: Final = frozenset("""
    add alpha_dropout celu clamp clone contiguous div dropout elu feature_dropout gelu hardsigmoid hardswish hardtanh
    leaky_relu mish mul prelu relu relu6 rrelu selu sigmoid silu softplus sub tanh
""".split())  # fmt: skip  # noqa: SIM905


def unit_dim(program: Program, name: str, rank: int) -> int:
    """The dimension of a node's value, of this many dimensions, that counts units.

    It is 1 for [N, C, H, W], for three spatial dimensions, and for [N, C, L] that comes from a convolution, a pooling
    or a normalisation of channels, with nothing but elementwise operators since. It is the last one otherwise.
    """
    return 1 if rank >= 4 or (rank == 3 and _is_convolved(program, name)) else rank - 1


def _is_convolved(program: Program, name: str) -> bool:
    nodes = {node.name: node for node in program.graph.nodes}
    node = nodes.get(name)
    while node is not None:
        operator = node.op.split(".")[1].rstrip("_") if "." in node.op else ""
        if operator in _CONVOLVING:
            return True
        if operator not in _KEEPING:
            return False
        shape, given = node.shape, references(list(node.args))
        node = next((nodes[each] for each in given if each in nodes and nodes[each].shape == shape), None)
    return False
