"""The sandbox answers what the same call gives without it, bit for bit."""

import copy

import numpy as np
import pytest

from explorer.errors import ProgramError, UsageError
from explorer.inference.attribution import attribute
from explorer.inference.divergence import node_differences
from explorer.inference.edits.apply import apply
from explorer.inference.edits.recipe import parse_recipe
from explorer.inference.generation import generate
from explorer.inference.units import unit_activity

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SCALE = [{"edit": "scale", "target": "conv2.weight[3]", "factor": 0.5}]


def asked(sandbox, kind, **value):
    return sandbox.request(kind, {"key": "digits", **value})


def snapshots_of(case, *steps):
    by_step = {0: case.first, 50: case.halfway, 100: case.weights}

    def maker(step):
        return lambda: {name: tensor.numpy() for name, tensor in by_step[step].items()}

    return {("", step): maker(step) for step in steps}


def test_a_run_gives_original_and_edited_outputs(sandbox, digits):
    image, node = digits.inputs[:1], digits.node("relu", 1)
    answer = asked(
        sandbox, "run", recipe=SCALE, inputs={digits.path: image.numpy()}, nodes=True, control=0, keep=[node]
    )
    edited = apply(parse_recipe(SCALE), digits.subject(), {digits.path: image})
    result = edited.run(keep={node})
    assert np.array_equal(answer["before"][""], digits.eager(image).numpy())
    assert np.array_equal(answer["after"][""], result.outputs[""].numpy())
    assert np.array_equal(answer["kept"][node], result.kept[node].numpy())
    assert not np.array_equal(answer["control"][""], answer["after"][""])
    ours = node_differences(edited)
    assert answer["nodes"].to_dict("list") == ours.to_dict("list")


def test_without_inputs_a_run_is_over_the_probe_batch(sandbox, digits):
    answer = asked(sandbox, "run", recipe=SCALE)
    assert np.array_equal(answer["before"][""], digits.eager().numpy())


def test_the_edits_of_one_request_are_gone_in_the_next(sandbox, digits):
    before = asked(sandbox, "run")["after"][""]
    asked(sandbox, "run", recipe=[{"edit": "zero", "target": ""}])
    assert np.array_equal(asked(sandbox, "run")["after"][""], before)


def test_a_sweep_ablates_every_channel_in_turn(sandbox, digits):
    edits = [{"edit": "ablate", "node": digits.node("relu", 1), "part": f"channel:{i}"} for i in range(16)]
    answer = asked(sandbox, "sweep", edits=edits)
    assert answer["after"].shape == (16, 64, 10)
    third = apply(parse_recipe([edits[3]]), digits.subject(), {digits.path: digits.inputs}).run().outputs[""]
    assert np.array_equal(answer["after"][3], third.numpy())


def test_a_sweep_stands_at_its_place_in_the_recipe(sandbox, digits):
    recipe = [{"edit": "set", "target": "fc.bias", "value": 1.0}]
    edits = [{"edit": "scale", "target": "fc.bias", "factor": factor} for factor in (0.0, 3.0)]
    behind = asked(sandbox, "sweep", recipe=recipe, edits=edits)["after"]
    before = asked(sandbox, "sweep", recipe=recipe, edits=edits, at=0)["after"]
    assert np.array_equal(before[0], before[1])
    assert np.allclose(behind[1] - behind[0], 3.0, atol=1e-5)


def test_many_controls_are_told_beside_the_edit(sandbox, digits):
    answer = asked(sandbox, "run", recipe=SCALE, controls=3)
    assert answer["controls"].shape == (3, *answer["before"][""].shape)
    assert np.array_equal(answer["controls"][0], asked(sandbox, "run", recipe=SCALE, control=0)["control"][""])


def test_the_same_input_runs_through_every_snapshot(sandbox, digits):
    answer = sandbox.request(
        "scrub", {"key": "digits", "steps": [0, 50, 100]}, snapshots=snapshots_of(digits, 0, 50, 100)
    )
    assert answer["steps"].tolist() == [0, 50, 100]
    assert np.array_equal(answer["outputs"][1], digits.eager(weights=digits.halfway).numpy())


def test_an_edit_takes_weights_of_another_step_that_were_sent(sandbox, digits):
    recipe = [{"edit": "take", "target": "", "step": 50}]
    answer = sandbox.request("run", {"key": "digits", "recipe": recipe}, snapshots=snapshots_of(digits, 50))
    assert np.array_equal(answer["after"][""], digits.eager(weights=digits.halfway).numpy())
    with pytest.raises(UsageError, match="weights of step 7 were not given"):
        asked(sandbox, "run", recipe=[{"edit": "take", "target": "", "step": 7}])


def test_a_text_is_continued(sandbox, characters):
    start = characters.inputs[:1, :6]
    answer = sandbox.request(
        "generate", {"key": "characters", "inputs": {characters.path: start.numpy()}, "num_new": 5}
    )
    ours = generate(apply((), characters.subject(), {characters.path: start}), 5)
    assert [token["token"] for token in answer["tokens"]] == [token.token for token in ours]
    assert answer["tokens"][0]["probability"] == ours[0].probability


def test_units_and_attributions_are_told(sandbox, digits):
    node = digits.node("relu", 1)
    edited = apply((), digits.subject(), {digits.path: digits.inputs})
    table = asked(sandbox, "units", node=node)["table"]
    assert table.to_dict("list") == unit_activity(edited, edited.inputs, node).table.to_dict("list")
    image = {digits.path: digits.inputs[:2]}
    answer = asked(
        sandbox,
        "attribute",
        method="integrated_gradients",
        target=4,
        inputs={digits.path: image[digits.path].numpy()},
        check=True,
    )
    ours = attribute(apply((), digits.subject(), image), "integrated_gradients", target=4)
    assert np.array_equal(answer["values"], ours.values)
    assert answer["relative_gap"] == ours.relative_gap()
    assert len(answer["check"]) == 4


@pytest.mark.parametrize(
    ("kind", "value", "error", "text"),
    [
        ("eval", {}, UsageError, "the sandbox can open, load, snapshot, run"),
        ("run", {"key": "other"}, UsageError, "holds no model 'other'"),
        ("run", {"key": None}, UsageError, "key should be a text"),
        ("run", {"recipe": [{"edit": "os.system"}]}, UsageError, "an edit should be one of"),
        ("run", {"recipe": "x" * 100}, UsageError, "a recipe should be a list"),
        ("run", {"keep": "view"}, UsageError, "keep should be names"),
        ("run", {"keep": ["nowhere"]}, ProgramError, "no node 'nowhere'"),
        ("run", {"inputs": {"x": np.zeros(3)}}, ProgramError, "has no input 'x'"),
        ("run", {"inputs": {"x": "text"}}, UsageError, "inputs should be arrays"),
        ("run", {"control": "1"}, UsageError, "control should be a whole number"),
        ("sweep", {"edits": []}, UsageError, "1 to 2,000 edits"),
        ("scrub", {"steps": ["1"]}, UsageError, "steps should be whole numbers"),
        ("attribute", {"method": "deep_lift", "target": 1}, UsageError, "deep_lift is not offered"),
        ("attribute", {"method": "saliency", "target": "1"}, UsageError, "target should be"),
        ("units", {"node": 3}, UsageError, "node should be a text"),
        ("load", {"program": [], "device": "cpu"}, UsageError, "program should be an object"),
        ("load", {"program": {}, "device": "cpu"}, ProgramError, "."),
    ],
)
def test_a_wrong_request_is_refused_and_the_child_lives_on(sandbox, kind, value, error, text):
    pid = sandbox.pid
    with pytest.raises(error, match=text):
        asked(sandbox, kind, **value)
    assert asked(sandbox, "run")["after"][""].shape == (64, 10)
    assert pid in (None, sandbox.pid)


def test_a_program_that_calls_what_is_not_allowed_is_refused(sandbox, digits):
    document = copy.deepcopy(digits.document)
    document["graph"]["nodes"][-1]["op"] = "aten.from_file.default"
    with pytest.raises(ProgramError, match="from_file"):
        sandbox.request(
            "load", {"key": "hostile", "program": document, "device": "cpu", "constants": {}, "weights": {}}
        )


def test_progress_is_told_while_it_works(sandbox, digits):
    told = []
    edits = [{"edit": "ablate", "node": digits.node("relu", 1), "part": f"channel:{i % 16}"} for i in range(400)]
    sandbox.request(
        "sweep", {"key": "digits", "edits": edits}, on_progress=lambda done, total: told.append((done, total))
    )
    assert told
    assert told == sorted(told)
    assert {total for _, total in told} == {400}
