"""Original against edited, as tables and plain values: classes, tokens, regression values, images, a probe set.

Pure functions of arrays. Probabilities are softmax in float64; KL divergences are of the original from the edited
distribution, sum p ln(p / q), in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassChange:
    """What an edit did to one classification.

    Attributes:
        table: one row a class, most probable before the edit first: class, name, logit_before, logit_after,
            logit_change, probability_before, probability_after, probability_change, rank_before, rank_after,
            rank_change (ranks from 1; a positive change moved up).
        kl: divergence of the edited from the original probabilities, in nats.
        predicted_before, predicted_after: index of the most probable class.
    """

    table: pd.DataFrame
    kl: float
    predicted_before: int
    predicted_after: int

    @property
    def flipped(self) -> bool:
        """Whether the prediction is another."""
        return self.predicted_before != self.predicted_after


@dataclass(frozen=True)
class ProbeEffect:
    """What an edit did to a batch of examples; single examples mislead.

    Attributes:
        num_examples: in the batch (positions, for tokens).
        num_flips: predictions that changed.
        mean_kl: mean divergence, in nats.
        accuracy_before, accuracy_after: None without labels.
        num_fixed, num_broken: predictions that became right, or wrong; None without labels.
        share_affected: of examples whose probabilities moved by more than 0.01 in any class.
    """

    num_examples: int
    num_flips: int
    mean_kl: float
    accuracy_before: float | None
    accuracy_after: float | None
    num_fixed: int | None
    num_broken: int | None
    share_affected: float


@dataclass(frozen=True)
class ValueEffect:
    """What an edit did to regression values of a batch; errors are root mean squares, None without targets."""

    num_examples: int
    mean_change: float
    mean_absolute_change: float
    largest_change: float
    error_before: float | None
    error_after: float | None


def log_probabilities(logits: NDArray[np.floating]) -> Floats:
    """Logarithm of the softmax over the last axis, [..., C] to [..., C], in float64."""
    wide = np.asarray(logits, dtype=np.float64)
    shifted: Floats = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float64)


def kl_divergence(before: NDArray[np.floating], after: NDArray[np.floating]) -> Floats:
    """KL(before || after) of two arrays of logits [..., C], one value a distribution, at least 0."""
    return _kl(log_probabilities(before), log_probabilities(after))


def _kl(log_p: Floats, log_q: Floats) -> Floats:
    """The same, of logarithms of probabilities."""
    p = np.exp(log_p)
    with np.errstate(invalid="ignore"):
        terms = np.where(p > 0, p * (log_p - log_q), 0.0)
    return np.asarray(np.maximum(terms.sum(axis=-1), 0.0), dtype=np.float64)


def ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rank of each score over the last axis, 1 for the largest; of equal ones the first comes first."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), axis=-1, kind="stable")
    return (np.argsort(order, axis=-1, kind="stable") + 1).astype(np.int64)


def class_change(
    before: NDArray[np.floating], after: NDArray[np.floating], names: Sequence[str] | None = None
) -> ClassChange:
    """Compare the logits [C] of one example. Raises UsageError: other shapes or numbers of names."""
    before, after = _same(before, after, 1)
    p, q = np.exp(log_probabilities(before)), np.exp(log_probabilities(after))
    classes = np.arange(len(before))
    first, then = ranks(before), ranks(after)
    table = pd.DataFrame(
        {
            "class": classes,
            "name": _names(names, len(before)),
            "logit_before": before,
            "logit_after": after,
            "logit_change": after - before,
            "probability_before": p,
            "probability_after": q,
            "probability_change": q - p,
            "rank_before": first,
            "rank_after": then,
            "rank_change": first - then,
        }
    )
    table = table.sort_values("rank_before", ignore_index=True)
    return ClassChange(table, float(kl_divergence(before, after)), int(first.argmin()), int(then.argmin()))


def top_k(logits: NDArray[np.floating], k: int = 5, names: Sequence[str] | None = None) -> pd.DataFrame:
    """The k most probable of the logits [C]: class, name, logit, probability; most probable first."""
    values = np.asarray(logits, dtype=np.float64)
    chosen = np.argsort(-values, kind="stable")[:k]
    return pd.DataFrame(
        {
            "class": chosen,
            "name": [_names(names, len(values))[index] for index in chosen],
            "logit": values[chosen],
            "probability": np.exp(log_probabilities(values))[chosen],
        }
    )


def token_change(
    before: NDArray[np.floating], after: NDArray[np.floating], vocabulary: Sequence[str] | None = None
) -> pd.DataFrame:
    """Compare the logits [T, V] of one sequence, one row a position.

    Columns: position, token_before, probability_before, token_after, probability_after (the most probable tokens),
    probability_kept (what the edited model gives to the original's token), kl, flipped.
    """
    before, after = _same(before, after, 2)
    # A vocabulary is large: each softmax is taken once, and only one where nothing was edited.
    log_p = log_probabilities(before)
    log_q = log_p if after is before else log_probabilities(after)
    first = before.argmax(axis=1)
    then = first if after is before else after.argmax(axis=1)
    rows = np.arange(len(before))
    names = _names(vocabulary, before.shape[1])
    return pd.DataFrame(
        {
            "position": rows,
            "token_before": [names[index] for index in first],
            "probability_before": np.exp(log_p[rows, first]),
            "token_after": [names[index] for index in then],
            "probability_after": np.exp(log_q[rows, then]),
            "probability_kept": np.exp(log_q[rows, first]),
            "kl": np.zeros(len(rows)) if after is before else _kl(log_p, log_q),
            "flipped": first != then,
        }
    )


def value_change(
    before: NDArray[np.floating], after: NDArray[np.floating], names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Compare the values [K] of one example, one row each: name, before, after, change, relative_change."""
    before, after = _same(np.ravel(before), np.ravel(after), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(before != 0, (after - before) / np.abs(before), np.nan)
    return pd.DataFrame(
        {
            "name": _names(names, len(before)),
            "before": before,
            "after": after,
            "change": after - before,
            "relative_change": relative,
        }
    )


def patching_effect(metric: float, metric_of_source: float, metric_patched: float) -> float | None:
    """How much of the way a patch goes from this input's metric to that of the source: 0 nothing, 1 all of it.

    None where the two hardly differ (by less than a thousandth of the larger one), since the ratio means nothing there.
    """
    apart = metric_of_source - metric
    if abs(apart) <= 1e-3 * max(abs(metric), abs(metric_of_source)):
        return None
    return (metric_patched - metric) / apart


def image_change(before: NDArray[np.floating], after: NDArray[np.floating]) -> tuple[Floats, dict[str, float]]:
    """The difference of two images or maps of any shape, and its root mean square, largest value and PSNR in dB.

    The PSNR takes the range of the original as its peak; infinite for equal images.
    """
    before, after = _same(before, after, None)
    change = np.asarray(after - before, dtype=np.float64)
    rms = float(np.sqrt(np.mean(change**2))) if change.size else 0.0
    peak = float(before.max() - before.min()) if before.size else 0.0
    psnr = float("inf") if rms == 0 else 20 * float(np.log10(peak / rms)) if peak else float("-inf")
    return change, {"rms": rms, "largest": float(np.abs(change).max(initial=0.0)), "psnr_db": psnr}


def probe_effect(
    before: NDArray[np.floating], after: NDArray[np.floating], labels: NDArray[np.integer] | None = None
) -> ProbeEffect:
    """The effect on a batch of logits [N, C] or [N, T, V] with labels [N] or [N, T]; negative labels do not count."""
    before, after = _same(before, after, None)
    if before.ndim < 2:
        raise UsageError(f"a probe set should have logits [N, C] or [N, T, V]; found {before.shape}")
    first, then = before.argmax(axis=-1), after.argmax(axis=-1)
    moved = np.abs(np.exp(log_probabilities(after)) - np.exp(log_probabilities(before))).max(axis=-1)
    facts: tuple[float | None, float | None, int | None, int | None] = (None, None, None, None)
    if labels is not None:
        wanted = np.asarray(labels)
        if wanted.shape != first.shape:
            raise UsageError(f"labels should have the shape {first.shape}; found {wanted.shape}")
        counts = wanted >= 0
        right, still = (first == wanted)[counts], (then == wanted)[counts]
        if right.size:
            facts = float(right.mean()), float(still.mean()), int((~right & still).sum()), int((right & ~still).sum())
    mean_kl = float(kl_divergence(before, after).mean()) if first.size else 0.0
    affected = float((moved > 0.01).mean()) if first.size else 0.0
    return ProbeEffect(first.size, int((first != then).sum()), mean_kl, *facts, affected)


def value_effect(
    before: NDArray[np.floating], after: NDArray[np.floating], targets: NDArray[np.floating] | None = None
) -> ValueEffect:
    """The effect on a batch of regression values, of any shape."""
    before, after = _same(before, after, None)
    change = after - before
    errors: tuple[float | None, float | None] = (None, None)
    if targets is not None:
        wanted = np.asarray(targets, dtype=np.float64)
        if wanted.size != before.size:
            raise UsageError(f"targets should have the shape {before.shape}; found {wanted.shape}")
        wanted = wanted.reshape(before.shape)
        errors = tuple(float(np.sqrt(np.mean((found - wanted) ** 2))) for found in (before, after))  # type: ignore[assignment]
    size = np.abs(change)
    return ValueEffect(len(before), float(change.mean()), float(size.mean()), float(size.max()), *errors)


def _same(before: NDArray[np.floating], after: NDArray[np.floating], ndim: int | None) -> tuple[Floats, Floats]:
    one, other = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if one.shape != other.shape or (ndim is not None and one.ndim != ndim):
        wanted = "one shape" if ndim is None else f"one shape of {ndim} dimensions"
        raise UsageError(f"outputs should have {wanted} to be compared; found {one.shape} and {other.shape}")
    return one, other


def _names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [str(index) for index in range(count)]
    if len(names) < count:
        raise UsageError(f"there should be a name for each of {count} outputs; found {len(names)}")
    return list(names[:count])
