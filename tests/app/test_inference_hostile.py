"""The Inference page on files and names of a stranger's: a message that names the file, and the rest is drawn."""

from __future__ import annotations

import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from explorer import Recorder
from tests.app.page_texts import said
from tests.app.test_inference_page import record_images
from tests.hostile_files import NAMES, PROGRAMS, TABLES, Touch, Write

OpenApp = Callable[..., AppTest]
SAID_ONLY = ("not_utf8", "no_rows", "extension_with_pickle", "cut", "folder", "dictionary_bomb", "mutated_0")


def named(functions: tuple[Write, ...], *names: str) -> list[Write]:
    return [write for write in functions if write.__name__ in names]


@pytest.fixture
def run(root: Path) -> Path:
    return root / record_images(root)


def assert_told(app: AppTest) -> str:
    """No traceback, and a message of ours: an error, a warning, or a caption that names what is broken."""
    assert not app.exception
    text = said(app)
    assert app.error or app.warning or "broken_image" in text, text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    "write",
    named(PROGRAMS, "os_system", "unknown", "lying_weight", "deep", "gzip_bomb", "another_format", "factory"),
    ids=lambda write: write.__name__,
)
def test_a_hostile_program_is_told_with_what_to_do(run: Path, tmp_path: Path, open_app: OpenApp, write: Write) -> None:
    write(next((run / "program").glob("*.json.gz")), tmp_path / "marker")
    assert_told(open_app("inference", run=run.name))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("write", named(TABLES, *SAID_ONLY), ids=lambda write: write.__name__)
def test_hostile_weights_are_told_with_their_step(run: Path, tmp_path: Path, open_app: OpenApp, write: Write) -> None:
    write(next((run / "params" / f"{5:012}").glob("*.parquet")), tmp_path / "marker")
    app = open_app("inference", run=run.name)
    assert not app.exception
    # Either the step is not offered, and another one is shown, or it is and the message says what is wrong with it.
    assert app.metric or assert_told(app)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("write", named(TABLES, *SAID_ONLY), ids=lambda write: write.__name__)
def test_hostile_examples_are_told_by_their_file(run: Path, tmp_path: Path, open_app: OpenApp, write: Write) -> None:
    write(next((run / "samples").glob("*.parquet")), tmp_path / "marker")
    assert "samples" in assert_told(open_app("inference", run=run.name)) or write.__name__ == "no_rows"
    assert not (tmp_path / "marker").exists()


def a_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps(Touch(marker)))


def a_checkpoint_with_code(path: Path, marker: Path) -> None:
    torch.save({"3.weight": torch.zeros(4, 144), "more": Touch(marker)}, path)


def an_endless_header(path: Path, _: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")


def a_device(path: Path, _: Path) -> None:
    path.symlink_to("/dev/zero")


def no_file_of_weights(path: Path, _: Path) -> None:
    path.write_bytes(b"PK\x03\x04 not a zip")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.pt", a_pickle),
        ("x.bin", a_checkpoint_with_code),
        ("x.safetensors", an_endless_header),
        ("x.safetensors", a_device),
        ("x.ckpt", no_file_of_weights),
        ("![i](http://evil.example).pt", a_pickle),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_hostile_file_of_weights_is_refused_and_the_snapshot_stays(
    run: Path, tmp_path: Path, open_app: OpenApp, name: str, write: Write
) -> None:
    (tmp_path / name.replace("/", "_")).unlink(missing_ok=True)
    path = tmp_path / name.replace("/", "_")
    write(path, tmp_path / "marker")
    app = open_app("inference", run=run.name)
    app.text_input(key="inference.file.path").set_value(str(path)).run()
    text = assert_told(app)
    assert path.suffix in text
    assert "Reproduces the recorded output" in text
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("look", ["Where it matters", "Over the training", "Attribution", "Python"])
def test_names_of_a_stranger_are_text_wherever_they_are_shown(root: Path, open_app: OpenApp, look: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential()
    for place, name in enumerate(NAMES[:6]):
        model.add_module(name.replace(".", "_"), nn.Linear(8, 8) if place else nn.Linear(4, 8))
    model.add_module("last", nn.Linear(8, len(NAMES)))
    names = [name.replace("\0", "") for name in NAMES]
    with Recorder(NAMES[0], root=root, quiet=True, system_every_s=None) as rec:
        for step in (0, 1):
            rec.snapshot(model, step=step)
        rec.program(model, torch.randn(6, 4), labels=torch.arange(6), class_names=names, feature_names=names[:4],
                    kind="table")  # fmt: skip
    app = open_app("inference", look=look, run=rec.run_id)
    assert not app.exception
    assert not app.error
    for kind in ("markdown", "caption", "info", "warning", "title"):
        for element in app.get(kind):
            for name in NAMES[:14]:
                assert name not in str(element.value), (kind, element.value[:200])
    for found in app.metric:
        assert not any(name in str(found.value) for name in NAMES[:14])


def test_a_step_whose_snapshot_is_gone_is_another_one(run: Path, open_app: OpenApp) -> None:
    shutil.rmtree(run / "params" / f"{0:012}")
    app = open_app("inference", run=run.name, at="0")
    assert not app.exception
    assert not app.error
    assert app.metric
