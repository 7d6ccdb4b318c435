"""What tests of the Model page read of it."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest


def rows(app: AppTest, column: str = "module") -> list[dict[str, Any]]:
    """Rows of the first table that has a column of this name."""
    found = next(frame for frame in app.dataframe if column in frame.value.columns)
    return found.value.to_dict("records")
