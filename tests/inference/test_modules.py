import pytest
import torch
from torch import nn

from explorer.errors import ProgramError
from explorer.inference.modules import module_tree, output_nodes
from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
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
