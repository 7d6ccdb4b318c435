"""Which sizes may vary is found out against the model, with plain functions in their place here."""

import pytest
import torch
from torch import nn

from explorer.errors import ProgramError
from explorer.programs.inputs import match_inputs
from explorer.recording.program.capture import capture
from explorer.recording.program.sizes import Trials, settle_sizes
from explorer.storage.program_document import parse_program


def settle(symbols, shapes, example, model, program=None, budget_s=10.0):
    trials = Trials(model, program or model, lambda a, b: a == b, budget_s, 0.0, lambda leaf: leaf)
    inputs = [{"shape": shape} for shape in shapes]
    found = settle_sizes(symbols, inputs, example, trials)
    return found.symbols, found.names, found.small


def sizes(given):
    return {"sizes": [tuple(each.shape) for each in given]}


def refuse(what):
    raise what("not with these sizes")


def test_a_size_that_works_smaller_and_larger_is_open():
    found, names, small = settle({"s": [5, 5]}, [["s", 3]], [torch.ones(5, 3)], sizes)
    assert (found, names) == ({"s": [1, None]}, {})
    assert small[0].shape == (2, 3)


def test_a_size_for_which_the_program_gives_something_else_is_fixed():
    found, names, _ = settle({"s": [0, None]}, [["s"]], [torch.ones(5)], sizes, lambda given: {"sizes": 5})
    assert (found, names) == ({}, {"s": 5})


def test_a_size_of_one_that_the_program_refuses_is_left_out():
    def program(given):
        return refuse(ProgramError) if given[0].shape[0] == 1 else sizes(given)

    assert settle({"s": [0, None]}, [["s"]], [torch.ones(5)], sizes, program)[0] == {"s": [2, None]}


def test_what_the_model_itself_refuses_says_nothing_against_the_program():
    def model(given):
        return refuse(IndexError) if given[0].shape[0] < 5 else sizes(given)

    assert settle({"s": [0, None]}, [["s"]], [torch.ones(5)], model)[0] == {"s": [0, None]}


def test_a_size_of_which_the_model_itself_takes_no_other_is_fixed():
    def model(given):
        return sizes(given) if given[0].shape[0] == 5 else refuse(ValueError)

    assert settle({"s": [0, None]}, [["s"]], [torch.ones(5)], model)[:2] == ({}, {"s": 5})


def test_a_batch_that_is_written_into_the_model_is_the_only_one_of_its_program():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(12, 2)

        def forward(self, x):
            return self.head(x.reshape(4, 12))

    (shape,) = [entry["shape"] for entry in capture(Written().eval(), (torch.rand(4, 3, 2, 2),), {}).document["inputs"]]
    assert shape == [4, 3, 2, 2]


def test_a_size_that_only_doubles_is_open():
    def model(given):
        return sizes(given) if given[0].shape[0] in (4, 8) else refuse(ValueError)

    assert settle({"s": [1, None]}, [["s"]], [torch.ones(4)], model)[0] == {"s": [1, None]}


def test_sizes_that_can_only_change_together_get_one_name():
    def model(given):
        return sizes(given) if given[0].shape[0] == given[1].shape[0] else refuse(ValueError)

    found, names, _ = settle({"a": [0, None], "b": [0, None]}, [["a"], ["b"]], [torch.ones(4), torch.ones(4)], model)
    assert (found, names) == ({"a": [0, None]}, {"b": "a"})


def test_a_tie_is_found_whatever_small_size_was_tried_before():
    def model(given):
        return sizes(given) if given[0].shape == given[1].shape else refuse(ValueError)

    for size in (2, 3, 4, 6):
        example = [torch.ones(size, size + 1), torch.ones(size, size + 1)]
        found, names, _ = settle({key: [0, None] for key in "abcd"}, [["a", "b"], ["c", "d"]], example, model)
        assert (set(found), names) == ({"a", "b"}, {"c": "a", "d": "b"})


def test_sizes_that_the_program_needs_to_be_the_same_are_not_taken_for_free():
    def program(given):
        return sizes(given) if given[0].shape[0] == given[0].shape[1] else refuse(ProgramError)

    found, names, _ = settle({"a": [0, None], "b": [0, None]}, [["a", "b"]], [torch.ones(4, 4)], sizes, program)
    assert (found, names) == ({}, {"a": 4, "b": 4})


def test_a_size_of_one_that_is_refused_leaves_smaller_ones_open():
    def program(given):
        return refuse(ProgramError) if 1 in given[0].shape or 1 in given[1].shape else sizes(given)

    example = [torch.ones(2, 5), torch.ones(2, 3)]
    found, _, _ = settle({key: [0, None] for key in "abcd"}, [["a", "b"], ["c", "d"]], example, sizes, program)
    assert found["b"] == found["d"] == [2, None]


def test_a_model_that_takes_any_size_is_run_three_times_for_each_trial_of_it():
    calls = []

    def model(given):
        calls.append([tuple(each.shape) for each in given])
        return sizes(given)

    settle({"a": [0, None], "b": [0, None]}, [["a", "b"]], [torch.ones(2, 9)], model, sizes)
    assert calls == [[(3, 4)], [(1, 1)], [(1, 10)]]


def test_one_size_that_is_fixed_costs_no_trial_of_the_others_at_their_full_size():
    calls = []

    def model(given):
        calls.append(tuple(given[0].shape))
        return sizes(given) if given[0].shape[1] == 3 else refuse(ValueError)

    symbols = {"n": [0, None], "c": [0, None], "h": [0, None], "w": [0, None]}
    found, names, _ = settle(symbols, [["n", "c", "h", "w"]], [torch.ones(1, 3, 50, 60)], model)
    assert (set(found), names) == ({"n", "h", "w"}, {"c": 3})
    assert max(shape[2] * shape[3] for shape in calls if shape[1] == 3) < 50


def test_brief_trials_never_run_inputs_as_large_as_the_example():
    calls = []

    def model(given):
        calls.append(given[0].shape[0])
        return refuse(IndexError) if given[0].shape[0] < 20 else sizes(given)

    trials = Trials(model, model, lambda a, b: a == b, 10.0, 0.0, lambda leaf: leaf, is_brief=True)
    found = settle_sizes({"s": [0, None]}, [{"shape": ["s"]}], [torch.ones(20)], trials)
    assert found.symbols == {"s": [0, None]}
    assert max(calls) < 20


def test_sizes_that_are_the_same_by_chance_stay_apart():
    found, names, _ = settle({"a": [0, None], "b": [0, None]}, [["a"], ["b"]], [torch.ones(4), torch.ones(4)], sizes)
    assert (set(found), names) == ({"a", "b"}, {})


def test_a_fixed_size_that_another_one_equals_by_chance_does_not_fix_it():
    def model(given):
        return sizes(given) if given[0].shape[0] == 4 else refuse(ValueError)

    found, names, _ = settle({"a": [4, 4], "b": [0, None]}, [["a"], ["b"]], [torch.ones(4), torch.ones(4)], model)
    assert (found, names) == ({"b": [0, None]}, {"a": 4})


def test_without_time_sizes_stay_as_export_has_them():
    found, _, _ = settle({"s": [3, 9]}, [["s"]], [torch.ones(5)], sizes, budget_s=-1.0)
    assert found == {"s": [3, 9]}


class BakesItsLength(nn.Module):
    def forward(self, x):
        return x / torch.ones(len(x))[:, None]


@pytest.mark.filterwarnings("ignore")
def test_a_length_that_python_took_from_a_tensor_is_refused_otherwise_instead_of_wrong():
    found = capture(BakesItsLength(), (torch.randn(5, 2),), {})
    program = parse_program(found.document)
    match_inputs(program, [torch.randn(5, 2)])
    with pytest.raises(ProgramError, match="should have the size 5"):
        match_inputs(program, [torch.randn(4, 2)])


class BakesItsMean(nn.Module):
    """A number that export takes for a constant, where it is computed from the input each time."""

    def forward(self, x):
        return x * torch.tensor(x.detach().mean().tolist())


@pytest.mark.filterwarnings("ignore")
def test_a_number_that_the_model_computes_anew_does_not_stay_in_the_program():
    found = capture(BakesItsMean(), (torch.randn(5, 2),), {})
    if found.document["route"] == "tape":
        assert any(node.get("expect") is not None for node in found.document["graph"]["nodes"])
    else:
        assert found.document["check"] == {"": 0.0}
