"""Every address the app makes is read back as it was meant, and hostile ones do no harm."""

from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from explorer.app import links

ODD_NAMES = [
    "a,b",
    "100%",
    "a/b c",
    "é ü 漢 😀",
    "x=1&y=2",
    "#frag",
    "?",
    "a%2Cb",
    " spaced ",
    "'quoted\"",
    "../../etc",
]


def read_in_app(query: dict[str, str], code: str) -> dict[str, object]:
    """Run a line of code in a session that was opened with this query; it fills `found`."""
    app = AppTest.from_string(
        f"import streamlit as st\nfrom explorer.app import links\nst.session_state.found = {code}"
    )
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app.session_state["found"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_list_in_a_link_comes_back_with_any_characters(name):
    assert links.split(links.join([name, "plain"])) == [name, "plain"]


def test_a_list_in_a_link_has_no_repeats_and_no_end():
    assert links.split("a,b,a,,b") == ["a", "b"]
    assert len(links.split(",".join(map(str, range(5000))))) <= 1000


def test_readable_names_stay_readable_in_a_link():
    assert links.join(["train/loss", "val/acc@5", "model.width"]) == "train/loss,val/acc@5,model.width"


def test_an_address_keeps_its_state_through_a_browser():
    address = links.url("metrics", runs=["a-1", "b-2"], q="loss$|é", smooth=0.6, logy=True, x=None)
    query = parse_qs(urlsplit(address).query)
    assert address.startswith("metrics?")
    assert query == {"runs": ["a-1,b-2"], "q": ["loss$|é"], "smooth": ["0.6"], "logy": ["true"]}


def test_an_empty_selection_is_not_the_same_as_none_chosen():
    assert links.params(runs=[]) == {"runs": links.NO_RUNS}
    assert links.params(runs=None) == {}


def test_an_address_of_an_unknown_page_is_refused():
    with pytest.raises(KeyError):
        links.url("admin")


def test_the_first_page_needs_no_path():
    assert links.url("runs") == "."
    assert links.url("runs", sort="-created") == ".?sort=-created"


@pytest.mark.parametrize(
    ("text", "expected"), [("0.5", 0.5), ("7", 0.99), ("-1", 0.0), ("nan", 0.6), ("inf", 0.6), ("x", 0.6), ("", 0.6)]
)
def test_a_number_in_a_link_stays_in_its_range(text, expected):
    assert read_in_app({"smooth": text}, "links.number('smooth', 0.0, 0.99, 0.6)") == expected


def test_a_choice_in_a_link_is_one_of_those_offered():
    assert read_in_app({"x": "wall"}, "links.choice('x', ['step', 'wall'], 'step')") == "wall"
    assert read_in_app({"x": "__import__('os')"}, "links.choice('x', ['step', 'wall'], 'step')") == "step"


def test_a_long_text_in_a_link_is_cut():
    assert read_in_app({"q": "a" * 50}, "links.text('q', max_chars=10)") == "a" * 10


def test_a_flag_in_a_link_reads_as_people_write_it():
    assert [read_in_app({"f": text}, "links.flag('f')") for text in ("true", "1", "YES", "no", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]
