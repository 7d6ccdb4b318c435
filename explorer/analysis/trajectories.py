"""The path of the parameters through a training, in the plane that holds most of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MAX_VALUES: Final = 1 << 20  # of all snapshots together, in float64 at a time


class Trajectory(NamedTuple):
    """Principal components of t snapshots.

    Attributes:
        coordinates: float64[t, c], the snapshots about their mean, in units of the parameters; each axis points from
            the first snapshot to the last.
        explained: float64[c], share of all movement along each axis.
        random_walk: float64[c], the same of a random walk of t steps in many dimensions. A path that explains no more
            shows nothing but that it moved: its curves are cosines of the step.
    """

    coordinates: Floats
    explained: Floats
    random_walk: Floats


def trajectory(tensors: Iterable[Sequence[npt.NDArray[np.generic]]], num_components: int = 3) -> Trajectory:
    """Return the principal components of snapshots, without holding more than one tensor of them.

    The eigenvectors of the t x t matrix of products between snapshots, summed over tensors, are the coordinates that a
    PCA of the flattened models gives.

    Args:
        tensors: for each tensor its values at t snapshots, real and of one shape.
        num_components: how many axes; no more than t - 1 come back.

    Raises:
        ValueError: fewer than two snapshots, unequal numbers or shapes, or values that are not finite.

    >>> line = [np.array([1.0, 2.0]) * step for step in range(4)]
    >>> trajectory([line]).explained.round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    products: Floats | None = None
    for values in tensors:
        if products is None:
            products = np.zeros((len(values), len(values)))
        if len(values) != len(products) or len({array.shape for array in values}) > 1:
            shapes = sorted({str(array.shape) for array in values})
            raise ValueError(
                f"expected {len(products)} snapshots of one shape, got {len(values)} of {', '.join(shapes)}"
            )
        _add_products(values, products)
    if products is None or len(products) < 2:
        raise ValueError("a trajectory needs at least two snapshots of at least one tensor")
    if not np.isfinite(products).all():
        raise ValueError("a trajectory needs finite parameters: a snapshot has NaN or infinite values")
    eigenvalues, vectors = np.linalg.eigh(products)
    num = min(num_components, len(products) - 1)
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]
    total = eigenvalues.sum()
    coordinates = vectors[:, :num] * np.sqrt(eigenvalues[:num])
    coordinates *= np.where(coordinates[-1] < coordinates[0], -1.0, 1.0)
    explained = eigenvalues[:num] / total if total > 0 else np.zeros(num)
    return Trajectory(coordinates, explained, random_walk_shares(len(products))[:num])


def random_walk_shares(num_steps: int) -> Floats:
    """Shares that the principal components of a random walk of t >= 2 steps explain: float64[t - 1], descending.

    The centred covariance of a walk is the inverse of the Laplacian of a path, whose eigenvalues are
    4 sin(pi k / 2 t)^2; the first share goes to 6 / pi^2 = 60.8 % (Antognini and Sohl-Dickstein, 2018).

    >>> random_walk_shares(1000)[:2].round(3).tolist()
    [0.608, 0.152]
    """
    eigenvalues = 1 / np.sin(np.pi * np.arange(1, num_steps) / (2 * num_steps)) ** 2
    shares: Floats = eigenvalues / eigenvalues.sum()
    return shares


def _add_products(values: Sequence[npt.NDArray[np.generic]], products: Floats) -> None:
    """Add the products between snapshots, about their mean. The mean goes first: it is far larger than movement."""
    flat = [array.reshape(-1) for array in values]
    step = max(_MAX_VALUES // len(flat), 1)
    for start in range(0, flat[0].size, step):
        part = np.stack([array[start : start + step].astype(np.float64) for array in flat])
        part -= part.mean(axis=0)
        products += part @ part.T
