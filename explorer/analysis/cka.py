"""Similarity of the features of layers: linear centred kernel alignment, debiased, from batches of activations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[np.generic]

_ROUNDING: Final = 8 * float(np.finfo(np.float64).eps)

MIN_EXAMPLES: Final = 4
"""In a batch; the debiased estimate is not defined below."""


def cka(batches: Iterable[tuple[Sequence[Array], Sequence[Array]]]) -> Floats:
    """Return the CKA of every layer of one model with every layer of another (or of the same).

    Each batch gives the unbiased estimate HSIC1 (Song et al., 2012); their means are divided (Nguyen, Raghu and
    Kornblith, 2021): mean HSIC1(K, L) / sqrt(mean HSIC1(K, K) mean HSIC1(L, L)). Unlike the biased form it is about 0
    for unrelated features, however many there are and however small the batch. 1 means equal up to rotation, scale and
    shift. It tells nothing of whether two layers do the same: moving a few examples far away changes it at will.

    Args:
        batches: pairs of activations of the a layers of one model and the b of another, on the same examples in the
            same order; each array is `[examples, ...]`, real, with at least 4 examples.

    Returns:
        float64[a, b], at most about 1, and below 0 by chance; NaN where a layer does not vary or is not finite.

    Raises:
        ValueError: no batches, fewer than 4 examples, or numbers of examples or layers that differ.
    """
    cross: Floats | None = None
    for first, second in batches:
        sizes = {len(activations) for activations in (*first, *second)}
        if len(sizes) != 1 or min(sizes) < MIN_EXAMPLES:
            raise ValueError(f"each batch has one number of examples, at least {MIN_EXAMPLES}, got {sorted(sizes)}")
        kernels, other_kernels = (np.stack([_kernel(activations) for activations in side]) for side in (first, second))
        found = _hsic(kernels, other_kernels)
        if cross is None:
            cross, own, other_own = np.zeros_like(found), np.zeros(len(first)), np.zeros(len(second))
        if found.shape != cross.shape:
            raise ValueError(f"each batch has as many layers as the first ({cross.shape}), got {found.shape}")
        cross += found
        own += np.array([_hsic(kernel[None], kernel[None])[0, 0] for kernel in kernels])
        other_own += np.array([_hsic(kernel[None], kernel[None])[0, 0] for kernel in other_kernels])
    if cross is None:
        raise ValueError("CKA needs at least one batch of activations")
    scale = np.sqrt(np.maximum(own, 0.0))[:, None] * np.sqrt(np.maximum(other_own, 0.0))
    similarity: Floats = np.divide(cross, scale, out=np.full_like(cross, np.nan), where=scale > 0)
    return similarity


def _kernel(activations: Array) -> Floats:
    """Products between examples, without the diagonal: float64[examples, examples]."""
    flat = activations.reshape(len(activations), -1).astype(np.float64)
    # Without its mean: that changes nothing but rounding, where a large common offset would swallow the rest.
    mean = flat.mean(axis=0)
    flat -= mean
    flat[np.abs(flat) <= _ROUNDING * np.abs(mean)] = 0.0
    kernel: Floats = flat @ flat.T
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _hsic(kernels: Floats, others: Floats) -> Floats:
    """HSIC1 of each pair of kernels without diagonals, [a, n, n] and [b, n, n]: float64[a, b]."""
    n = kernels.shape[1]
    rows, other_rows = kernels.sum(axis=2), others.sum(axis=2)
    traces = kernels.reshape(len(kernels), -1) @ others.reshape(len(others), -1).T
    totals = np.outer(rows.sum(axis=1), other_rows.sum(axis=1)) / ((n - 1) * (n - 2))
    hsic: Floats = (traces + totals - 2 / (n - 2) * (rows @ other_rows.T)) / (n * (n - 3))
    return hsic
