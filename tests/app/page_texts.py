"""What a page says, as tests read it."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def said(app: AppTest) -> str:
    found = [element.value for kind in ("markdown", "caption", "info", "warning", "error") for element in app.get(kind)]
    found += [element.proto.title for kind in ("info", "warning", "error") for element in app.get(kind)]
    return "\n".join(map(str, found)).replace("\\", "")


def metric(app: AppTest, label: str) -> str:
    return next(str(found.value) for found in app.metric if found.label == label)


def assert_drawn(app: AppTest) -> None:
    assert not app.exception
    assert not [(error.proto.title, error.value) for error in app.error]
