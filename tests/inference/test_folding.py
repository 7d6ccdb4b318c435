import pytest
import torch
from torch import nn

from explorer.inference.folding import MAX_BOXES, fold
from explorer.inference.modules import path_of
from explorer.recording.program.capture import capture
from explorer.storage.program import references
from explorer.storage.program_document import parse_program
from tests.program_models import GPT, Twice, UNet, resnet


def program_of(model, *inputs):
    return parse_program(capture(model, inputs, {}).document)


@pytest.fixture(scope="module")
def gpt():
    torch.manual_seed(0)
    return program_of(GPT(), torch.randint(0, 30, (2, 6)))


class Block(nn.Module):
    """A residual block."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.body = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.body(self.norm(x))


class Parts(nn.Module):
    """Queries, keys and values from one layer, taken apart by unbind."""

    def __init__(self):
        super().__init__()
        self.all = nn.Linear(4, 12)

    def forward(self, x):
        query, key, value = self.all(x).view(-1, 3, 4).unbind(1)
        return query * key + value


def kinds(graph, kind):
    return [box for box in graph.boxes if box.kind == kind]


def assert_whole(program, graph):
    """Every tensor is in one box, and an arrow is there for every tensor that one box reads from another."""
    place = {name: box.id for box in graph.boxes for name in box.nodes}
    dtypes = {node.name: node.dtype for node in program.graph.nodes}
    assert place.keys() >= {name for name, dtype in dtypes.items() if dtype}
    assert sum(len(box.nodes) for box in graph.boxes) == len(place)
    wanted = {
        (place[name], place[node.name])
        for node in program.graph.nodes
        if node.dtype
        for name in (*references(node.args), *references(tuple(node.kwargs.values())))
        if dtypes.get(name) and place[name] != place[node.name]
    }
    found = {(edge.source, edge.target) for edge in graph.edges}
    assert wanted <= found
    assert {end for edge in found for end in edge} <= {box.id for box in graph.boxes}


@pytest.mark.parametrize("build", [GPT, resnet, UNet])
def test_a_folded_graph_is_small_and_leaves_nothing_out(build):
    torch.manual_seed(0)
    inputs = {
        GPT: (torch.randint(0, 30, (2, 6)),),
        resnet: (torch.randn(2, 3, 16, 16),),
        UNet: (torch.randn(2, 1, 8, 8), torch.rand(2)),
    }[build]
    program = program_of(build(), *inputs)
    graph = fold(program)
    assert 3 < len(graph.boxes) <= MAX_BOXES
    assert {box.kind for box in graph.boxes} >= {"input", "module", "output"}
    assert_whole(program, graph)
    for opened in ([], graph.opened, [call.path for call in program.modules]):
        assert_whole(program, fold(program, opened))


def test_nothing_opened_shows_the_modules_right_below_the_model(gpt):
    closed = fold(gpt, [])
    assert {box.path for box in kinds(closed, "module")} == {
        path_of(gpt, node).partition(".")[0] for node in gpt.graph.nodes if path_of(gpt, node)
    }
    assert closed.opened == ()


def test_one_module_can_be_opened(gpt):
    opened = fold(gpt, ["blocks", "blocks.1"])
    assert {"blocks.1.norm", "blocks.1.attention", "blocks.1.mlp"} <= {
        box.path for box in opened.boxes if box.parent == "blocks.1"
    }
    assert "module:blocks.0" in {box.id for box in opened.boxes}
    assert opened.opened == ("blocks", "blocks.1")


def test_a_module_in_a_closed_one_is_not_drawn(gpt):
    assert fold(gpt, ["blocks.1"]).boxes == fold(gpt, []).boxes


def test_a_module_without_modules_opens_to_its_operators():
    program = program_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.randn(1, 2))
    opened = fold(program, ["0"])
    assert [box.label for box in kinds(opened, "operator")] == ["linear"]
    assert [box.parent for box in kinds(opened, "operator")] == ["0"]


def test_a_long_chain_of_modules_shares_boxes():
    program = program_of(nn.Sequential(*(nn.Linear(2, 2) for _ in range(60))), torch.randn(1, 2))
    graph = fold(program)
    assert MAX_BOXES // 2 < len(graph.boxes) <= MAX_BOXES
    assert_whole(program, graph)
    (group,) = {box.type for box in kinds(graph, "group")}
    assert group == "Linear"
    assert len(graph.edges) == len(graph.boxes) - 1
    assert sum(len(box.members) or 1 for box in graph.boxes) == 62


def test_what_is_kept_has_a_box_of_its_own():
    program = program_of(nn.Sequential(*(nn.Linear(2, 2) for _ in range(60))), torch.randn(1, 2))
    graph = fold(program, kept=["30"])
    assert len(graph.boxes) <= MAX_BOXES
    assert "module:30" in {box.id for box in graph.boxes}


def test_repeated_blocks_share_a_box_before_anything_else_does():
    blocks = nn.Sequential(*(Block() for _ in range(44)))
    program = program_of(nn.Sequential(nn.Linear(4, 4), blocks, nn.Linear(4, 4)), torch.randn(2, 4))
    graph = fold(program, ["1", "1.7"])
    assert len(graph.boxes) <= MAX_BOXES
    assert {member.type for box in kinds(graph, "group") for member in box.members} == {"Block"}
    assert {"1.7.norm", "1.7.body"} <= {box.path for box in graph.boxes}
    assert_whole(program, graph)


def test_a_value_that_is_taken_apart_stays_connected():
    program = program_of(Parts(), torch.randn(2, 4))
    graph = fold(program)
    assert ("module:all", "operator") in {
        (edge.source, next(box.kind for box in graph.boxes if box.id == edge.target)) for edge in graph.edges
    }
    assert all(any(box.id == edge.target for edge in graph.edges) for box in graph.boxes if box.kind != "input")


def test_a_module_that_is_called_twice_is_one_box():
    program = program_of(Twice(), torch.randn(3, 4))
    graph = fold(program)
    assert [box.path for box in kinds(graph, "module")].count("body") == 1


def test_a_layer_with_a_parametrized_weight_is_one_box_at_first():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2))
    program = program_of(model, torch.randn(3, 4))
    assert [box.path for box in fold(program).boxes if box.kind == "module"] == ["0", "1", "2"]
    opened = [box.path for box in fold(program, ["0", "0.parametrizations"]).boxes if box.kind == "module"]
    assert "0.parametrizations.weight" in opened
