"""The demo's own trainings are the same to the last bit whether the model is captured, when, and how."""

import pytest

from explorer import Recorder, open_run
from explorer.demo.text_training import TextSettings, train_text
from explorer.demo.training import Settings, train

DIGITS = {
    "cnn": Settings(model="cnn", width=8, dropout=0.2, num_train=256, num_epochs=2),
    "mlp": Settings(model="mlp", width=8, optimizer="sgd", lr=0.05, num_train=256, num_epochs=2),
}


def result_of(path):
    """Every recorded number of the training, and the values of the last snapshot."""
    run = open_run(path)
    scalars = run.scalars()
    names = [name for name in scalars if name.startswith(("train/", "val/"))]
    snapshot = run.snapshot(run.snapshots[-1].step)
    values = {name: bytes(snapshot.read_bytes(name)) for name in snapshot.entries}
    return {name: scalars[name].dropna().tolist() for name in names}, values


def without_capture(monkeypatch):
    watch = Recorder.watch
    monkeypatch.setattr(Recorder, "program", lambda *_, **__: None)
    monkeypatch.setattr(Recorder, "watch", lambda *given, **options: watch(*given, **options, program=False))


def by_the_first_batch(monkeypatch):
    monkeypatch.setattr(Recorder, "program", lambda *_, **__: None)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """`results(training)`: the results without a capture, asked for, by the first batch; with what was captured."""

    def run(training):
        found = []
        for number, change in enumerate((without_capture, lambda _: None, by_the_first_batch)):
            with monkeypatch.context() as patch:
                change(patch)
                path = tmp_path / str(number) / training(tmp_path / str(number))
            program = open_run(path).program
            found.append((result_of(path), program and len(program.inputs)))
        return found

    return run


@pytest.mark.parametrize("name", DIGITS)
def test_digits(results, name):
    (without, none), (asked, one), (first_batch, also_one) = results(lambda root: train("t", DIGITS[name], root))
    assert (none, one, also_one) == (None, 1, 1)
    assert len(without[0]["train/loss"]) == 8
    assert without == asked
    assert without == first_batch


def test_characters(results):
    settings = TextSettings(width=16, num_heads=2, num_blocks=1, batch_size=4, num_epochs=2)
    (without, none), (asked, one), (first_batch, also_one) = results(lambda root: train_text("t", settings, root))
    assert (none, one, also_one) == (None, 1, 1)
    assert without == asked
    assert without == first_batch
