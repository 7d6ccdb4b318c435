"""What a training hands over as a metric, made into numbers; the careful way, for whatever is not a plain float."""

from __future__ import annotations

import operator
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from explorer.errors import UsageError

MAX_NAME_BYTES = 1_024
EXACT_FLOAT_INT = 2**53
INT64_MAX = 2**63 - 1
_SPREAD = "it is a DTensor of which each rank holds a part: call .full_tensor() on all ranks, and log what that gives"

Number = float | int


@dataclass
class Cleaned:
    """The parts of one row.

    Attributes:
        names, kinds, values: what can be written now; a kind is "d" (float64) or "q" (int64).
        device: name to tensor, for values that are still on an accelerator.
        refused: (name, what is wrong and what to do) of each value that is no number.
        changed: (name, what was changed) of each value that is kept, but not as it came.
        plain: whether all names and values were kept as they came, and all values were Python's own numbers.
    """

    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    values: list[Number] = field(default_factory=list)
    device: dict[str, Any] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)
    plain: bool = True


def clean_row(values: Mapping[str, object]) -> Cleaned:
    """Sort the values of a row. Never raises for a value, never waits for a device."""
    row = Cleaned()
    taken: set[str] = set()
    for given, value in values.items():
        name = clean_name(given)
        if name != given:
            row.changed.append((name, f"the name was {_show(given)}: at most 1,024 bytes of valid text are kept"))
        if name in taken:
            row.refused.append((name, "two names became the same; only the first value is kept"))
            continue
        taken.add(name)
        if type(value) is float:
            row.names.append(name)
            row.kinds.append("d")
            row.values.append(value)
            continue
        row.plain = row.plain and type(value) in (int, bool)
        try:
            if is_spread(value):
                row.refused.append((name, _SPREAD))
                continue
            if is_on_device(value) and value.numel() == 1:  # type: ignore[attr-defined]
                row.device[name] = value
                continue
            number = None if is_on_device(value) else to_number(value)
        except Exception as error:  # tensors of vmap and of tracing, for example, have no value
            row.refused.append((name, f"its value cannot be read ({type(error).__name__}: {_cut(str(error))})"))
            continue
        if number is None:
            row.refused.append((name, _wrong(value)))
            continue
        if isinstance(number, int) and not -INT64_MAX - 1 <= number <= INT64_MAX:
            row.changed.append((name, "the integer does not fit 64 bits: it is kept as a float"))
            number = _as_float(number)
        row.names.append(name)
        row.kinds.append("q" if isinstance(number, int) and abs(number) > EXACT_FLOAT_INT else "d")
        row.values.append(number)
    row.plain = row.plain and not row.refused and not row.changed
    return row


def to_number(value: object) -> Number | None:
    """A Python float or int of the same value, or None when there is none. For tensors on the CPU only."""
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str | bytes | bytearray | complex):
        return None
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_tensor(value, torch)
    if isinstance(value, np.ndarray | np.generic):
        if value.size != 1 or value.dtype.kind not in "biuf" or np.ma.is_masked(value):
            return None
        number = value.item()
        return float(number) if isinstance(number, np.generic) else to_number(number)  # longdouble stays numpy's
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except Exception:
        pass
    try:
        return float(value)  # type: ignore[arg-type]
    except Exception:
        return None


def _of_tensor(value: Any, torch: Any) -> Number | None:  # noqa: ANN401 - torch is not imported here
    if value.numel() != 1 or value.is_complex() or value.is_meta or value.layout != torch.strided:
        return None
    number = value.detach().item()
    return int(number) if isinstance(number, int) else float(number)


def is_on_device(value: object) -> bool:
    """Whether this is a tensor whose value cannot be read without waiting for an accelerator."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor) and value.device.type not in ("cpu", "meta")


def is_spread(value: object) -> bool:
    """Whether this is a DTensor whose value is not on every rank: reading it alone would give a part, or hang."""
    module = sys.modules.get("torch.distributed.tensor") or sys.modules.get("torch.distributed._tensor")
    kind = getattr(module, "DTensor", None)
    return kind is not None and isinstance(value, kind) and not all(each.is_replicate() for each in value.placements)


def clean_step(step: object) -> int:
    """A step as int. Raises UsageError for anything but an integer of 64 bits."""
    found: int | None = None
    if not isinstance(step, bool | np.bool_) and not is_on_device(step):
        try:
            found = operator.index(step)  # type: ignore[arg-type]
        except TypeError:
            if isinstance(step, float) and step.is_integer():
                found = int(step)
    if found is None or not -INT64_MAX - 1 <= found <= INT64_MAX:
        raise UsageError(f"step should be an integer of at most 64 bits; found {_show(step)}")
    return found


def clean_name(name: object) -> str:
    """A metric's name: any text of at most 1,024 bytes; NUL and lone surrogates become U+FFFD, empty is "(no name)"."""
    text = clean_text(name if isinstance(name, str) else str(name))
    if type(text) is str and text.isascii() and 0 < len(text) <= MAX_NAME_BYTES:
        return text
    encoded = text.encode("utf-8")
    if len(encoded) > MAX_NAME_BYTES:
        text = encoded[: MAX_NAME_BYTES - 3].decode("utf-8", "ignore") + "\u2026"
    return text or "(no name)"


def clean_text(text: str) -> str:
    """Text that is valid UTF-8 and holds no NUL: what is not becomes U+FFFD."""
    if type(text) is str and text.isascii() and "\0" not in text:
        return text
    return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in text)


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _wrong(value: object) -> str:
    try:
        what = f"a {type(value).__name__} of shape {tuple(value.shape)} and type {value.dtype}"  # type: ignore[attr-defined]
        todo = "log one number of it, such as its mean()"
    except Exception:  # no array, or one that has no shape, such as a nested tensor
        shown = "a tensor on a device" if is_on_device(value) else _show(value)  # whose text would wait for it
        what = f"{shown}, a {type(value).__name__}"
        todo = "log a number; text belongs into the run's config or notes"
    return f"expected one real number, found {what}: {todo}"


def _show(value: object) -> str:
    try:
        if isinstance(value, str | bytes):
            text = repr(value[:80])
        else:  # of a large collection, only the first few members are looked at
            text = (reprlib.repr if isinstance(value, list | tuple | dict | set | frozenset) else repr)(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
