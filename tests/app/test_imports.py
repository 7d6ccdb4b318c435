"""What opening a page loads, in a fresh process: what it does not need would cost its start and the server's memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from explorer import Recorder

SCRIPT = Path(__file__).parents[2] / "streamlit_app.py"
PAGES = SCRIPT.parent / "explorer" / "app" / "pages"
MakeRun = Callable[..., str]
HEAVY = ["altair", "captum", "duckdb", "pandas", "scipy", "sklearn", "torch"]


def opened_in_a_fresh_process(root: Path, page: str, report: str) -> str:
    """What `report` prints after a page was drawn without an error."""
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(SCRIPT)!r}, default_timeout=30)
app.switch_page({str(PAGES / page)!r})
app.run()
assert not app.exception and not app.error
assert app.dataframe or app.get("vega_lite_chart")
{report}
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=SCRIPT.parent,
        env={**os.environ, "EXPLORER_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("page", ["runs.py", "metrics.py"])
def test_runs_and_curves_are_shown_without_pandas_altair_or_torch(root: Path, make_run: MakeRun, page: str) -> None:
    make_run(series={"loss": [2.0, float("nan"), 1.0], "acc": [0.1, 0.2, 0.3]})
    assert opened_in_a_fresh_process(root, page, f"print(sorted(set(sys.modules) & set({HEAVY})))") == "[]"


def test_memory_that_a_read_needed_goes_back_to_the_system(root: Path, make_run: MakeRun) -> None:
    make_run()
    report = "import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    assert opened_in_a_fresh_process(root, "metrics.py", report) == "system"


@pytest.mark.parametrize("page", ["distributions.py", "drift.py"])
def test_the_inside_of_a_model_is_shown_without_pandas_altair_or_torch(
    root: Path, make_run: MakeRun, record_tensors: Callable[..., None], page: str
) -> None:
    record_tensors(make_run(), {("a.weight", "param"): {step: [0.1, 0.2, step] for step in range(5)}})
    assert opened_in_a_fresh_process(root, page, f"print(sorted(set(sys.modules) & set({HEAVY})))") == "[]"


def test_a_captured_model_is_shown_without_pandas_altair_or_torch(root: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with Recorder("captured", root=root, quiet=True, system_every_s=None) as rec:
        rec.watch(model)
        rec.log({"loss": model(torch.randn(2, 3)).mean()}, step=0)
        rec.snapshot(model, step=0)
        rec.program(model, torch.randn(2, 3))
    assert opened_in_a_fresh_process(root, "model.py", f"print(sorted(set(sys.modules) & set({HEAVY})))") == "[]"
