import pytest
import torch
from torch import nn

from explorer.errors import ProgramError
from explorer.inference.folding import fold
from explorer.inference.modules import module_tree, output_nodes
from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.storage.program import references
from explorer.storage.program_document import parse_program
from tests.program_models import GPT, Twice, UNet, resnet


def program_of(model, *inputs):
    found = capture(model, inputs, {})
    return parse_program(found.document), found.constants


@pytest.fixture(scope="module")
def gpt():
    torch.manual_seed(0)
    model, ids = GPT(), torch.randint(0, 30, (2, 6))
    return model, ids, *program_of(model, ids)


def test_the_tree_is_that_of_the_model(gpt):
    model, _, program, _ = gpt
    tree = module_tree(program)
    named = dict(model.named_modules())
    assert set(tree) <= set(named)
    assert tree["blocks"].children == ("blocks.0", "blocks.1")
    assert tree["blocks.0.mlp"].type == "Sequential"
    assert tree["blocks.0.attention.qkv"].parameters[0].shape == (48, 16)
    for path, module in tree.items():
        if path in ("blocks.0", "blocks.1.attention"):
            assert module.num_parameters == sum(parameter.numel() for parameter in named[path].parameters())
    assert tree[""].num_nodes == len(program.graph.nodes)


@pytest.mark.parametrize("build", [GPT, resnet, UNet])
def test_a_modules_output_is_what_a_hook_on_it_sees(build):
    torch.manual_seed(0)
    model = build()
    inputs = {
        GPT: (torch.randint(0, 30, (2, 6)),),
        resnet: (torch.randn(2, 3, 16, 16),),
        UNet: (torch.randn(2, 1, 8, 8), torch.rand(2)),
    }[build]
    program, constants = program_of(model, *inputs)
    model.eval().requires_grad_(False)
    seen = {}
    for path, module in model.named_modules():
        # Cloned at once: an operation in place would change it afterwards.
        module.register_forward_hook(
            lambda module, _, output, path=path: (
                seen.update({path: output.clone()}) if isinstance(output, torch.Tensor) else None
            )
        )
    model(*inputs)
    kept = Interpreter(program, constants).run(inputs, model.state_dict(), keep={"all"}).kept
    tree = module_tree(program)
    compared = 0
    for path, value in seen.items():
        if path and path in tree and not isinstance(dict(model.named_modules())[path], nn.Dropout):
            (name,) = tree[path].outputs
            assert torch.equal(kept[name], value), path
            assert output_nodes(program, path) == (name,)
            compared += 1
    assert compared > 3


def test_each_call_of_a_module_has_an_output_of_its_own():
    program, _ = program_of(Twice(), torch.randn(3, 4))
    first, second = (output_nodes(program, "body", call) for call in (0, 1))
    assert output_nodes(program, "body") == first + second
    assert module_tree(program)["body"].num_calls == 2


def test_a_module_that_is_not_there_is_named(gpt):
    with pytest.raises(ProgramError, match="no module 'nowhere'"):
        output_nodes(gpt[2], "nowhere")


def test_a_folded_graph_is_small_and_leaves_nothing_out(gpt):
    program = gpt[2]
    graph = fold(program)
    assert 3 < len(graph.boxes) <= 40
    ids = {box.id for box in graph.boxes}
    assert all({edge.source, edge.target} <= ids for edge in graph.edges)
    assert {box.kind for box in graph.boxes} >= {"input", "module", "output"}
    shown = {name for box in graph.boxes for name in box.nodes}
    assert shown >= {node.name for node in program.graph.nodes if node.dtype and [*references(node.args)]}


def test_one_module_can_be_opened(gpt):
    program = gpt[2]
    closed = fold(program, depth=2)
    opened = fold(program, depth=2, opened={"blocks.1"})
    assert "module:blocks.1" in {box.id for box in closed.boxes}
    paths = {box.path for box in opened.boxes if box.parent == "blocks.1"}
    assert {"blocks.1.norm", "blocks.1.attention", "blocks.1.mlp"} <= paths
    assert "module:blocks.0" in {box.id for box in opened.boxes}


def test_a_long_chain_of_modules_shares_boxes():
    program, _ = program_of(nn.Sequential(*(nn.Linear(2, 2) for _ in range(60))), torch.randn(1, 2))
    graph = fold(program)
    assert len(graph.boxes) <= 40
    assert {name for box in graph.boxes for name in box.nodes} >= {
        node.name for node in program.graph.nodes if node.dtype
    }
    assert any("…" in box.label for box in graph.boxes)
    assert len(graph.edges) == len(graph.boxes) - 1
