"""A part that is drawn once is sent again as it was, and drawn anew when what it shows has changed."""

from __future__ import annotations

import itertools

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from explorer.app.drawn_once import drawn_once
from explorer.reading.catalogue import RunInfo

COUNT = itertools.count(1)


@drawn_once
def part(infos: list[RunInfo], label: str) -> None:
    st.caption(f"{label!r} of {len(infos)}, drawing {next(COUNT)}")


def script(infos: list, label: str) -> None:  # type: ignore[type-arg]  # AppTest runs it without the imports above
    import streamlit as st

    from tests.app.test_drawn_once import part

    with st.container():
        part(infos, label)


def said(infos: list[RunInfo], label: str = "table") -> str:
    app = AppTest.from_function(script, args=(infos, label)).run()
    assert not app.exception
    text: str = app.caption[0].value
    return text


def test_the_same_runs_and_choices_are_drawn_once_for_all_sessions(tmp_path) -> None:
    infos = [RunInfo("a", tmp_path), RunInfo("b", tmp_path)]
    assert said(infos) == said(list(infos))


def test_a_run_that_is_another_object_is_drawn_anew_though_it_looks_the_same(tmp_path) -> None:
    seen = [said([RunInfo("a", tmp_path)]) for _ in range(20)]  # each gone before the next: ids could come again
    assert len(set(seen)) == 20


@pytest.mark.parametrize("label", ["other", "\ud800"])
def test_another_choice_is_drawn_anew_whatever_characters_it_holds(tmp_path, label: str) -> None:
    infos = [RunInfo("a", tmp_path)]
    first = said(infos)
    assert said(infos, label) != first
    assert said(infos) == first
