"""Colours of what is no chart are those of the theme."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from explorer.app import colours

CONFIG = Path(__file__).parents[2] / ".streamlit" / "config.toml"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_runs_and_of_heat_maps_are_those_of_the_theme(theme: str) -> None:
    import tomllib

    found = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][theme]
    upper = theme.upper()
    assert list(getattr(colours, upper)) == found["chartCategoricalColors"]
    assert list(getattr(colours, f"{upper}_RAMP")) == found["chartSequentialColors"]
