"""Which part of a batch is kept to capture with, and that nothing of the training is held on to."""

from types import SimpleNamespace

import pytest
import torch

from explorer.recording.program.held import MAX_ROWS, TooLarge, hold


def sizes(choices):
    return [tuple(choice[0][0].shape) for choice in choices]


def test_the_first_examples_and_then_the_whole_batch_are_offered():
    assert sizes(hold((torch.ones(40, 4), torch.ones(40)), {})) == [(MAX_ROWS, 4), (40, 4)]


def test_a_small_batch_is_kept_as_it_is():
    assert sizes(hold((torch.ones(3, 4),), {"mask": torch.ones(3)})) == [(3, 4)]


def test_inputs_of_different_first_sizes_are_not_cut():
    assert sizes(hold((torch.ones(40, 4), torch.ones(2, 50)), {})) == [(40, 4)]


def test_of_a_large_batch_only_the_first_examples_are_copied(monkeypatch):
    monkeypatch.setattr("explorer.recording.program.held.MAX_WHOLE_BYTES", 100)
    choices = hold((torch.ones(40, 4),), {})
    assert sizes(choices) == [(MAX_ROWS, 4)]
    assert choices[0][0][0].untyped_storage().nbytes() == MAX_ROWS * 4 * 4


def test_what_cannot_be_kept_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr("explorer.recording.program.held.MAX_BYTES", 2**20)
    with pytest.raises(TooLarge, match="it has 4 MiB, and at most 1 MiB are kept"):
        hold((torch.ones(2, 2**19),), {})


def test_places_within_a_batch_on_an_accelerator_are_never_cut_away():
    """There an index that is out of range ends the process's use of the device; the meta device stands for one."""
    points, nearest = torch.ones(40, 3, device="meta"), torch.zeros(40, 5, dtype=torch.long, device="meta")
    assert sizes(hold((points, nearest), {})) == [(40, 3)]
    assert sizes(hold((nearest, nearest), {"mask": nearest > 0})) == [(MAX_ROWS, 5), (40, 5)]


def test_copies_have_no_history_and_do_not_follow_the_training():
    x = torch.ones(3, 4, requires_grad=True)
    data = SimpleNamespace(x=x * 1, name="a graph")
    ((args, kwargs),) = hold((x, [x], data), {"more": {"x": x}, "scale": 2})
    with torch.no_grad():
        x.zero_()
        data.x.zero_()
    kept = (args[0], args[1][0], args[2].x, kwargs["more"]["x"])
    assert all(tensor.eq(1).all() and not tensor.requires_grad for tensor in kept)
    assert (args[2].name, kwargs["scale"]) == ("a graph", 2)


def test_a_call_without_tensors_is_nothing_to_capture_with():
    assert hold((1, "a"), {}) == []
