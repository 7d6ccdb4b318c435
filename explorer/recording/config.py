"""The settings of a run: nested, plain values for JSON, open to later keys."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from explorer.errors import UsageError
from explorer.recording.redaction import redact
from explorer.storage.records import encode

MAX_DEPTH = 20
MAX_TEXT_CHARS = 10_000
MAX_ITEMS = 10_000
MAX_CONFIG_BYTES = 2**20
MAX_CUT_NAMED = 3

Plain = dict[str, Any]


class Config(Mapping[str, Any]):
    """A run's settings. Reads like a dict of plain values; `update` and item assignment add keys at any time.

    They are written into every summary, so they hold at most 1 MiB as JSON: what is larger is cut.

    Args:
        given: a dict, a dataclass or an `argparse.Namespace`.
        on_text: told (key path, type name) of each value that could only be kept as text.
        on_cut: told the key paths that were left out.
    """

    def __init__(self, given: object, on_text: Callable[[str, str], None], on_cut: Callable[[list[str]], None]) -> None:
        self._on_text, self._on_cut = on_text, on_cut
        self._values = self._limited(self._plain(given))
        self.version = 0

    def update(self, more: object) -> None:
        """Merge nested settings; new values replace old ones. Raises UsageError when this is not a mapping."""
        self._values = self._limited(merge(self._values, self._plain(more)))
        self.version += 1

    def put_under(self, earlier: Plain) -> None:
        """Settings of earlier attempts, which these come on top of."""
        self._values = self._limited(merge(earlier, self._values))

    def __setitem__(self, key: str, value: object) -> None:
        self.update({key: value})

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - any JSON value
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Config({self._values!r})"

    def as_dict(self) -> Plain:
        """The settings as nested plain values; not to be changed."""
        return self._values

    def _limited(self, values: Plain) -> Plain:
        left_out: list[str] = []
        kept = limit(values, MAX_CONFIG_BYTES, left_out)
        if left_out:
            self._on_cut(left_out)
        return kept

    def _plain(self, given: object) -> Plain:
        if given is None:
            return {}
        if isinstance(given, argparse.Namespace):
            given = vars(given)
        elif dataclasses.is_dataclass(given) and not isinstance(given, type):
            given = _fields(given)
        if not isinstance(given, Mapping):
            raise UsageError(
                f"config should be a dict, a dataclass or an argparse.Namespace; found {type(given).__name__}"
            )
        texts: list[tuple[str, str]] = []
        plain: Plain = redact(to_plain(given, "", texts))
        for key, kind in texts:
            self._on_text(key, kind)
        return plain


def merge(old: Plain, new: Plain) -> Plain:
    """Nested union of two settings; where both have a key that is not nested in both, the new one wins."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        result[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def limit(values: Plain, max_bytes: int, left_out: list[str], where: str = "") -> Plain:
    """Settings of at most so many bytes as JSON: of each level the smallest ones, in the order they came.

    Args:
        values: plain values.
        max_bytes: what they may take.
        left_out: gains the key path of each entry that is left out.
        where: the key path so far, for `left_out`.
    """
    if len(encode(values)) <= max_bytes:
        return values
    sizes = {key: len(encode({key: value})) for key, value in values.items()}
    kept: Plain = {}
    room = max_bytes - 2
    for key in sorted(sizes, key=sizes.__getitem__):
        path = f"{where}.{key}".lstrip(".")
        value, around = values[key], len(encode({key: None}))
        if sizes[key] <= room:
            kept[key] = value
        elif isinstance(value, dict) and room > around:
            kept[key] = limit(value, room - around, left_out, path)
        else:
            left_out.append(path)
            continue
        room -= len(encode({key: kept[key]}))
    return {key: kept[key] for key in values if key in kept}


def to_plain(value: object, where: str, texts: list[tuple[str, str]], inside: tuple[int, ...] = ()) -> Any:  # noqa: ANN401
    """A value as strict JSON can hold it.

    Args:
        value: anything.
        where: the key path so far, for `texts`.
        texts: gains (key path, type name) of every value that could only be kept as text.
        inside: identities of what this is nested in; what is nested deeper than 20, or in itself, becomes text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return (
            float(value) if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        )
    if isinstance(value, str):
        return value[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode("utf-8")
    if len(inside) < MAX_DEPTH and id(value) not in inside:
        within = (*inside, id(value))
        if isinstance(value, argparse.Namespace):
            value = vars(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = _fields(value)
        if isinstance(value, Mapping):
            items = list(value.items())[:MAX_ITEMS]
            return {_key(k): to_plain(v, f"{where}.{_key(k)}".lstrip("."), texts, within) for k, v in items}
        if isinstance(value, list | tuple | set | frozenset):
            members = sorted(value, key=repr) if isinstance(value, set | frozenset) else list(value)
            return [to_plain(v, f"{where}[{i}]", texts, within) for i, v in enumerate(members[:MAX_ITEMS])]
    if isinstance(value, np.generic | np.ndarray) and value.size == 1:
        item = value.item()
        return to_plain(float(item) if isinstance(item, np.longdouble) else item, where, texts, inside)
    return _text(value, where, texts)


def _text(value: object, where: str, texts: list[tuple[str, str]]) -> str:
    if type(value).__module__.partition(".")[0] not in ("torch", "pathlib"):  # a dtype or a path is fine as text
        texts.append((where, type(value).__name__))
    elif hasattr(value, "numel"):
        texts.append((where, type(value).__name__))
        return f"{type(value).__name__} of shape {tuple(getattr(value, 'shape', ()))}"
    try:
        text = str(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode("utf-8")


def _fields(value: object) -> Plain:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]


def _key(key: object) -> str:
    return (key if isinstance(key, str) else str(key))[:200].encode("utf-8", "replace").decode("utf-8")
