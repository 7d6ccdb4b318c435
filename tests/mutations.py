"""Changes to a JSON document that a stranger, or a broken disk, might make; by seed, so that each can be made again."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]


def _nested(depth: int, key: str | None) -> Any:
    found: Any = 0
    for _ in range(depth):
        found = [found] if key is None else {key: [found, 1, 1]}
    return found


VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 2**64, -(2**63), -(2**70), 10**400, 1.5, -1.5, 1e308, -0.0,
    "", "x", "__class__", "os.system", "aten.from_file.default", "a" * 3_000, "\ud800", "\0", "![x](http://e.example)",
    [], {}, [[]], [{}], {"": 0}, {"node": "x"}, {"node": 3}, {"node": None}, {"node": ["x"]},
    {"float": "nan"}, {"float": 1}, {"float": "huge"}, {"complex": [1]}, {"complex": [{"float": "nan"}, 10**30]},
    {"graph": {}}, {"graph": {"inputs": [], "nodes": [], "outputs": [{"node": "x"}]}}, {"slice": [1, 2]},
    {"slice": [None, {"node": "x"}, True]}, {"dtype": "float3"}, {"dtype": "__doc__"}, {"layout": "x"},
    {"memory_format": "__class__"}, {"device": True}, {"device": "cuda"}, [0] * 1_000,
    _nested(20, None), _nested(40, None), _nested(300, None), _nested(15, "slice"), _nested(200, "slice"),
)  # fmt: skip
TOKENS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5_000, b'"\\ud800"', b"\xff\xfe", b"\0", b"{")


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Where something is in a document."""
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*here, key))


def at(document: Any, place: Place) -> Any:
    for key in place:
        document = document[key]
    return document


def mutated(document: Any, chance: random.Random) -> Any:
    """A copy with one to three changes: values of other kinds, entries gone, twice, moved or under another name."""
    found = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        every = list(places(found))
        *owner_at, key = chance.choice(every[1:] or [("format",)])
        owner = at(found, tuple(owner_at))
        what = chance.choice(("value", "value", "value", "gone", "twice", "moved"))
        if what == "value":
            owner[key] = copy.deepcopy(chance.choice(VALUES))
        elif what == "moved":
            owner[key] = copy.deepcopy(at(found, chance.choice(every)))
        elif what == "gone":
            del owner[key]
        elif isinstance(owner, dict):
            owner[chance.choice(("", "a", "node", "x" * 300, "\ud800"))] = copy.deepcopy(owner[key])
        else:
            owner.insert(chance.randint(0, len(owner)), copy.deepcopy(owner[key]))
    return found


def mutated_text(document: Any, chance: random.Random) -> bytes:
    """The JSON of `mutated`; of every fourth, one token that is no JSON or too large for it is put somewhere."""
    text = json.dumps(mutated(document, chance)).encode()
    if chance.randrange(4):
        return text
    place = chance.choice([place for place, letter in enumerate(text) if letter in b",:["] or [0]) + 1
    return text[:place] + chance.choice(TOKENS) + (b"," if chance.random() < 0.5 else b"") + text[place:]
