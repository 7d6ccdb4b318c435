"""What cannot be run, one test for each kind: the page says what was found and what to do, and goes on."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.app.inference_finite import num_strange
from explorer.inference.edits.recipe import parse_recipe, to_text
from explorer.inference.sandbox import session
from explorer.storage.disk import Disk
from explorer.storage.snapshots import SnapshotTensor, snapshot_path, write_snapshot
from tests.app.inference_runs import record_images, record_texts
from tests.app.page_texts import assert_drawn, metric, said

OpenApp = Callable[..., AppTest]


def change(run: Path, edit: Callable[[dict[str, Any]], object]) -> str:
    """Change a run's program; returns the name of its file."""
    (path,) = (run / "program").glob("*.json.gz")
    document = json.loads(gzip.decompress(path.read_bytes()))
    edit(document)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return path.name


def with_operator(name: str, *args: Any) -> Callable[[dict[str, Any]], object]:
    def edit(document: dict[str, Any]) -> None:
        node = document["graph"]["nodes"][0]
        node.update(op=name, **({"args": list(args), "kwargs": {}} if args else {}))

    return edit


@pytest.fixture
def run(root: Path) -> Path:
    return root / record_images(root)


def refused(app: AppTest) -> str:
    assert not app.exception
    assert app.error, said(app)
    text = said(app)
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("page", ["inference", "model"])
def test_a_program_that_is_none_is_named_by_its_file(run: Path, open_app: OpenApp, page: str) -> None:
    name = change(run, lambda document: document.update(step=2**70))
    text = said(open_app(page, run=run.name))
    assert "cannot be read" in text
    assert "could not be captured" not in text  # that would be the fault of the model
    assert f"program/{name}: has a step of more than 64 bits" in text


def test_an_operator_that_is_not_allowed_is_named(run: Path, open_app: OpenApp) -> None:
    change(run, with_operator("aten.from_file.default", "/etc/passwd", False, 10))
    text = refused(open_app("inference", run=run.name))
    assert "'aten.from_file.default', which is not on the list of operators that may run here" in text


def test_an_operator_that_this_torch_does_not_know_is_named(run: Path, open_app: OpenApp) -> None:
    change(run, with_operator("aten._upsample_nearest_exact1d.of_tomorrow"))
    text = refused(open_app("inference", run=run.name))
    assert "the operator aten._upsample_nearest_exact1d.of_tomorrow is not in PyTorch" in text
    assert "the run was recorded with another one" in text


def test_weights_that_do_not_fit_are_named_with_both_shapes(run: Path, open_app: OpenApp) -> None:
    shutil.rmtree(run / "params" / f"{5:012}")
    path = snapshot_path(run, 5, 1, 0)
    data = memoryview(bytes(24))
    tensor = SnapshotTensor("0.weight", "param", "float32", (2, 3), data, None, zlib.crc32(data))
    write_snapshot(path, 5, [tensor], attempt=1, rank=0, disk=Disk())
    text = refused(open_app("inference", run=run.name, at="5"))
    assert "do not fit the recorded model" in text
    assert "3 are missing (0.bias, 3.weight, 3.bias)" in text
    assert "0.weight has the shape (2, 3); (4, 1, 3, 3) was recorded" in text


def test_a_step_without_a_snapshot_is_told_and_another_one_shown(run: Path, open_app: OpenApp) -> None:
    app = open_app("inference", run=run.name, at="77")
    assert_drawn(app)
    assert metric(app, "Original predicts")
    assert "Step 77 has no snapshot; the nearest one, of step 5, is shown." in said(app)


def test_a_step_whose_snapshot_is_damaged_is_told_with_its_file(run: Path, open_app: OpenApp) -> None:
    (path,) = (run / "params" / f"{0:012}").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:100])
    app = open_app("inference", run=run.name, at="0")
    assert_drawn(app)
    assert metric(app, "Original predicts")
    assert "The snapshot of step 0 cannot be read" in said(app)
    assert path.name in said(app)


def test_a_text_longer_than_was_recorded_is_told_with_both_sizes(root: Path, open_app: OpenApp) -> None:
    run = root / record_texts(root)
    change(run, lambda document: document.update(symbols={name: [0, 6] for name in document["symbols"]}))
    longer = parse_recipe([{"edit": "insert_token", "position": 0, "token": 1}] * 9)
    text = refused(open_app("inference", run=run.name, recipe=to_text(longer)))
    assert "dimension 1 of the input args[0] should have a size of 0 to 6, as the model was recorded; found 13" in text


def test_a_program_that_wants_all_memory_is_told_what_it_may_have(run: Path, open_app: OpenApp) -> None:
    change(run, with_operator("aten.full.default", [10**12], 1.0))
    text = refused(open_app("inference", run=run.name))
    assert "there is too little memory for aten.full.default" in text
    assert "GiB that the sandbox may take" in text
    assert "a higher -\u2060-memory-limit" in text


def test_outputs_that_are_no_numbers_are_told_and_no_class_is_read_from_them(run: Path, open_app: OpenApp) -> None:
    edits = parse_recipe([{"edit": "scale", "target": "", "factor": 1e38}] * 2)
    app = open_app("inference", run=run.name, recipe=to_text(edits), look="Attribution")
    assert_drawn(app)
    text = said(app)
    assert "The edited output is not a number" in text
    assert "of 4 values of the edited model are NaN or infinite, those of the original are not" in text
    assert metric(app, "Edited predicts") == "no class: NaN"
    assert "nan%" not in text
    assert "The edit changes the outputs more than" not in text


def test_a_child_that_dies_at_work_is_told_and_started_again(
    run: Path, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, left = session._Child.send, [1]

    def send_and_die(self: Any, message: Any) -> None:
        dies = message.kind == "run" and left
        if dies:  # held still first: it might answer before it is killed
            self.process.send_signal(signal.SIGSTOP)
        send(self, message)
        if dies:
            left.pop()
            self.process.kill()

    monkeypatch.setattr(session._Child, "send", send_and_die)
    app = open_app("inference", run=run.name)
    text = refused(app)
    assert "The process that runs the model was stopped" in text
    assert "the child process ended by signal 9" in text
    app.button(key="inference.again.output").click().run()
    assert_drawn(app)
    assert metric(app, "Original predicts")


def test_minus_infinity_masks_and_is_no_fault() -> None:
    assert num_strange(np.array([-np.inf, 1.0])) == 0
    assert num_strange(np.array([np.nan, np.inf, 0.0])) == 2
