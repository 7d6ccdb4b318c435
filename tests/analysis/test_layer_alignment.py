"""Tensors of two models find each other by name and shape."""

from hypothesis import given, strategies as st

from explorer.analysis.layer_alignment import align

shapes = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([(2,), (3,), (2, 3), ()]))
manual = st.dictionaries(st.sampled_from("abcdefx"), st.sampled_from("abcdefx"))


def test_equal_names_and_shapes_are_pairs_whatever_their_order():
    found = align({"w": (2, 3), "b": (2,), "old": (1,)}, {"new": (1,), "b": (2,), "w": (2, 3)})
    assert found.pairs == (("w", "w"), ("b", "b"))
    assert (found.only_a, found.only_b, found.mismatched) == (("old",), ("new",), ())


def test_unlike_shapes_are_named():
    (found,) = align({"w": (2, 3)}, {"w": (2, 4)}).mismatched
    assert found == ("w", "w", (2, 3), (2, 4), "shapes differ: 2 x 3 and 2 x 4")
    assert "one number and 1" in align({"w": ()}, {"w": (1,)}).mismatched[0].reason


def test_a_partner_given_by_hand_goes_before_the_name():
    found = align({"w": (2,), "v": (2,)}, {"w": (2,), "u": (2,)}, {"v": "w"})
    assert found.pairs == (("v", "w"),)
    assert (found.only_a, found.only_b) == (("w",), ("u",))


def test_partners_by_hand_of_unlike_shapes_cannot_be_compared():
    found = align({"v": (2,)}, {"u": (3,)}, {"v": "u"})
    assert found.pairs == found.only_a == found.only_b == ()
    assert found.mismatched[0].reason == "shapes differ: 2 and 3"


def test_a_pair_that_cannot_be_made_is_named_and_takes_nothing():
    found = align({"w": (2,), "v": (2,)}, {"w": (2,)}, {"v": "w", "w": "w", "gone": "w", "x": "y"})
    assert found.pairs == (("v", "w"),)
    assert found.only_a == ("w",)
    assert [one.reason for one in found.mismatched] == [
        "'w' was given to another tensor already",
        "the first model has no tensor 'gone'",
        "the first model has no tensor 'x' and the second model has no tensor 'y'",
    ]
    stale = align({"w": (2,)}, {"w": (2,)}, {"w": "gone"})
    assert stale.pairs == (("w", "w"),)


@given(shapes, shapes, manual)
def test_every_tensor_is_in_one_place(a, b, by_hand):
    found = align(a, b, by_hand)
    unlike = [one for one in found.mismatched if one.reason.startswith("shapes differ")]
    assert sorted([one for one, _ in found.pairs] + list(found.only_a) + [one.a for one in unlike]) == sorted(a)
    assert sorted([other for _, other in found.pairs] + list(found.only_b) + [one.b for one in unlike]) == sorted(b)
    assert all(a[one] == b[other] for one, other in found.pairs)
