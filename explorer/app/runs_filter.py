"""The filter of the runs table: `config.lr > 0.01 and state == finished`, parsed here, never evaluated as code.

    expression = both ("or" both)*
    both       = one ("and" one)*
    one        = "not" one | "(" expression ")" | test
    test       = field | field sign value | field ["not"] "in" "(" value ("," value)* ")"
    sign       = == = != < <= > >= contains
    field      = a token of runs_fields
    value      = number, word or "quoted text"

Fields hold no spaces unless they stand in backquotes. A field alone asks whether the run has a value there that is not
false, zero or empty. `none` stands for a missing value, which no other test but `!=` matches. Texts are compared
without regard to case. Durations take `s`, `m`, `h`, `d`; times are compared with ISO 8601 texts as UTC.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Final, NamedTuple

from explorer.app.runs_conditions import FilterError, Predicate, compare, folded_text
from explorer.app.runs_fields import Field, find_field

MAX_CHARS: Final = 2_000
_MAX_DEPTH: Final = 40
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<sign><=|>=|==|!=|<|>|=)|(?P<bracket>[(),])|"(?P<double>[^"]*)"|'(?P<single>[^']*)'
    |`(?P<quoted>[^`]+)`|(?P<word>[^\s()<>=!,"'`]+))""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str  # sign, bracket, text (in quotes), field (in backquotes), word
    text: str
    at: int


def parse_filter(text: str, known: Collection[str] = ()) -> Predicate:
    """Return a function that tells whether a run matches `text`; an empty filter matches every run.

    Args:
        text: The expression; the grammar stands at the top of this module.
        known: Tokens of fields that runs have. When given, a field that none has is an error that names near ones.

    Raises:
        FilterError: the text cannot be read; the message says where and what to write.
    """
    if not text.strip():
        return lambda run: True
    if len(text) > MAX_CHARS:
        raise FilterError(f"A filter of {len(text):,} characters is too long; at most {MAX_CHARS:,} are read.")
    parser = _Parser(_tokens(text), known)
    predicate = parser.expression(0)
    parser.end()
    return predicate


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].strip()
            at = text.index(rest, at)
            what = "a quote that is not closed" if rest[0] in "\"'`" else f"{rest[0]!r}"
            raise FilterError(f"Found {what} at character {at + 1}: {rest[:30]}")
        kind = str(match.lastgroup)
        kinds = {"double": "text", "single": "text", "quoted": "field"}
        found.append(_Token(kinds.get(kind, kind), match.group(kind), match.start(kind) + 1))
        at = match.end()
    return found


class _Parser:
    """Recursive descent over the grammar above."""

    def __init__(self, tokens: list[_Token], known: Collection[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._known = known

    def expression(self, depth: int) -> Predicate:
        if depth > _MAX_DEPTH:
            raise FilterError(f"More than {_MAX_DEPTH} brackets or `not` stand inside each other.")
        parts = [self._both(depth)]
        while self._take_word("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda run: any(part(run) for part in parts)

    def end(self) -> None:
        token = self._peek()
        if token is not None:
            raise FilterError(f"Expected `and` or `or` before {token.text!r} at character {token.at}.")

    def _both(self, depth: int) -> Predicate:
        parts = [self._one(depth)]
        while self._take_word("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else lambda run: all(part(run) for part in parts)

    def _one(self, depth: int) -> Predicate:
        if self._take_word("not"):
            if depth > _MAX_DEPTH:
                raise FilterError(f"More than {_MAX_DEPTH} brackets or `not` stand inside each other.")
            inner = self._one(depth + 1)
            return lambda run: not inner(run)
        if self._take("bracket", "("):
            inner = self.expression(depth + 1)
            self._expect(")")
            return inner
        return self._test()

    def _test(self) -> Predicate:
        field = self._field()
        token = self._peek()
        if token is not None and token.kind == "sign":
            self._at += 1
            return self._compare(field, "==" if token.text == "=" else token.text, self._value(token.text))
        if self._take_word("contains"):
            part = self._value("contains").text.casefold()
            return lambda run: part in folded_text(field.get(run))
        negated = self._take_word("not")
        if self._take_word("in"):
            tests = self._list(field)
            return lambda run: any(test(run) for test in tests) is not negated
        if negated:
            raise FilterError(f"Expected `in` after `{field.token} not`.")
        return lambda run: bool(field.get(run))

    def _list(self, field: Field) -> list[Predicate]:
        self._expect("(")
        tests = [self._compare(field, "==", self._value("in ("))]
        while self._take("bracket", ","):
            tests.append(self._compare(field, "==", self._value(",")))
        self._expect(")")
        return tests

    def _compare(self, field: Field, sign: str, value: _Token) -> Predicate:
        return compare(field, sign, value.text, bare=value.kind == "word")

    def _field(self) -> Field:
        token = self._peek()
        if token is None:
            raise FilterError("The filter ends where a column was expected, such as `state` or `config.lr`.")
        if token.kind not in ("word", "field"):
            raise FilterError(f"Expected a column at character {token.at}, found {token.text!r}.")
        self._at += 1
        field = find_field(token.text)
        if field is None or (self._known and token.text not in self._known):
            raise FilterError(f"There is no column `{token.text}`.{_nearest(token.text, self._known)}")
        return field

    def _value(self, after: str) -> _Token:
        token = self._peek()
        if token is None:
            raise FilterError(f"The filter ends after `{after}`; a number, a word or a quoted text was expected.")
        if token.kind not in ("word", "text"):
            raise FilterError(f"Expected a number, a word or a quoted text at character {token.at}.")
        self._at += 1
        return token

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, kind: str, text: str) -> bool:
        token = self._peek()
        if token is None or token.kind != kind or token.text.lower() != text:
            return False
        self._at += 1
        return True

    def _take_word(self, word: str) -> bool:
        return self._take("word", word)

    def _expect(self, bracket: str) -> None:
        if not self._take("bracket", bracket):
            token = self._peek()
            found = "the end" if token is None else f"{token.text!r} at character {token.at}"
            raise FilterError(f"Expected `{bracket}`, found {found}.")


def _nearest(token: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(token, known, 3, 0.5)
    near += [name for name in known if name.rpartition(".")[2] == token or name.endswith(f"/{token}")][:3]
    offers = ", ".join(f"`{name}`" for name in dict.fromkeys(near))
    return f" Did you mean {offers}?" if offers else " The columns are listed under Columns."
