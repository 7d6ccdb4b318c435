"""Edits of activations against hooks on the author's own model, and what must hold whatever the model."""

import pytest
import torch
from torch import nn

from explorer.errors import UsageError
from explorer.inference.edits.apply import Subject, apply
from explorer.inference.edits.batch import takes_one
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.modules import module_tree
from explorer.programs.interpreter import Interpreter
from explorer.recording.program.capture import capture
from explorer.storage.program_document import parse_program


def run(case, *edits, inputs=None, **changes):
    subject = case.subject(**changes)
    return apply(parse_recipe(edits), subject, {case.path: case.inputs if inputs is None else inputs}).run().outputs[""]


def hooked(case, module, change, inputs=None):
    """The author's model with a change of one module's output."""
    handle = case.model.get_submodule(module).register_forward_hook(lambda _module, _args, output: change(output))
    try:
        return case.eager(inputs)
    finally:
        handle.remove()


def activations(case, module, inputs=None):
    found = []
    hooked(case, module, lambda value: found.append(value.clone()), inputs)
    return found[0]


def column_set(value, column, new, dim=1):
    value = value.clone()
    value.select(dim, column).copy_(new)
    return value


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        ({"edit": "ablate", "by": "zero", "part": "channel:1"}, lambda v, p: column_set(v, 1, torch.tensor(0.0))),
        ({"edit": "ablate", "part": "channel:1"}, lambda v, p: column_set(v, 1, p().mean(0)[1])),
        ({"edit": "ablate"}, lambda v, p: p().mean(0, keepdim=True).expand_as(v)),
        ({"edit": "scale_activation", "factor": -1.5}, lambda v, p: v * -1.5),
        ({"edit": "scale_activation", "factor": 3, "part": "channel:0"}, lambda v, p: column_set(v, 0, v[:, 0] * 3)),
        ({"edit": "clamp_activation", "low": -0.1, "high": 0.2}, lambda v, p: v.clamp(-0.1, 0.2)),
        ({"edit": "clamp_activation", "high": 0.2}, lambda v, p: v.clamp(max=0.2)),
        ({"edit": "patch", "example": 5}, lambda v, p: p(5).expand_as(v)),
        ({"edit": "patch", "example": 5, "part": "channel:1"}, lambda v, p: column_set(v, 1, p(5)[0, 1])),
    ],
    ids=range(9),
)
def test_an_edit_is_what_a_hook_on_the_authors_model_gives(digits, edit, change):
    inputs = digits.inputs[8:20]
    values = {None: activations(digits, "conv2"), 5: activations(digits, "conv2", digits.inputs[5:6])}

    def probe(example=None):
        return values[example]

    found = run(digits, {"node": digits.node("conv2d", 1), **edit}, inputs=inputs)
    assert torch.equal(found, hooked(digits, "conv2", lambda value: change(value, probe), inputs))
    assert not torch.equal(found, digits.eager(inputs))


def test_zeroing_a_unit_is_zeroing_its_row_of_weights(diabetes):
    unit = {"edit": "ablate", "node": diabetes.node("linear", 1), "part": "unit:5", "by": "zero"}
    row = [{"edit": "zero", "target": "2.weight[5]"}, {"edit": "zero", "target": "2.bias[5]"}]
    after = {"edit": "ablate", "node": diabetes.node("relu", 1), "part": "unit:5", "by": "zero"}
    column = {"edit": "zero", "target": "4.weight[:,5]"}
    results = [run(diabetes, *edits) for edits in ([unit], row, [after], [column])]
    assert all(torch.equal(results[0], other) for other in results[1:])
    assert not torch.equal(results[0], diabetes.eager())


def test_the_mean_is_not_zero(diabetes):
    edit = {"edit": "ablate", "node": diabetes.node("relu", 0), "part": "unit:5"}
    assert not torch.equal(run(diabetes, edit), run(diabetes, {**edit, "by": "zero"}))


def test_a_patch_of_a_full_cut_gives_the_other_inputs_outputs_bit_for_bit(digits, diabetes, characters):
    cuts = ((digits, digits.node("flatten")), (diabetes, diabetes.node("relu", 1)))
    for case, node in cuts:
        found = run(case, {"edit": "patch", "node": node, "example": 7}, inputs=case.inputs[:1])
        assert torch.equal(found, case.eager(case.inputs[7:8]))
        assert not torch.equal(found, case.eager(case.inputs[:1]))
    residual = [{"edit": "patch", "node": node, "example": 7} for node in (characters.node("layer_norm", 1),)]
    last = characters.program.graph.nodes[-2].name  # the sum that the head reads: everything goes through it
    found = run(characters, *residual, {"edit": "patch", "node": last, "example": 7}, inputs=characters.inputs[:1])
    assert torch.equal(found, characters.eager(characters.inputs[7:8]))


def test_a_patch_from_the_same_input_changes_nothing(characters):
    node = characters.node("linear", 1)
    for part in ("", "unit:3,4", "position:2", "head:1/4"):
        found = run(
            characters, {"edit": "patch", "node": node, "part": part, "example": 3}, inputs=characters.inputs[3:4]
        )
        assert torch.equal(found, characters.eager(characters.inputs[3:4]))


def test_a_patch_from_another_step_takes_that_steps_value(digits):
    cut = digits.node("flatten")
    found = run(digits, {"edit": "patch", "node": cut, "step": 50})
    head = {name: digits.weights[name] for name in ("fc.weight", "fc.bias")}
    assert torch.equal(found, digits.eager(weights={**digits.halfway, **head}))


def test_heads_are_the_same_whether_they_have_a_dimension_or_lie_side_by_side(characters):
    apart = {
        "edit": "ablate",
        "node": characters.node("scaled_dot_product_attention"),
        "part": "head:1,3",
        "by": "zero",
    }
    side_by_side = {"edit": "ablate", "node": characters.node("reshape", 3), "part": "head:1,3/4", "by": "zero"}
    units = {**side_by_side, "part": "unit:" + ",".join(str(i) for i in (*range(6, 12), *range(18, 24)))}
    results = [run(characters, edit) for edit in (apart, side_by_side, units)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], characters.eager())


def test_a_later_position_cannot_reach_an_earlier_one(characters):
    found = run(
        characters, {"edit": "ablate", "node": characters.node("linear", 0), "part": "position:9", "by": "zero"}
    )
    before = characters.eager()
    assert torch.equal(found[:, :9], before[:, :9])
    assert not torch.equal(found[:, 9:], before[:, 9:])


def test_the_mean_over_texts_of_another_length_is_over_their_positions_too(characters):
    node = characters.node("relu")
    found = run(characters, {"edit": "ablate", "node": node}, inputs=characters.inputs[:2, :5])
    probe = characters.subject().run({characters.path: characters.inputs}, keep={node}).kept[node]
    mean = probe.mean(0, keepdim=True).mean(1, keepdim=True).expand(2, 5, -1)
    by_hand = characters.subject().run({characters.path: characters.inputs[:2, :5]}, replace={node: lambda _: mean})
    assert torch.equal(found, by_hand.outputs[""])


def test_resampling_takes_other_examples_and_the_seed_says_which(digits):
    edit = {"edit": "ablate", "node": digits.node("flatten"), "by": "resample", "seed": 4}
    chosen = torch.randint(64, (64,), generator=torch.Generator().manual_seed(4))
    assert torch.equal(run(digits, edit), digits.eager()[chosen])
    assert torch.equal(run(digits, edit), run(digits, edit))
    assert not torch.equal(run(digits, edit), run(digits, {**edit, "seed": 5}))


def test_edits_of_one_node_are_done_in_order(diabetes):
    node = diabetes.node("linear", 0)
    scale, clamp = {"edit": "scale_activation", "factor": 2}, {"edit": "clamp_activation", "high": 0.5}
    first = run(diabetes, {"node": node, **scale}, {"node": node, **clamp})
    assert torch.equal(first, hooked(diabetes, "0", lambda value: (value * 2).clamp(max=0.5)))
    assert not torch.equal(first, run(diabetes, {"node": node, **clamp}, {"node": node, **scale}))


def test_unit_effects_of_the_last_hidden_layer_add_up(diabetes):
    node, base = diabetes.node("relu", 1), diabetes.eager()
    single = [
        run(diabetes, {"edit": "ablate", "node": node, "part": f"unit:{i}", "by": "zero"}) - base for i in range(16)
    ]
    every = run(diabetes, {"edit": "ablate", "node": node, "by": "zero"}) - base
    assert torch.allclose(sum(single), every, atol=4e-6)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        ({"edit": "ablate", "node": "nowhere"}, "should name a node of the program; found 'nowhere'"),
        ({"edit": "ablate", "part": "channel:16"}, "the value has the channels 0 to 15; found 16"),
        ({"edit": "ablate", "part": "head:0/3"}, "4 features cannot be 3 heads of one size"),
        ({"edit": "patch", "example": 64}, "one of 64 recorded ones, from 0; found 64"),
    ],
)
def test_what_cannot_be_done_is_said(digits, edit, text):
    with pytest.raises(UsageError, match=text):
        run(digits, {"node": digits.node("conv2d", 1), **edit})


def test_a_value_that_is_no_single_tensor_cannot_be_edited(characters):
    with pytest.raises(UsageError, match="one floating tensor"):
        run(characters, {"edit": "scale_activation", "node": characters.node("chunk"), "factor": 2})


def test_without_recorded_examples_the_mean_is_refused(digits):
    with pytest.raises(UsageError, match="needs recorded examples; there are none"):
        run(digits, {"edit": "ablate", "node": digits.node("relu")}, probe=None)


class TimeFirst(nn.Module):
    """Its recurrent layer works on [T, B, D], as is PyTorch's default."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.GRU(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.rnn(x.transpose(0, 1))[0].transpose(0, 1))


class Experts(nn.Module):
    """Rows above 0 go one way, all others another."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        y = torch.zeros_like(x)
        for expert, chosen in ((self.first, x[:, 0] > 0), (self.second, x[:, 0] <= 0)):
            rows = chosen.nonzero().squeeze(-1)
            y = y.index_add(0, rows, expert(x[rows]))
        return y


def captured(model, inputs):
    """A subject of a model, and the name of the value that each of its modules gives."""
    model.eval().requires_grad_(False)  # a GRU rounds otherwise where its weights could learn
    found = capture(model, (inputs,), {})
    program = parse_program(found.document)
    subject = Subject(Interpreter(program, found.constants), dict(model.state_dict()), probe={"args[0]": inputs})
    return subject, {path: module.outputs[0] for path, module in module_tree(program).items() if module.outputs}


def output(subject, inputs, **edit):
    return apply(parse_recipe([edit]), subject, {"args[0]": inputs}).run().outputs[""]


def by_hook(model, layer, inputs, change):
    handle = layer.register_forward_hook(lambda _module, _args, value: (change(value[0]), value[1]))
    try:
        with torch.no_grad():
            return model(inputs)
    finally:
        handle.remove()


def test_examples_are_told_from_positions_where_time_comes_first():
    torch.manual_seed(0)
    model, inputs = TimeFirst(), torch.randn(5, 7, 3)
    subject, nodes = captured(model, inputs)

    def mean_of_the_examples(value):  # [T, B, D]
        return value.transpose(0, 1).mean(0)[:, None].expand_as(value)

    found = output(subject, inputs, edit="ablate", node=nodes["rnn"])
    assert torch.equal(found, by_hook(model, model.rnn, inputs, mean_of_the_examples))

    def without_position_2(value):
        value = value.clone()
        value[2] = 0
        return value

    found = output(subject, inputs, edit="ablate", by="zero", node=nodes["rnn"], part="position:2")
    assert torch.equal(found, by_hook(model, model.rnn, inputs, without_position_2))


def test_a_value_is_patched_from_an_example_of_a_model_that_takes_none_alone():
    torch.manual_seed(0)
    model, inputs = TimeFirst(), torch.randn(5, 7, 3)
    subject, nodes = captured(model, inputs)
    assert not takes_one(subject.interpreter.program)
    found = output(subject, inputs, edit="patch", node=nodes["rnn"], example=3)
    assert torch.equal(found, by_hook(model, model.rnn, inputs, lambda value: value[:, 3:4].expand_as(value)))
    with pytest.raises(UsageError, match="one of 5 recorded ones"):
        output(subject, inputs, edit="patch", node=nodes["rnn"], example=5)


@pytest.mark.parametrize("by", ["mean", "resample"])
def test_a_part_that_no_example_is_sent_through_has_no_mean(by):
    torch.manual_seed(0)
    inputs = torch.randn(6, 3).abs()
    subject, nodes = captured(Experts(), inputs)
    with pytest.raises(UsageError, match="ablate it by zero instead"):
        output(subject, inputs, edit="ablate", node=nodes["second"], by=by)
    for part in ("", "unit:0", "head:0/3"):
        found = output(subject, inputs, edit="ablate", node=nodes["second"], by="zero", part=part)
        assert torch.equal(found, subject.run({"args[0]": inputs}).outputs[""])
