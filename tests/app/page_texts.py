"""What a page says, as tests read it."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

_TITLED = ("info", "warning", "error", "success")
_TEXTS = ("title", "subheader", "markdown", "caption", "text", *_TITLED)


def texts(app: AppTest) -> str:
    """Everything that the page says, as Markdown; without code, which is shown letter by letter."""
    found = [element.value for kind in _TEXTS for element in app.get(kind)]
    found += [element.proto.title for kind in _TITLED for element in app.get(kind)]
    return "\n".join(map(str, found))


def said(app: AppTest) -> str:
    """Everything that one reads, code too, without the backslashes of Markdown."""
    return "\n".join([texts(app), *(str(found.value) for found in app.code)]).replace("\\", "")


def metric(app: AppTest, label: str) -> str:
    """The value of the tile with this label."""
    return next(str(found.value) for found in app.metric if found.label == label)


def assert_drawn(app: AppTest) -> None:
    """Nothing failed, and nothing is said to be wrong."""
    assert not app.exception
    assert not [(error.proto.title, error.value) for error in app.error]


def assert_nothing_failed(app: AppTest) -> None:
    """Nothing failed: an error of a page or of a part of it would be told in a message with this title."""
    assert not app.exception
    assert not [error.value for error in app.error if "cannot be shown" in error.proto.title]
