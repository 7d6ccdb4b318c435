"""Parts of a page that follow a run: what is costly to follow stands still until somebody asks."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def script() -> None:
    import streamlit as st

    from explorer.app import live

    state = st.session_state
    if state.get("whole page"):
        live.follow([], lambda now: None, "part")
    state["shown"] = [live.held("part", state["steps"], cheap=state["cheap"], part=one) for one in ("left", "right")]


@pytest.fixture
def part() -> AppTest:
    app = AppTest.from_function(script)
    app.session_state["steps"], app.session_state["cheap"] = [0, 10], False
    return app.run()


def after(app: AppTest, steps: list[int]) -> list[list[int]]:
    app.session_state["steps"] = steps
    app.run()
    assert not app.exception
    return list(app.session_state["shown"])


def test_newer_steps_wait_for_a_button_of_their_own_part(part: AppTest) -> None:
    assert part.session_state["shown"] == [[0, 10], [0, 10]]
    assert not part.button
    assert after(part, [0, 10, 20, 30]) == [[0, 10], [0, 10]]
    assert [button.label for button in part.button] == ["Draw 2 newer snapshots"] * 2
    part.button[1].click().run()
    assert part.session_state["shown"] == [[0, 10], [0, 10, 20, 30]]
    assert len(part.button) == 1


def test_what_is_cheap_is_followed_without_a_button(part: AppTest) -> None:
    part.session_state["cheap"] = True
    assert after(part, [0, 10, 20]) == [[0, 10, 20]] * 2
    assert not part.button


def test_another_run_of_the_whole_page_draws_what_is_there(part: AppTest) -> None:
    assert after(part, [0, 10, 20]) == [[0, 10]] * 2
    part.session_state["whole page"] = True
    assert after(part, [0, 10, 20]) == [[0, 10, 20]] * 2


def test_a_run_that_was_replaced_by_another_one_starts_anew(part: AppTest) -> None:
    assert after(part, [5, 15]) == [[5, 15]] * 2
