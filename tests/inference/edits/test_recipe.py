"""Recipes: round trips of every kind, and what a link from a stranger may not do."""

import base64
import dataclasses
import hashlib
import json
import zlib

import pytest
from hypothesis import given, settings, strategies as st

from explorer.errors import UsageError
from explorer.inference.edits import recipe as recipes
from explorer.inference.edits.kinds.activations import ABLATE_BY
from explorer.inference.edits.kinds.fields import MAX_SEED
from explorer.inference.edits.kinds.inputs import BOX_BY
from explorer.inference.edits.kinds.weights import ROUND_TO

names = st.text(st.characters(categories=("L", "N"), include_characters="._"), min_size=1, max_size=30)
index = st.integers(0, 5000)
finite = st.floats(-1e6, 1e6, allow_nan=False)
places = st.one_of(
    names,
    st.just(""),
    st.builds(lambda name, row, column: f"{name}[{row},{column}]", names, index, st.just(":") | index.map(str)),
)
parts = st.one_of(
    st.just(""),
    st.builds(
        lambda kind, found: f"{kind}:{','.join(map(str, found))}",
        st.sampled_from(["unit", "channel", "position", "head"]),
        st.lists(index, min_size=1, max_size=5, unique=True),
    ),
    st.builds(lambda heads: f"head:{heads - 1}/{heads}", st.integers(1, 64)),
)
FIELDS = {
    "target": places,
    "node": names,
    "part": parts,
    "input": names | st.just(""),
    "run": st.just(""),
    "seed": st.integers(0, MAX_SEED),
    "step": st.integers(0, 10**9),
    "rank": index,
    "share": st.floats(0, 1),
    "t": st.floats(0, 1),
    "relative_sd": st.floats(0, 10),
    "to": st.sampled_from(ROUND_TO),
    "scales": st.sampled_from(["tensor", "channel"]),
    "amount": st.floats(0, 100),
    "channel": st.none() | index,
    "example": index,
    "tokens": st.lists(index, min_size=1, max_size=40).map(lambda found: " ".join(map(str, found))),
    "low": st.floats(-10, 0),
    "high": st.none() | st.floats(0, 10),
    **dict.fromkeys(("factor", "value", "fill"), finite),
    **dict.fromkeys(("top", "left", "height", "width", "feature", "position", "token", "down", "right"), index),
}


def edits_of(kind):
    known = recipes.KINDS[kind]
    strategies = {field.name: FIELDS.get(field.name) for field in dataclasses.fields(known)}
    if "by" in strategies:
        strategies["by"] = st.sampled_from(BOX_BY if kind == "box" else ABLATE_BY)
    return st.builds(known, **strategies)


@pytest.mark.parametrize("kind", recipes.KINDS)
def test_every_kind_survives_plain_data_and_a_link(kind):
    @settings(deadline=None)
    @given(edits_of(kind))
    def check(edit):
        (words,) = recipes.describe((edit,))
        assert recipes.from_text(recipes.to_text((edit,))) == (edit,)
        assert recipes.parse_recipe(json.loads(json.dumps(recipes.to_list((edit,))))) == (edit,)
        assert 5 < len(words) < 2_000
        assert words[0].islower()

    check()


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(recipes.KINDS)).flatmap(edits_of), max_size=8).map(tuple))
def test_a_recipe_keeps_its_order_and_undo_drops_the_last(recipe):
    text = recipes.to_text(recipe)
    assert recipes.from_text(text) == recipe
    assert recipes.to_text(recipe) == text
    assert len(text) <= recipes.MAX_TEXT
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert recipes.undo(recipe) == recipe[:-1]


def test_a_link_of_today_is_read_for_ever():
    old = (
        "1.eNpNjUEKwyAURO8ya0la3XmVkMWP_sSAqWJ_aSDk7tVNcTfMY95MF9jvAou3o8hQWMlJKrB6eCgIlY0bXd3w5X0LMpkZt_qvlnTWjaQMa7o6"
        "k7hQAZ905Kq1RuGVfA0oHD-9gZZI0o57rqqhNBqYvNXjU-Oef2kqNeU"
    )
    wanted = [
        "scale fc.weight[3] by 2",
        "set the full x full pixels at row 3, column 0 to 0",
        "patch relu from example 3",
    ]
    assert recipes.describe(recipes.from_text(old))[:3] == wanted


def link(document, version="1"):
    packed = base64.urlsafe_b64encode(zlib.compress(json.dumps(document).encode(), 9)).decode().rstrip("=")
    return f"{version}.{packed}"


SCALE = {"edit": "scale", "target": "fc", "factor": 2}


@pytest.mark.parametrize(
    "hostile",
    [
        "x",
        "1.",
        "1.!!!!",
        "1.AAAA",
        link([SCALE])[:-4],
        link([SCALE]) + "AAAA",
        link([SCALE], version="2"),
        link([SCALE], version="99999"),
        link({"edit": "scale"}),
        link("scale"),
        link([[]]),
        link([None]),
        link([{}]),
        link([{"edit": ["scale"]}]),
        link([{"edit": "__class__"}]),
        link([{**SCALE, "__class__": 1}]),
        link([{**SCALE, "factor": "2"}]),
        link([{**SCALE, "factor": True}]),
        link([{**SCALE, "factor": None}]),
        link([{**SCALE, "factor": float("nan")}]),
        link([{**SCALE, "factor": 1e301}]),
        link([{**SCALE, "factor": 10**400}]),
        link([{**SCALE, "factor": {"a": 1}}]),
        link([{**SCALE, "target": ["fc"]}]),
        link([{**SCALE, "target": "a" * 301}]),
        link([{**SCALE, "target": "a\x00b"}]),
        link([{**SCALE, "target": "a\u202eb"}]),
        link([{**SCALE, "target": "fc[99999999999]"}]),
        link([{**SCALE, "target": "fc[9999999999]"}]),
        link([{"edit": "scale", "target": "fc"}]),
        link([SCALE] * 65),
        link([{"edit": "ablate", "node": "n", "part": "unit:" + "1," * 300 + "1"}]),
        link([{"edit": "ablate", "node": "n", "part": "unit:1,1"}]),
        link([{"edit": "ablate", "node": "n", "part": "unit:1/4"}]),
        link([{"edit": "ablate", "node": "n", "part": "head:4/4"}]),
        link([{"edit": "ablate", "node": "n", "part": "rows:4"}]),
        link([{"edit": "ablate", "node": "n", "by": "eval"}]),
        link([{"edit": "patch", "node": "n"}]),
        link([{"edit": "patch", "node": "n", "run": "r"}]),
        link([{"edit": "clamp_activation", "node": "n"}]),
        link([{"edit": "clamp_activation", "node": "n", "low": 2, "high": 1}]),
        link([{"edit": "low_rank", "target": "n", "rank": 1.5}]),
        link([{"edit": "low_rank", "target": "n", "rank": -1}]),
        link([{"edit": "noise", "target": "n", "relative_sd": -1}]),
        link([{"edit": "noise", "target": "n", "relative_sd": 1, "seed": 2**32}]),
        link([{"edit": "box", "by": "blur", "amount": 1e9}]),
        link(["a" * 200_000]),
        link(json.loads("[" * 900 + "]" * 900)),
        "1." + "A" * 5_000,
    ],
    ids=range(49),
)
def test_a_hostile_link_is_refused_with_a_short_reason(hostile):
    with pytest.raises(UsageError) as refused:
        recipes.from_text(hostile)
    assert len(str(refused.value)) < 600


def test_a_number_too_long_for_python_is_refused():
    text = base64.urlsafe_b64encode(zlib.compress(b'[{"edit":"set","target":"a","value":' + b"9" * 9_000 + b"}]"))
    with pytest.raises(UsageError, match="whole, as it was copied"):
        recipes.from_text("1." + text.decode().rstrip("="))


def test_a_recipe_too_long_for_a_link_says_so():
    long = recipes.parse_recipe(
        [{"edit": "zero", "target": f"{hashlib.sha512(bytes([number])).hexdigest()}"} for number in range(64)]
    )
    with pytest.raises(UsageError, match="at most 4,000 characters"):
        recipes.to_text(long)
