"""What the tests of the Metrics page look at."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pyarrow as pa
from streamlit.testing.v1 import AppTest


def charts(app: AppTest) -> list[Any]:
    return [element.proto for element in app.get("vega_lite_chart")]


def spec_of(chart: Any) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(chart.spec)
    return spec


def table(chart: Any, name: str) -> pd.DataFrame:
    data = next(found.data.data for found in chart.datasets if found.name == name)
    return pa.ipc.open_stream(data).read_all().to_pandas()


def titles(app: AppTest) -> list[str]:
    return [element.value for element in app.markdown if element.value.startswith("**")]


def captions(app: AppTest) -> str:
    return "\n".join(element.value.replace("\\", "") for element in app.caption)


def zoom_to(app: AppTest, chart: Any, low: float, high: float) -> AppTest:
    app.session_state[chart.id.rsplit("-", 1)[-1]] = {"selection": {"zoom": {"x": [low, high]}}}
    return app.run()
