import gc
import weakref

import pytest
import torch

from explorer.errors import OutOfMemory, ProgramError
from explorer.programs.interpreter import Interpreter, PathChanged
from explorer.storage.program_document import parse_program

pytestmark = pytest.mark.filterwarnings("ignore")


def run(document, *inputs, weights=None, constants=None, **options):
    return Interpreter(parse_program(document), constants or {}).run(list(inputs), weights or {}, **options)


def test_keeping_every_value_gives_what_hooks_see_in_the_model(captured):
    model, interpreter, weights, args = captured("gpt")
    seen = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm | torch.nn.GELU):
            module.register_forward_hook(lambda module, _, output, path=path: seen.update({path: output}))
    model(*args)
    kept = interpreter.run(args, weights, keep={"all"}).kept
    program = interpreter.program
    assert list(kept) == [node.name for node in program.graph.nodes]
    for path, value in seen.items():
        (index,) = [index for index, module in enumerate(program.modules) if module.path == path]
        (node,) = [node for node in program.graph.nodes if node.module == index]
        assert torch.equal(kept[node.name], value)


def test_replacing_a_value_by_itself_changes_no_bit(captured):
    _, interpreter, weights, args = captured("resnet")
    whole = interpreter.run(args, weights, keep={"all"})
    same = interpreter.run(
        args, weights, replace={name: value for name, value in whole.kept.items() if isinstance(value, torch.Tensor)}
    )
    assert torch.equal(same.outputs[""], whole.outputs[""])


def test_a_full_cut_patched_from_another_input_gives_the_other_output(captured):
    _, interpreter, weights, args = captured("mlp")
    other = torch.randn_like(args[0])
    there = interpreter.run([other], weights, keep={"relu"})
    patched = interpreter.run(args, weights, replace={"relu": there.kept["relu"]})
    assert torch.equal(patched.outputs[""], there.outputs[""])
    assert not torch.equal(patched.outputs[""], interpreter.run(args, weights).outputs[""])


def test_zeroing_an_activation_equals_a_hook_that_zeroes_it(captured):
    model, interpreter, weights, args = captured("mlp")
    handle = model[1].register_forward_hook(lambda module, _, output: output * 0)
    wanted = model(*args)
    handle.remove()
    assert torch.equal(interpreter.run(args, weights, replace={"relu": lambda value: value * 0}).outputs[""], wanted)


def test_inputs_and_weights_can_be_kept_and_replaced_like_nodes(captured):
    _, interpreter, weights, args = captured("mlp")
    name = interpreter.program.graph.inputs[0]
    result = interpreter.run(args, weights, keep={name}, replace={name: args[0] * 2})
    assert torch.equal(result.kept[name], args[0] * 2)
    assert torch.equal(result.outputs[""], interpreter.run([args[0] * 2], weights).outputs[""])


def test_gradients_of_inputs_and_weights_are_the_models(captured):
    model, interpreter, weights, args = captured("cnn")
    x = args[0].clone().requires_grad_()
    trained = {name: value.clone().requires_grad_(name.endswith(("weight", "bias"))) for name, value in weights.items()}
    interpreter.run([x], trained).outputs[""].square().sum().backward()
    y = args[0].clone().requires_grad_()
    model.requires_grad_(True)
    model(y).square().sum().backward()
    assert torch.equal(x.grad, y.grad)
    for name, parameter in model.named_parameters():
        assert torch.equal(trained[name].grad, parameter.grad)
    model.requires_grad_(False).zero_grad()


def test_random_numbers_are_the_same_at_each_run_and_nobody_elses_change(captured):
    _, interpreter, weights, args = captured("vae")
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    first, second = (interpreter.run(args, weights).outputs["['image']"] for _ in range(2))
    other = interpreter.run(args, weights, seed=1).outputs["['image']"]
    assert torch.equal(torch.rand(3), wanted)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_values_are_freed_when_they_are_last_read(document, node):
    program = document(
        node("a", "aten.mul.Tensor", "@x", 2.0),
        node("b", "aten.sin.default", "@a"),
        node("c", "aten.cos.default", "@b"),
        node("d", "aten.exp.default", "@c"),
    )
    alive, values = [], []

    def watch(found, value):
        gc.collect()
        values.append(weakref.ref(value))
        alive.append([each() is not None for each in values])

    run(program, torch.ones(1, 2), on_node=watch)
    assert alive[2][0] is False
    assert alive[3][:2] == [False, False]


def test_each_node_is_shown_in_order_after_it_was_replaced(document, node):
    program = document(node("a", "aten.mul.Tensor", "@x", 2.0), node("b", "aten.add.Tensor", "@a", 1))
    seen = []
    run(
        program,
        torch.ones(1, 2),
        replace={"a": lambda value: value * 0},
        on_node=lambda found, value: seen.append((found.name, value[0, 0].item())),
    )
    assert seen == [("a", 0.0), ("b", 1.0)]


def test_values_that_are_no_numbers_go_through(document, node):
    program = document(node("a", "aten.mul.Tensor", "@x", {"float": "nan"}))
    assert run(program, torch.ones(1, 2)).outputs[""].isnan().all()


def test_lists_slices_and_sizes_are_put_together_in_each_run(document, node):
    program = document(
        node("n", "aten.sym_size.int", "@x", 0),
        node("m", "operator.mul", "@n", 2),
        node("v", "aten.view.default", "@x", ["@m"]),
    )
    interpreter = Interpreter(parse_program(program), {})
    for rows in (1, 4):
        assert interpreter.run([torch.ones(rows, 2)], {}).outputs[""].shape == (2 * rows,)


def test_memory_as_it_was_left_is_never_shown(document, node):
    program = document(node("a", "aten.empty_like.default", "@x"))
    assert run(program, torch.full((100, 2), 7.0)).outputs[""].eq(0).all()


def test_too_little_memory_is_an_error_of_its_own(document, node):
    program = document(node("a", "aten.full.default", [10**13], 1.0))
    with pytest.raises(OutOfMemory, match=r"aten\.full\.default at a"):
        run(program, torch.ones(1, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([torch.ones(2, 3)], r"dimension 1 of the input args\[0\] should have the size 2"),
        ([torch.ones(2)], "should have 2 dimensions"),
        ([torch.ones(0, 2)], "at least 1"),
        ([torch.ones(2, 2).long()], "should be float32; found int64"),
        ([[1.0]], "should be a tensor"),
        ([], "takes 1 inputs; found 0"),
        ({"args[1]": torch.ones(2, 2)}, r"no input 'args\[1\]'"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_what_was_expected(document, node, given, message):
    interpreter = Interpreter(parse_program(document(node("a", "aten.neg.default", "@x"))), {})
    with pytest.raises(ProgramError, match=message):
        interpreter.run(given, {})


def test_two_inputs_that_must_have_one_size_are_compared(document, node):
    inputs = [
        {"name": name, "path": f"args[{index}]", "dtype": "float32", "shape": ["s0"]} for index, name in enumerate("xy")
    ]
    program = document(node("a", "aten.add.Tensor", "@x", "@y"), inputs=inputs)
    with pytest.raises(ProgramError, match=r"should have the size 2, as dimension 0 of the input args\[0\]"):
        run(program, torch.ones(2), torch.ones(3))


def test_what_was_no_tensor_is_part_of_the_program(document, node):
    inputs = [
        {"name": "x", "path": "args[0]", "dtype": "float32", "shape": ["s0", 2]},
        {"name": "flag", "path": "kwargs['flag']", "value": True},
    ]
    interpreter = Interpreter(parse_program(document(node("a", "aten.neg.default", "@x"), inputs=inputs)), {})
    assert interpreter.run([torch.ones(1, 2)], {}).outputs[""].eq(-1).all()
    with pytest.raises(ProgramError, match="part of the program"):
        interpreter.run([torch.ones(1, 2), False], {})


def test_missing_weights_constants_and_nodes_are_named(document, node):
    weight = {"w": {"name": "fc.weight", "role": "param", "dtype": "float32", "shape": [2]}}
    program = document(node("a", "aten.mul.Tensor", "@x", "@w"), weights=weight)
    with pytest.raises(ProgramError, match=r"'fc\.weight' is missing"):
        run(program, torch.ones(1, 2))
    with pytest.raises(ProgramError, match="no node 'nowhere'"):
        run(program, torch.ones(1, 2), keep={"nowhere"})
    weight["w"]["role"] = "constant"
    with pytest.raises(ProgramError, match="its file is damaged or gone"):
        run(program, torch.ones(1, 2))


def test_a_new_value_must_have_the_shape_of_the_old_one(document, node):
    program = document(node("a", "aten.neg.default", "@x"))
    with pytest.raises(ProgramError, match=r"should have the shape \(1, 2\); found \(3,\)"):
        run(program, torch.ones(1, 2), replace={"a": torch.ones(3)})


def test_an_operator_that_fails_says_where(document, node):
    program = document(node("a", "aten.mm.default", "@x", "@x", source="model.py:7"))
    with pytest.raises(ProgramError, match=r"aten\.mm\.default at a \(model\.py:7\)"):
        run(program, torch.ones(3, 2))


def test_a_tape_refuses_an_input_that_would_take_another_path(captured):
    model, interpreter, weights, args = captured("decides in Python")
    assert torch.equal(interpreter.run(args, weights).outputs[""], model(*args))
    with pytest.raises(PathChanged, match="True when it was recorded, False now"):
        interpreter.run([-args[0]], weights)


def test_a_tape_that_writes_into_tensors_leaves_inputs_weights_and_kept_values_alone(document, node):
    weight = {"w": {"name": "w", "role": "param", "dtype": "float32", "shape": [2]}}
    program = document(
        node("a", "aten.add.Tensor", "@x", "@w"),
        node("b", "aten.relu_.default", "@a"),
        node("c", "aten.mul_.Tensor", "@w", 0.0),
        node("d", "aten.neg_.default", "@x"),
        weights=weight,
        route="tape",
    )
    x, w = -torch.ones(1, 2), torch.ones(2) / 2
    kept = run(program, x, weights={"w": w}, keep={"a", "b"}).kept
    assert x.eq(-1).all()
    assert w.eq(0.5).all()
    assert kept["a"].eq(-0.5).all()
    assert kept["b"].eq(0).all()


def test_both_branches_of_a_cond_are_run_as_the_input_says(captured):
    model, interpreter, weights, args = captured("cond")
    for x in (args[0], -args[0]):
        assert torch.equal(interpreter.run([x], weights).outputs[""], model(x))
