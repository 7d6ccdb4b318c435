"""What was watched, as the recorder wrote it down; a damaged record is no reason to stop."""

import pytest

from explorer import open_run
from explorer.errors import DamagedFile, UnsupportedFormat
from explorer.reading.model_record import read_model, read_model_file

RECORD = {
    "format": 1,
    "tensors": [
        {"name": "fc.weight", "kinds": ["param", "grad"], "shape": [3, 4], "dtype": "float32", "module": "fc",
         "module_type": "Linear", "order": 0, "depth": 1, "trainable": True, "tied_to": None, "optimizer": 0,
         "lr_group": 1},
        {"name": "fc", "kinds": ["activation"], "shape": [], "dtype": "", "module": "fc", "module_type": "Linear",
         "order": 7, "depth": 1, "trainable": False, "tied_to": "out.weight", "optimizer": None, "lr_group": None},
    ],
    "modules": [{"name": "fc", "type": "Linear", "order": 0}],
    "skipped": [{"name": "emb.weight", "kind": "grad", "reason": "is sparse"}],
    "modes": {"train": {"fc": [10, 0]}, "eval": {"fc": [0, 2]}},
    "watch": {"kinds": ["param"], "schedule": "every 10 steps"},
    "activation": "output",
}  # fmt: skip


@pytest.fixture
def write(run):
    (run.path / "model").mkdir()

    def write(content=RECORD, attempt=1, rank=0):
        run.write_json(f"model/{attempt:04d}-{rank:05d}.json", content)
        return run.path / "model" / f"{attempt:04d}-{rank:05d}.json"

    return write


def test_everything_is_read_as_it_was_written(write, run):
    write()
    model = open_run(run.path).model
    first, second = model.tensors
    assert (first.name, first.kinds, first.shape, first.dtype) == ("fc.weight", ("param", "grad"), (3, 4), "float32")
    assert (first.module, first.module_type, first.depth, first.trainable) == ("fc", "Linear", 1, True)
    assert (first.tied_to, first.optimizer, first.lr_group) == (None, 0, 1)
    assert (second.tied_to, second.optimizer) == ("out.weight", None)
    assert [(module.name, module.type, module.order) for module in model.modules] == [("fc", "Linear", 0)]
    assert model.skipped == (("emb.weight", "grad", "is sparse"),)
    assert model.modes["train"]["fc"] == (10, 0)
    assert model.watch["schedule"] == "every 10 steps"
    assert model.activation == "output"
    assert model.initial is None
    assert model.order == {("param", "fc.weight"): 0, ("grad", "fc.weight"): 0, ("activation", "fc"): 7}
    assert model.by_name["fc"] is second


def test_what_the_first_value_is_in_a_resumed_run_is_read(write, run):
    write(RECORD | {"initial": "the snapshot of step 0"})
    assert open_run(run.path).model.initial == "the snapshot of step 0"


def test_a_run_that_watched_nothing_has_none(run):
    assert read_model(run.path) is None


def test_the_newest_attempt_and_its_lowest_rank_count(write, run):
    for attempt, rank, name in [(1, 0, "a"), (2, 1, "b"), (2, 3, "c")]:
        write(RECORD | {"activation": name}, attempt, rank)
    assert read_model(run.path).activation == "b"


def test_a_damaged_record_leaves_the_one_before(write, run):
    write()
    write("{", attempt=2)
    assert read_model(run.path).activation == "output"


@pytest.mark.parametrize(
    "changes",
    [
        {"tensors": None},
        {"tensors": 5},
        {"tensors": [5]},
        {"tensors": [{"name": "a"}]},
        {"tensors": [RECORD["tensors"][0] | {"order": "first"}]},
        {"tensors": [RECORD["tensors"][0] | {"shape": [1.5]}]},
        {"tensors": [RECORD["tensors"][0] | {"tied_to": 5}]},
        {"modules": [{"name": "fc"}]},
        {"skipped": [[1, 2, 3]]},
        {"initial": 3},
        {"modes": {"train": {"fc": [1]}}},
        {"modes": []},
        {"watch": 7},
        {"activation": 3},
        {"format": None},
    ],
)
def test_a_record_that_says_impossible_things_is_named(write, changes):
    with pytest.raises(DamagedFile):
        read_model_file(write(RECORD | changes))


def test_a_newer_format_is_refused_with_what_to_do(write):
    with pytest.raises(UnsupportedFormat, match="Upgrade"):
        read_model_file(write(RECORD | {"format": 2}))
