"""Singular values of a weight matrix, and what is read from them: ranks, and the exponent of their tail."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[np.generic]

MIN_TAIL: Final = 30
"""Fewer eigenvalues in the tail than this, and its exponent is no more than noise."""

_MAX_SVD_VALUES: Final = 1 << 20  # above, the Gram matrix of the smaller side is several times cheaper
_MAX_ROWS: Final = 8192  # converted to float64 at a time
_MIN_EIGENVALUE: Final = 1e-5  # smaller ones are left out of the tail, as weightwatcher does


class Spectrum(NamedTuple):
    """Singular values of a weight and its ranks, all 0 for a weight of zeros. Compare them with the weight's own start.

    Attributes:
        singular_values: float64[k], descending; k is the smaller side.
        stable_rank: sum of squares over the largest square.
        effective_rank: exp of the entropy of the values over their sum (Roy and Vetterli, 2007).
        participation_ratio: squared sum over the sum of squares, of the squares.
    """

    singular_values: Floats
    stable_rank: float
    effective_rank: float
    participation_ratio: float


class Tail(NamedTuple):
    """Power law fitted to the largest eigenvalues: density proportional to x^-alpha for x >= x_min.

    Attributes:
        alpha: maximum likelihood exponent; NaN where there are fewer than two eigenvalues. Show it with the two below
            and as a change from the start, never as a verdict: untrained layers reach any value from 3 to 16.
        sigma: standard error of alpha, (alpha - 1) / sqrt(num_tail).
        num_tail: how many eigenvalues are in the tail; see `MIN_TAIL`.
        x_min: where the tail begins.
        distance: Kolmogorov-Smirnov distance of the tail from the law.
    """

    alpha: float
    sigma: float
    num_tail: int
    x_min: float
    distance: float


def spectrum(weight: Array) -> Spectrum:
    """Return the spectrum of a weight of at least two dimensions.

    More than two are flattened but for the first, as for a convolution `[out, in * kernel]`; the largest value is then
    not the gain of the convolution, which can be up to sqrt(kernel) times larger.

    Above a million elements the values come from the Gram matrix of the smaller side: those below 1e-8 of the largest
    are then not to be relied on.

    Raises:
        ValueError: fewer than two dimensions, complex, empty or not finite.

    >>> spectrum(np.diag([2.0, 1.0, 1.0])).stable_rank
    1.5
    """
    _check(weight)
    values = _singular_values(weight.reshape(len(weight), -1))
    if values[0] == 0:
        return Spectrum(values, 0.0, 0.0, 0.0)
    relative = values / values[0]  # first, so that squares cannot overflow
    squares = relative**2
    shares = relative[relative > 0] / relative.sum()
    return Spectrum(
        values,
        stable_rank=float(squares.sum()),
        effective_rank=float(np.exp(-(shares * np.log(shares)).sum())),
        participation_ratio=float(squares.sum() ** 2 / (squares**2).sum()),
    )


def weight_tail(weight: Array) -> Tail:
    """Return the tail of a weight's eigenvalues, the squares of its singular values.

    A convolution is taken as one matrix `[out, in]` for each place of the kernel, and all their eigenvalues together.

    Raises:
        ValueError: as for `spectrum`.
    """
    _check(weight)
    slices = weight.reshape(*weight.shape[:2], -1)
    values = [_singular_values(slices[:, :, place]) for place in range(slices.shape[2])]
    return power_law_tail(np.concatenate(values) ** 2)


def power_law_tail(eigenvalues: npt.ArrayLike) -> Tail:
    """Return the power law that fits the largest eigenvalues best (Clauset, Shalizi and Newman, 2009).

    Every eigenvalue above 1e-5 but the largest is tried as the beginning of the tail; alpha is then
    1 + n / sum(log(x / x_min)), and the beginning with the smallest distance is kept. These are the figures of
    weightwatcher; the package powerlaw does not let alpha grow beyond 3.

    >>> tail = power_law_tail(np.linspace(0.001, 0.999, 500) ** -0.5)  # exact quantiles of x^-3
    >>> round(tail.alpha, 1)
    3.0
    """
    x = np.sort(np.asarray(eigenvalues, np.float64).ravel())
    x = x[x > _MIN_EIGENVALUE]
    best = Tail(np.nan, np.nan, len(x), np.nan, np.nan)
    logs = np.log(x)
    for start in range(len(x) - 1):
        num = len(x) - start
        excess = logs[start:] - logs[start]
        total = excess.sum()
        if total <= 0:  # all equal from here on: no law
            break
        alpha = 1 + num / total
        distance = float(np.abs(1 - np.exp(excess * (1 - alpha)) - np.arange(num) / num).max())
        if not distance >= best.distance:
            best = Tail(float(alpha), float((alpha - 1) / np.sqrt(num)), num, float(x[start]), distance)
    return best


def _check(weight: Array) -> None:
    if weight.ndim < 2 or not weight.size or np.iscomplexobj(weight):
        raise ValueError(f"a spectrum needs a real matrix, got {weight.dtype} of shape {weight.shape}")
    if not np.isfinite(weight).all():
        raise ValueError("a spectrum needs finite weights, this one has NaN or infinite values")


def _singular_values(matrix: Array) -> Floats:
    """Descending, as many as the smaller side has."""
    if matrix.size <= _MAX_SVD_VALUES:
        values: Floats = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
        return values
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = np.zeros((tall.shape[1], tall.shape[1]))
    for start in range(0, len(tall), _MAX_ROWS):
        part = tall[start : start + _MAX_ROWS].astype(np.float64)
        gram += part.T @ part
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0))
    return values
