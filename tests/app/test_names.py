"""Names from files are shown letter by letter, wherever Markdown is read."""

import re
from datetime import datetime, timezone

import pytest

from explorer.app.names import esc, plain, run_labels
from explorer.reading.catalogue import RunInfo

HOSTILE = [
    "![x](http://127.0.0.1:9/a.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<b>bold</b>",
    "http://evil.example/x",
    "https://evil.example",
    "www.evil.example",
    "me@evil.example",
    ":material/home:",
    ":red[danger]",
    ":streamlit:",
    "$x^2$",
    "`code`",
    "**bold** _it_ ~~gone~~",
    "# heading",
    "- item",
    "1. item",
    "> quote",
    "a | b",
    "line\nbreak\r\nagain",
    "--- ... -> <- (c) (tm)",
    "\\",
    "&lt;b&gt; &#x41;",
    "[^1]: note",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_sign_that_markdown_could_read_is_escaped(name):
    escaped = esc(name)
    assert not re.search(r"(?<!\\)[!-/:-@\[\]^_`{|}~]", re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped))
    assert "\n" not in escaped


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_reads_as_it_was_written(name):
    shown = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", esc(name)).replace("\u2060", "")
    assert shown.split() == plain(name).split()


@pytest.mark.parametrize("name", ["http://x.y", "www.x.y", "me@x.y", ":streamlit:", "(tm)", "->"])
def test_what_a_backslash_does_not_stop_is_broken_by_an_invisible_joiner(name):
    assert "\u2060" in esc(name)


def test_characters_that_reorder_text_are_made_visible():
    assert plain("a\u202eb\x00c\ud800") == "a\ufffdb\ufffdc\ufffd"


def test_a_name_of_a_thousand_characters_is_cut_with_a_mark():
    assert len(plain("x" * 1000)) == 200
    assert plain("x" * 1000).endswith("…")
    assert plain("x" * 200) == "x" * 200


def test_any_object_can_be_shown():
    assert esc(3) == "3"
    assert plain(None) == "None"


def info(run_id: str, name: str) -> RunInfo:
    return RunInfo(run_id=run_id, path=None, name=name, created=datetime(2026, 1, 1, tzinfo=timezone.utc))


def test_runs_of_one_name_are_told_apart_by_the_end_of_their_id():
    labels = run_labels([info("a-1111", "cnn"), info("a-2222", "cnn"), info("b-3333", "mlp")])
    assert labels == {"a-1111": "cnn · 1111", "a-2222": "cnn · 2222", "b-3333": "mlp"}


def test_labels_are_unique_even_when_name_and_end_are_the_same():
    labels = run_labels([info("a-1111", "cnn"), info("b-1111", "cnn")])
    assert labels == {"a-1111": "a-1111", "b-1111": "b-1111"}
