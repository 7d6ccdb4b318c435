"""One test of a filter: a field of a run against a value as it was written."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final

from explorer.app.runs_fields import STATES, Field, as_float
from explorer.errors import UsageError
from explorer.reading.catalogue import RunInfo

Predicate = Callable[[RunInfo], bool]

_ORDER: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class FilterError(UsageError):
    """The filter cannot be read; the message says where and what was expected."""


def compare(field: Field, sign: str, value: str, *, bare: bool) -> Predicate:
    """Return the test `field sign value`.

    Args:
        field: What is compared.
        sign: `==`, `!=`, `<`, `<=`, `>` or `>=`.
        value: The value as it was written.
        bare: Whether it stood without quotes, so that it may be a number, `true`, `false` or `none`.

    Raises:
        FilterError: the value cannot be compared with the field in this way.
    """
    if bare and value.lower() in ("none", "null") and sign in ("==", "!="):
        return lambda run: (field.get(run) in (None, "", [])) is (sign == "==")
    if field.token == "state" and value.lower() not in STATES:
        raise FilterError(f"`{value}` is no state; a run is {', '.join(STATES[:-1])} or {STATES[-1]}.")
    number = _number(field, value, bare)
    if sign in _ORDER:
        if number is None:
            raise FilterError(f"`{sign}` compares numbers; `{value}` after `{field.token}` is none.")
        is_ordered, limit = _ORDER[sign], number
        return lambda run: (found := _as_number(field.get(run))) is not None and is_ordered(found, limit)
    word = value.casefold()

    def equals(run: RunInfo) -> bool:
        found = field.get(run)
        if isinstance(found, list):
            return word in (str(item).casefold() for item in found)
        same = _as_number(found)
        if number is not None and same is not None:
            return same == number or (math.isnan(number) and math.isnan(same))
        return found is not None and folded_text(found) == word

    return equals if sign == "==" else lambda run: not equals(run)


def _number(field: Field, value: str, bare: bool) -> float | None:
    """The value as a number in the unit of its field: seconds of a duration, a time stamp, or as it is written."""
    text = value
    if field.kind == "time":
        try:
            moment = datetime.fromisoformat(text.removesuffix("Z"))
        except ValueError:
            raise FilterError(f"`{text}` is no date; write `{field.token} > 2026-01-31` or add a time.") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    if not bare:
        return None
    scale = 1.0
    if field.kind == "duration" and text[-1:] in _UNIT_S:
        text, scale = text[:-1], _UNIT_S[text[-1]]
    try:
        return float(text) * scale
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(text.lower())


def _as_number(found: object) -> float | None:
    return found.timestamp() if isinstance(found, datetime) else as_float(found)


def folded_text(found: object) -> str:
    """Return the text of a value without regard to case; the items of a list stand on lines of their own."""
    if isinstance(found, list):
        return "\n".join(str(item) for item in found).casefold()
    return "" if found is None else str(found).casefold()
