"""The address and the session: which of the two counts, when the whole page is drawn and when a part of it is."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def script() -> None:
    """One run of the app: of the whole page, or of a fragment, which the frame has no part in."""
    import streamlit as st

    from explorer.app import state

    whole = st.session_state.get("whole", True)
    if whole:
        state.enter(st.session_state.get("page", "metrics"))
    if "put" in st.session_state:
        state.put("zoom", st.session_state["put"])
        del st.session_state["put"]
    st.session_state["found"] = state.get("zoom")
    st.session_state["other"] = state.get("late") if st.session_state.get("ask late") else None
    if whole:
        state.leave()


@pytest.fixture
def app() -> AppTest:
    app = AppTest.from_function(script)
    app.query_params["zoom"] = "1,2,step"
    return app.run()


def test_a_link_and_the_back_button_move_the_page(app: AppTest) -> None:
    assert app.session_state["found"] == "1,2,step"
    app.query_params["zoom"] = "3,4,step"
    assert app.run().session_state["found"] == "3,4,step"
    del app.query_params["zoom"]
    assert app.run().session_state["found"] is None


def test_a_part_is_drawn_with_what_the_session_holds_when_the_browser_still_shows_an_older_address(
    app: AppTest,
) -> None:
    app.session_state["whole"], app.session_state["put"] = False, "5,6,step"
    app.run()
    for older in ("1,2,step", None):  # asked for before the browser heard of the new address
        if older is None:
            del app.query_params["zoom"]
        else:
            app.query_params["zoom"] = older
        app.run()
        assert app.session_state["found"] == "5,6,step"
        assert app.query_params["zoom"] in ("5,6,step", ["5,6,step"])


def test_a_part_reads_from_the_address_what_was_never_asked_for_before(app: AppTest) -> None:
    app.session_state["whole"], app.session_state["ask late"] = False, True
    app.query_params["late"] = "here"
    assert app.run().session_state["other"] == "here"


def test_another_page_keeps_what_was_chosen(app: AppTest) -> None:
    app.session_state["page"] = "compare"
    del app.query_params["zoom"]
    assert app.run().session_state["found"] == "1,2,step"
