"""What tests of the pages about tensors share: tensors as a training leaves them, and what a page shows of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from streamlit.testing.v1 import AppTest

STEPS = tuple(range(0, 300, 10))


def training(seed: int = 0, steps: tuple[int, ...] = STEPS, size: int = 400) -> dict[tuple[str, str], dict[int, Any]]:
    """Two layers of parameters, gradients, and activations that begin later; layer `b` moves, `a` hardly does."""
    random = np.random.default_rng(seed)
    start = {name: random.normal(0, 0.1, size) for name in ("a.weight", "b.weight")}
    speed = {"a.weight": 1e-5, "b.weight": 2e-3}
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for name in start:
        found[name, "param"] = {step: start[name] + speed[name] * step for step in steps}
        found[name, "grad"] = {step: random.normal(0, 0.01 / (1 + step / 100), size) for step in steps}
    found["relu", "activation"] = {step: np.maximum(random.normal(0, 1, size), 0) for step in steps if step >= 100}
    return found


def odd() -> dict[tuple[str, str], dict[int, Any]]:
    """Tensors that are drawn or explained all the same."""
    nan, inf = float("nan"), float("inf")
    return {
        ("constant", "param"): {step: np.full(7, 0.5) for step in STEPS},
        ("one", "param"): {step: [1 + step / 100] for step in STEPS},
        ("all nan", "param"): {step: np.full(4, nan) for step in STEPS},
        ("turns nan", "param"): {step: [1.0, 2.0, nan, inf] if step > 100 else [1.0, 2.0, 3.0, 0.0] for step in STEPS},
        ("zeros", "param"): {step: np.zeros(5) for step in STEPS},
        ("empty", "param"): {step: [] for step in STEPS},
        ("once", "param"): {40: [1.0, 2.0]},
        ("huge", "param"): {step: [-3e38, 0.0, 3e38] for step in STEPS},
    }


def charts(app: AppTest) -> list[tuple[dict[str, Any], dict[str, pd.DataFrame]]]:
    """Specification and tables of each chart, in the order of the page."""
    found = []
    for chart in app.get("vega_lite_chart"):
        tables = {data.name: pa.ipc.open_stream(data.data.data).read_all().to_pandas() for data in chart.proto.datasets}
        found.append((json.loads(chart.proto.spec), tables))
    return found


def chart_with(app: AppTest, table: str) -> list[dict[str, pd.DataFrame]]:
    """The tables of every chart that has this one."""
    return [tables for _, tables in charts(app) if table in tables]


def num_bytes(app: AppTest) -> list[int]:
    """How much is sent for each chart."""
    return [
        len(chart.proto.spec) + sum(len(data.data.data) for data in chart.proto.datasets)
        for chart in app.get("vega_lite_chart")
    ]
