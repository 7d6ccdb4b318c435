import numpy as np
import pytest
import torch

from explorer import Every, RecorderWarning, UsageError
from explorer.recording.watching import drafts, task
from explorer.storage import tensors

KINDS = {
    "tensor": torch.tensor,
    "array": lambda labels: np.array(labels, np.int32),
    "list": list,
    "of two axes": lambda labels: torch.tensor(labels).reshape(2, 3),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_labels_are_counted_by_class(record, rows_of_kind, make):
    recorder = record()
    recorder.log_labels(make([3, 1, 3, -100, 0, 3]), step=7)
    recorder.close()
    (row,) = rows_of_kind(recorder, "labels").values()
    assert (row["step"], row["name"], row["m"]) == (7, "labels", None)
    assert dict(zip(row["bins"], row["counts"], strict=True)) == {-100: 1, 0: 1, 1: 1, 3: 3}
    assert (row["n"], row["zeros"], row["min"], row["max"]) == (6, 1, -100.0, 3.0)


def test_a_series_may_have_any_name(record, rows_of_kind):
    recorder = record()
    for name in ("\ue000", "\ud800", "a\0b", "", 7):
        recorder.log_labels([1], step=0, name=name)
    recorder.close()
    assert {name for _, name in rows_of_kind(recorder, "labels")} == {"\ue000", "\ufffd", "a\ufffdb", "(no name)", "7"}


def test_the_batch_is_that_of_the_moment(record, rows_of_kind):
    recorder, labels = record(), torch.tensor([1, 2, 3])
    recorder.log_labels(labels, step=0)
    labels.zero_()
    recorder.close()
    assert rows_of_kind(recorder, "labels")[0, "labels"]["bins"] == [1, 2, 3]


def test_labels_take_no_more_memory_than_allowed_while_the_disk_hangs(record, rows_of_kind, summary_of, monkeypatch):
    monkeypatch.setattr(task, "MAX_WAITING_BYTES", 3 * 8 * 1_000)
    recorder = record()
    writers = recorder._watch_plug.task()
    monkeypatch.setattr(writers, "tick", lambda: None)
    for step in range(3):
        recorder.log_labels([step] * 1_000, step=step)
    with pytest.warns(RecorderWarning, match="the writer is behind"):
        recorder.log_labels([3] * 1_000, step=3)
    recorder.log_labels([4] * 1_000, step=4)
    recorder.close()
    assert sorted(rows_of_kind(recorder, "labels")) == [(step, "labels") for step in range(3)]
    assert summary_of(recorder)["watch"]["dropped_rows"] == 2


def test_statistics_that_a_full_disk_does_not_take_are_dropped_and_that_is_said(record, summary_of, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_PENDING_BYTES", 500)
    recorder = record()
    for step in range(4):
        recorder.log_labels([step] * 10, step=step)
    with pytest.warns(RecorderWarning, match="looks into the model are dropped"):
        recorder.close()
    found = summary_of(recorder)["watch"]
    assert found["dropped_rows"] > 0
    assert found["dropped_rows"] + found["rows"] == 4


def test_the_count_of_what_waits_stays_right_when_the_writer_takes_in_meanwhile(record):
    class Rows(list):
        turns = ()

        def __len__(self):
            turn, *self.turns = self.turns or (None,)
            if turn is not None:
                turn()  # here the interpreter goes over to the writer thread
            return super().__len__()

    recorder = record()
    writers = recorder._watch_plug.task()
    for step in range(2):
        labels = drafts.LabelsDraft("labels", lambda: np.array([1]))
        draft = drafts.Draft(step, 0, Rows([labels]))
        draft.rows.turns = (None, writers.tick) if step else ()
        writers.take(draft)
        draft.rows.turns = ()
    recorder.close()
    assert writers._waiting_rows == 0


def test_labels_belong_to_the_step_that_is_under_way(record, mlp, train, rows_of_kind):
    model, recorder = mlp(), record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder.watch(model, optimizer, schedule=Every(1))
    train(model, optimizer, 3, after=lambda step: recorder.log_labels([step], name="target"))
    recorder.close()
    assert {key: row["bins"] for key, row in rows_of_kind(recorder, "labels").items()} == {
        (step, "target"): [step] for step in range(3)
    }


def test_numbers_beyond_int16_are_in_no_bin_which_is_said_once(record, rows_of_kind):
    recorder = record()

    def log() -> None:
        for step, labels in enumerate([[1, 70_000], [], [1, 50_256]]):
            recorder.log_labels(labels, step=step)
        recorder.close()

    with pytest.warns(RecorderWarning, match="in no bin") as said:
        log()
    assert len(said) == 1
    rows = rows_of_kind(recorder, "labels")
    assert (rows[0, "labels"]["n"], rows[0, "labels"]["bins"], rows[0, "labels"]["max"]) == (2, [1], 70_000.0)
    assert (rows[1, "labels"]["n"], rows[1, "labels"]["bins"]) == (0, [])
    assert (rows[2, "labels"]["n"], rows[2, "labels"]["mean"]) == (2, (1 + 50_256) / 2)


@pytest.mark.parametrize("labels", [[0.5, 1.0], torch.rand(3), "cats", ["a", "b"], None, [[1], [2, 3]]])
def test_what_is_no_label_is_a_wrong_argument(record, labels):
    with pytest.raises(UsageError, match="labels should be whole numbers"):
        record().log_labels(labels, step=0)


def test_a_writer_that_is_behind_costs_rows_and_is_counted(record, summary_of, monkeypatch):
    monkeypatch.setattr("explorer.recording.watching.task.MAX_WAITING_ROWS", 3)
    monkeypatch.setattr("explorer.recording.watching.drafts.Draft.ready", lambda self: False)
    recorder = record()
    with pytest.warns(RecorderWarning, match="the writer is behind"):
        [recorder.log_labels([1], step=step) for step in range(5)]
    recorder.close()
    assert summary_of(recorder)["watch"] == {"looks": 3, "rows": 3, "dropped_rows": 2, "failed": 0}
