"""Where within a bin its values lie: on a cubic that goes on smoothly in the bins beside it.

The cubic is that of Fritsch and Carlson (1980) through the cumulative counts at the ends of bins, which never falls.
Its slopes, the densities at the ends, are weighted harmonic means (Fritsch and Butland, 1984), as in SciPy's
`PchipInterpolator`. All densities here are relative to the mean density of the bin itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MAX_ROUNDS: Final = 50
_CLOSE: Final = 1e-9


def shared_density(other_width: Floats, other_density: Floats) -> Floats:
    """The density at the end that a bin of width 1 shares with another one; both of the other's numbers are above 0."""
    return 3 * (1 + other_width) / ((2 + other_width) / other_density + 1 + 2 * other_width)


def outer_density(other_width: Floats, other_density: Floats) -> Floats:
    """The density at the end of a bin of width 1 that has another bin at its other end only: a parabola's, or 0."""
    return np.maximum((2 + other_width - other_density) / (1 + other_width), 0.0)


def places(share: Floats, left: Floats, right: Floats) -> Floats:
    """Where in a bin that reaches from 0 to 1 so large a share of its values lies below.

    Args:
        share: from 0 to 1.
        left: the density at its lower end, from 0 to 3.
        right: the density at its upper end, from 0 to 3.

    Returns:
        From 0 to 1, in the shape of `share`: the root t of `left t + (3 - 2 left - right) t^2 + (left + right - 2) t^3
        = share`, by Newton's method kept between two bounds.
    """
    square, cube = 3 - 2 * left - right, left + right - 2
    low, high = np.zeros_like(share), np.ones_like(share)
    place = share.copy()
    for _ in range(_MAX_ROUNDS):
        error = ((cube * place + square) * place + left) * place - share
        is_off = np.abs(error) > _CLOSE
        if not is_off.any():
            break
        np.copyto(low, place, where=error < 0)
        np.copyto(high, place, where=error > 0)
        with np.errstate(all="ignore"):
            nearer = place - error / ((3 * cube * place + 2 * square) * place + left)
        inside = (nearer > low) & (nearer < high)
        place = np.where(is_off, np.where(inside, nearer, (low + high) / 2), place)
    return place
