"""The Weights page: two snapshots as a ranked diff, a tensor opened, snapshots to take away."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.app.weights_export import safetensors_bytes, state_dict_bytes
from explorer.errors import ExplorerError
from explorer.inference.export import main
from tests.app.metrics_page import captions, charts, table
from tests.app.model_runs import STEPS, stored, weights, write_everything, write_weights
from tests.app.page_texts import assert_nothing_failed, said

OpenApp = Callable[..., AppTest]
MakeRun = Callable[..., str]


@pytest.fixture
def run(root: Path, make_run: MakeRun) -> str:
    """A run with four snapshots."""
    run_id = make_run("inside")
    write_everything(root / run_id)
    return run_id


def rows(app: AppTest) -> dict[str, dict[str, float]]:
    return app.dataframe[0].value.set_index("name").to_dict("index")


def test_an_empty_root_says_how_to_begin(open_app: OpenApp) -> None:
    app = open_app("weights")
    assert_nothing_failed(app)
    assert "no runs" in app.info[0].value


def test_no_selected_run_says_where_to_select(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    assert "No run is selected" in open_app("weights", runs="none").info[0].value


def test_a_run_without_snapshots_says_what_to_call(open_app: OpenApp, make_run: MakeRun) -> None:
    make_run()
    app = open_app("weights")
    assert_nothing_failed(app)
    assert "rec.snapshot(model, step)" in said(app)


def test_the_first_and_the_last_snapshot_are_compared_by_default(open_app: OpenApp, run: str) -> None:
    app = open_app("weights")
    assert_nothing_failed(app)
    found = rows(app)
    for name, before in weights(STEPS[0]).items():
        after = weights(STEPS[-1])[name].astype(float)
        a, b = before.astype(float).ravel(), after.ravel()
        assert found[name]["relative change"] == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-6)
        assert found[name]["cosine"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)
        assert found[name]["sign flips"] == pytest.approx((a * b < 0).mean())
        assert found[name]["max change"] == pytest.approx(np.abs(b - a).max(), rel=1e-6)
        assert found[name]["norm before"] == pytest.approx(np.linalg.norm(a), rel=1e-6)
    changes = [row["relative change"] for row in found.values()]
    assert changes == sorted(changes, reverse=True)


def test_any_two_steps_of_any_two_runs_are_compared(open_app: OpenApp, make_run: MakeRun, root: Path, run: str) -> None:
    other = make_run("other")
    write_everything(root / other, seed=1)
    app = open_app("weights", run=run, before="10", **{"with": other}, after="20")
    assert_nothing_failed(app)
    a, b = weights(10)["head.weight"].astype(float), weights(20, seed=1)["head.weight"].astype(float)
    assert rows(app)["head.weight"]["relative change"] == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a))


def test_what_only_one_side_has_and_other_shapes_are_named(
    open_app: OpenApp, make_run: MakeRun, root: Path, run: str
) -> None:
    other = make_run("other")
    tensors = [stored("head.weight", np.ones((3, 7), np.float32)), stored("top", np.ones(2, np.float32))]
    tensors.append(stored("conv.bias", np.ones(4, np.float16)))
    write_weights(root / other, 5, tensors)
    app = open_app("weights", run=run, **{"with": other})
    assert_nothing_failed(app)
    told = said(app)
    assert "only in other · step 5: top" in told
    assert "head.weight: shapes differ: 3 x 12 and 3 x 7" in told
    assert "another dtype, compared by value: conv.bias" in told
    assert list(rows(app)) == ["conv.bias"]


def test_a_clicked_row_opens_its_tensor_and_goes_into_the_link(open_app: OpenApp, run: str) -> None:
    app = open_app("weights")
    place = list(rows(app)).index("body.weight")
    app.session_state["weights_table"] = {"selection": {"rows": [place], "columns": [], "cells": []}}
    app.run()
    assert_nothing_failed(app)
    assert app.subheader[-1].value.replace("\\", "") == "body.weight"
    assert "body.weight" in str(app.query_params["tensor"])


def test_the_opened_tensor_shows_elements_rows_and_the_difference(open_app: OpenApp, run: str) -> None:
    app = open_app("weights", tensor="body.weight")
    assert_nothing_failed(app)
    bars, lines, picture = charts(app)
    shares = table(bars, "bars")["y"]
    assert shares.sum() == pytest.approx(1.0)
    a, b = (weights(step)["body.weight"].astype(float) for step in (STEPS[0], STEPS[-1]))
    expected = np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1)
    np.testing.assert_allclose(table(lines, "lines")["y"], expected, rtol=1e-4)
    assert len(table(picture, "image")) == 1
    assert "12 × 16 float32 · each pixel one value" in captions(app)
    assert "192 elements in 64 bins" in captions(app)


def test_the_same_snapshot_on_both_sides_has_not_changed(open_app: OpenApp, run: str) -> None:
    app = open_app("weights", before="10", after="10")
    assert_nothing_failed(app)
    assert {row["relative change"] for row in rows(app).values()} == {0.0}
    assert "5 did not change at all" in captions(app)
    assert "Both sides are the same snapshot" in said(app)
    assert "Both sides are the same snapshot" not in said(open_app("weights"))


def write_roles(run: Path) -> None:
    """Two snapshots of which buffers and optimizer state change far more than the parameters."""
    for step, factor in ((0, 1.0), (10, 1.5)):
        tensors = [
            stored("w", np.full((2, 2), factor, np.float32)),
            stored("zero", np.zeros(2, np.float32)),
            stored("empty", np.zeros(0, np.float32)),
            stored("torn", np.array([1.0, np.nan if step else 2.0], np.float32)),
            stored("norm.num_batches_tracked", np.array(1 + 100 * step), "buffer"),
            stored("w.exp_avg_sq", np.full((2, 2), 1e-9 + step, np.float32), "optimizer"),
        ]
        write_weights(run, step, tensors)


def test_parameters_are_ranked_apart_from_buffers_and_optimizer_state(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    write_roles(root / make_run())
    app = open_app("weights")
    assert_nothing_failed(app)
    assert list(rows(app)) == ["torn", "w", "zero", "empty"]
    assert {name: row["not finite"] for name, row in rows(app).items()} == {"torn": 1, "w": 0, "zero": 0, "empty": 0}
    assert rows(app)["zero"]["relative change"] == 0
    assert "1 did not change at all" in captions(app)
    assert np.isnan(rows(app)["empty"]["relative change"])
    assert "4 of 4 parameters, the largest relative change first" in captions(app)
    for role, name in (("buffer", "norm.num_batches_tracked"), ("optimizer", "w.exp_avg_sq")):
        for query in ({"role": role}, {"tensor": name}):
            app = open_app("weights", **query)
            assert_nothing_failed(app)
            assert list(rows(app)) == [name]
            assert app.subheader[-1].value.replace("\\", "") == name


def test_the_other_side_is_by_default_the_same_run(open_app: OpenApp, make_run: MakeRun, root: Path, run: str) -> None:
    newer = make_run("newer")
    write_everything(root / newer, seed=1)
    app = open_app("weights", run=run)
    assert_nothing_failed(app)
    assert [box.value for box in app.selectbox if box.label in ("Before", "After")] == [run, run]


def test_of_many_tensors_that_cannot_be_compared_it_is_told_how_many_more_there_are(
    open_app: OpenApp, make_run: MakeRun, root: Path
) -> None:
    run_id = make_run()
    for step in (0, 1):
        shapes = [stored(f"w{k}", np.ones(2 + step, np.float32)) for k in range(9)]
        write_weights(root / run_id, step, [*shapes, stored("same", np.ones(2, np.float32))])
    assert "and 3 more such" in said(open_app("weights"))


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "x" * 5_000, "1e999", "-1", "NaN"])
@pytest.mark.parametrize("key", ["run", "with", "before", "after", "tensor", "show", "q"])
def test_a_link_that_names_nothing_known_opens_all_the_same(
    open_app: OpenApp, run: str, key: str, hostile: str
) -> None:
    assert_nothing_failed(open_app("weights", **{key: hostile}))


def test_a_damaged_snapshot_is_named_and_the_others_are_compared(open_app: OpenApp, run: str, root: Path) -> None:
    path = next((root / run / "params" / f"{STEPS[-1]:012d}").iterdir())
    path.write_bytes(path.read_bytes()[:-50])
    app = open_app("weights")
    assert_nothing_failed(app)
    assert "step 30" in app.warning[0].value
    assert rows(app)


def test_a_flipped_bit_costs_only_its_tensor(open_app: OpenApp, run: str, root: Path) -> None:
    path = next((root / run / "params" / f"{STEPS[-1]:012d}").iterdir())
    data = bytearray(path.read_bytes())
    at = data.find(weights(STEPS[-1])["body.weight"].tobytes())
    data[at + 5] ^= 1
    path.write_bytes(data)
    app = open_app("weights")
    assert not app.exception
    assert "body.weight" not in rows(app)
    assert "wrong checksum" in said(app)


@pytest.mark.parametrize(
    ("before", "after", "dtype"),
    [
        (np.float32(1.0), np.float32(2.0), None),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), None),
        (np.array([True, False]), np.array([False, False]), "bool"),
        (np.array([200], np.uint8), np.array([10], np.uint8), None),
        (np.ones((2, 2), np.complex64), 2j * np.ones((2, 2), np.complex64), None),
        (np.full((3, 3), np.nan, np.float32), np.full((3, 3), np.nan, np.float32), None),
        (np.zeros(4, np.float32), np.ones(4, np.float32), None),
        (np.ones((2, 2), np.uint16), np.ones((2, 2), np.uint16), "bfloat16"),
    ],
)
def test_tensors_of_every_kind_are_compared(
    open_app: OpenApp, make_run: MakeRun, root: Path, before: np.ndarray, after: np.ndarray, dtype: str | None
) -> None:
    run_id = make_run()
    write_weights(root / run_id, 0, [stored("w", np.asarray(before), dtype=dtype)])
    write_weights(root / run_id, 1, [stored("w", np.asarray(after), dtype=dtype)])
    for show in ("difference", "before"):
        app = open_app("weights", show=show)
        assert_nothing_failed(app)
        assert list(rows(app)) == ["w"]


def test_numbers_of_the_table_are_written_with_every_digit_and_names_as_text() -> None:
    from explorer.app.weights_choices import Chosen
    from explorer.app.weights_diff import sum_up
    from explorer.app.weights_table import write_csv
    from explorer.reading.info import RunInfo

    moved = sum_up(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    info = RunInfo("r", Path("r"), name="=cmd|x")

    side = Chosen(info, "=cmd|x", SimpleNamespace(step=7))  # type: ignore[arg-type]
    lines = list(csv.DictReader(io.StringIO(write_csv([("=w", "=w", moved)], side, side).decode())))
    assert lines[0]["tensor"] == "'=w"
    assert lines[0]["before"].startswith("'=")
    assert float(lines[0]["relative_change"]) == moved.relative_change


def test_a_snapshot_is_taken_away_as_safetensors(root: Path, run: str) -> None:
    data = safetensors_bytes(str(root / run), 10)
    size = int.from_bytes(data[:8], "little")
    start, end = json.loads(data[8 : 8 + size])["body.weight"]["data_offsets"]
    found = np.frombuffer(data[8 + size + start : 8 + size + end], np.float32).reshape(12, 16)
    np.testing.assert_array_equal(found, weights(10)["body.weight"])


def test_a_snapshot_is_taken_away_as_a_state_dict_that_torch_loads_without_code(root: Path, run: str) -> None:
    data = state_dict_bytes(str(root / run), 10)
    found = torch.load(io.BytesIO(data), weights_only=True)
    assert list(found) == list(weights(10))
    for name, values in weights(10).items():
        assert torch.equal(found[name], torch.from_numpy(np.array(values)))


def test_every_dtype_of_torch_survives_the_way_into_a_state_dict(make_run: MakeRun, root: Path, tmp_path: Path) -> None:
    run_id = make_run()
    originals = {
        "bf16": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "f8": torch.tensor([1.5, -2.0]).to(torch.float8_e4m3fn),
        "flags": torch.tensor([True, False]),
        "ids": torch.tensor([[2**60]]),
        "phase": torch.tensor([1 + 2j], dtype=torch.complex64),
        "number": torch.tensor(3.25),
        "empty": torch.empty(0, 3),
    }
    tensors = [
        stored(
            name,
            value.contiguous().reshape(-1).view(torch.uint8).numpy() if value.numel() else np.empty(0, np.uint8),
        )
        for name, value in originals.items()
    ]
    dtypes = {name: str(value.dtype).removeprefix("torch.") for name, value in originals.items()}
    shaped = [replace(one, dtype=dtypes[one.name], shape=tuple(originals[one.name].shape)) for one in tensors]
    write_weights(root / run_id, 0, [*shaped, stored("w.exp_avg", np.ones(2, np.float32), "optimizer")])
    target = tmp_path / "x.pt"
    assert main([str(root / run_id), "0", str(target)]) == 0
    found = torch.load(target, weights_only=True)
    assert list(found) == list(originals)
    for name, value in originals.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert bytes(found[name].untyped_storage()) == bytes(value.untyped_storage())


def test_a_snapshot_that_is_not_there_is_told_in_one_line(root: Path, run: str, tmp_path: Path) -> None:
    with pytest.raises(ExplorerError, match="no snapshot at step 11"):
        state_dict_bytes(str(root / run), 11)


def test_the_app_never_loads_torch(root: Path, run: str) -> None:
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("streamlit_app.py", default_timeout=30)
for page in ("layers", "weights"):
    app.switch_page(f"explorer/app/pages/{{page}}.py")
    app.run()
    assert not app.exception and not app.error
from explorer.app.weights_export import state_dict_bytes
state_dict_bytes({str(root / run)!r}, 10)
print(sorted({{"torch", "altair", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parents[2], env={**os.environ, "EXPLORER_ROOT": str(root)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
