"""Programs of strangers, run: nothing but a ProgramError comes out of them."""

from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from explorer.errors import ProgramError
from explorer.programs.interpreter import Interpreter
from explorer.storage.program_document import parse_program

OPERATORS = [
    "aten.add.Tensor", "aten.view.default", "aten.cat.default", "aten.slice.Tensor", "aten.index.Tensor", "cond",
    "aten.linear.default", "aten.sym_size.int", "operator.add", "operator.getitem", "aten.split.Tensor",
    "aten.to.dtype",
    "aten.full.default", "aten.embedding.default", "aten.gather.default", "aten.pad.default", "aten.item.default",
]  # fmt: skip
ARGUMENTS = st.recursive(
    st.sampled_from([{"node": "x"}, {"node": "w"}, {"device": True}, {"dtype": "float32"}, {"dtype": "no"}, None, "x"])
    | st.integers(-3, 5)
    | st.sampled_from([2**62, -(2**62), 1.5, {"float": "nan"}, {"complex": [1, 2]}, {"layout": "sparse_coo"}]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.fixed_dictionaries({"slice": st.tuples(inner, inner, inner).map(list)})
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(op=st.sampled_from(OPERATORS), args=st.lists(ARGUMENTS, max_size=4))
def test_whatever_is_given_to_an_operator_ends_in_a_value_or_a_program_error(document, node, op, args):
    weights = {"w": {"name": "w", "role": "param", "dtype": "int64", "shape": [2]}}
    with suppress(ProgramError):
        program = parse_program(document({"name": "a", "op": op, "args": args}, weights=weights))
        Interpreter(program, {}).run([torch.ones(2, 2)], {"w": torch.tensor([0, 1])})


@pytest.mark.parametrize(
    "op", ["aten.from_file.default", "os.system", "operator.methodcaller", "aten.linear.__class__"]
)
def test_an_operator_that_is_not_allowed_is_refused_before_anything_runs(document, node, op):
    ran = []
    program = parse_program(document(node("a", "aten.neg.default", "@x"), {"name": "b", "op": op, "args": ["marker"]}))
    with pytest.raises(ProgramError, match=r"list of operators|not in PyTorch"):
        Interpreter(program, {}).run([torch.ones(1, 2)], {}, on_node=lambda *_: ran.append(1))
    assert ran == []


def test_a_lying_cond_is_refused(document, node):
    branch = {"graph": {"inputs": ["y", "z"], "nodes": [], "outputs": [{"node": "y"}]}}
    program = parse_program(document(node("a", "cond", True, branch, branch, ["@x"])))
    with pytest.raises(ProgramError, match="other inputs than it gives"):
        Interpreter(program, {}).run([torch.ones(1, 2)], {})


@pytest.mark.parametrize("op", ["batch_norm", "instance_norm", "native_batch_norm"])
@pytest.mark.parametrize("named", [False, True], ids=["by place", "by name"])
def test_a_norm_that_trains_leaves_the_weights_of_the_next_question_alone(document, op, named):
    """These write into their running statistics, although PyTorch says of them that they write nothing."""
    image = [{"name": "x", "path": "args[0]", "dtype": "float32", "shape": ["s0", 3, 4]}]
    weights = {name: {"name": name, "role": "buffer", "dtype": "float32", "shape": [3]} for name in ("mean", "var")}
    last = [0.5, 1e-5] if op == "native_batch_norm" else [0.5, 1e-5, False]
    entry = {"name": "a", "op": f"aten.{op}.default", "args": [{"node": "x"}, None, None, {"node": "mean"}]}
    entry["args"] += [{"node": "var"}, True, *last]
    if named:
        names = ["running_mean", "running_var", "use_input_stats" if op == "instance_norm" else "training"]
        names += ["momentum", "eps", "cudnn_enabled"][: len(last)]
        entry["kwargs"] = dict(zip(names, entry["args"][3:], strict=True))
        entry["args"] = entry["args"][:3]
    nodes = [entry]
    if op == "native_batch_norm":
        nodes.append({"name": "b", "op": "operator.getitem", "args": [{"node": "a"}, 0]})
    bound = {"mean": torch.zeros(3), "var": torch.ones(3)}
    x = torch.randn(8, 3, 4)
    interpreter = Interpreter(parse_program(document(*nodes, inputs=image, weights=weights)), {})
    first = interpreter.run([x], bound).outputs[""]
    assert torch.equal(bound["mean"], torch.zeros(3))
    assert torch.equal(bound["var"], torch.ones(3))
    assert torch.equal(interpreter.run([x], bound).outputs[""], first)
    if op != "instance_norm":
        assert torch.equal(first, torch.nn.functional.batch_norm(x, None, None, training=True))
