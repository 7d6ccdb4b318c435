"""Two snapshots against each other: how far every tensor of both moved, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import streamlit as st

from explorer.analysis.layer_alignment import align
from explorer.analysis.movement import Movement, movement
from explorer.app.layers_mapping import mismatch_texts
from explorer.app.names import plain
from explorer.app.run_text import bytes_text
from explorer.app.snapshot_values import MAX_TENSOR_BYTES, as_real, derived, identity, read_value
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from explorer.app.weights_choices import Chosen

_LARGE_BYTES: Final = 64 << 20  # from here on it is shown how far the comparison is


class Moved(NamedTuple):
    """How one tensor moved, summed up; numbers that are not finite are left out.

    Attributes:
        relative_change: see `Movement`; but 0 where both sides are 0.
        cosine, sign_flips: see `Movement`.
        max_change: largest absolute change of an element.
        norm_before, norm_after: L2 norms.
        num_left_out: elements that are not finite in both.
    """

    relative_change: float
    cosine: float
    sign_flips: float
    max_change: float
    norm_before: float
    norm_after: float
    num_left_out: int


@dataclass(frozen=True, eq=False)
class Diff:
    """What two snapshots differ in.

    Attributes:
        moved: name before, name after and the movement, of every tensor that both have in the same shape.
        roles: name before to what it is there: `param`, `buffer` or `optimizer`.
        dtypes: names whose dtype is another one; they are compared all the same.
        only_before, only_after: names without a counterpart.
        mismatched: why tensors of one name are not compared.
        skipped: name and why it was not read.
    """

    moved: tuple[tuple[str, str, Moved], ...]
    roles: Mapping[str, str]
    dtypes: tuple[str, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    mismatched: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def compare(before: Chosen, after: Chosen) -> Diff:
    """Return how the two snapshots differ, worked out once for these files; shows how far it is while it works."""
    key = ("diff", identity(before.info, before.snapshot.step), identity(after.info, after.snapshot.step))
    bar = st.empty()  # always there, so that what stands below it keeps its place
    return derived(key, lambda: _compare(before, after, bar), lambda diff: 400 * len(diff.moved) + 1_000)


def _compare(before: Chosen, after: Chosen, bar: DeltaGenerator) -> Diff:
    one, other = before.snapshot.entries, after.snapshot.entries
    alignment = align(
        {name: tuple(entry.shape) for name, entry in one.items()},
        {name: tuple(entry.shape) for name, entry in other.items()},
    )
    moved, skipped, dtypes = [], [], []
    total = sum(one[name].num_bytes for name, _ in alignment.pairs) or 1
    done = 0
    for name, counterpart in alignment.pairs:
        if max(one[name].num_bytes, other[counterpart].num_bytes) > MAX_TENSOR_BYTES:
            skipped.append((name, f"larger than {bytes_text(MAX_TENSOR_BYTES)}"))
            continue
        try:
            values = read_value(before.info, before.snapshot.step, name)
            others = read_value(after.info, after.snapshot.step, counterpart)
            moved.append((name, counterpart, sum_up(values, others)))
        except ExplorerError as error:
            skipped.append((name, str(error)))
            continue
        if one[name].dtype != other[counterpart].dtype:
            dtypes.append(name)
        done += one[name].num_bytes
        if total > _LARGE_BYTES:
            bar.progress(min(done / total, 1.0), f"Comparing tensors: {plain(name, 60)}")
    bar.empty()
    reasons = tuple(mismatch_texts(alignment))
    roles = {name: one[name].role for name, _, _ in moved}
    only = tuple(alignment.only_a), tuple(alignment.only_b)
    return Diff(tuple(moved), roles, tuple(dtypes), *only, reasons, tuple(skipped))


def sum_up(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Moved:
    """Return how a tensor moved; both have one shape.

    >>> moved = sum_up(np.array([3.0, 4.0]), np.array([3.0, -4.0]))
    >>> moved.relative_change, round(moved.cosine, 2), moved.sign_flips, moved.max_change
    (1.6, -0.28, 0.5, 8.0)
    """
    one, other = as_real(before), as_real(after)
    found: Movement = movement(other, one)
    difference = found.difference
    largest = max(abs(float(difference.min[0])), abs(float(difference.max[0])))
    change = 0.0 if largest == 0 and not found.num_left_out else found.relative_change
    return Moved(change, found.cosine, found.sign_flips, largest, _norm(one), _norm(other), found.num_left_out)


def _norm(values: npt.NDArray[Any]) -> float:
    flat = values.astype(np.float64).ravel()
    return float(np.linalg.norm(flat[np.isfinite(flat)]))
