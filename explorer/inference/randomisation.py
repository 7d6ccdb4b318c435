"""Is an attribution about the model? It must change when the model's weights are shuffled, layer after layer.

After Adebayo et al., Sanity checks for saliency maps, 2018. The absolute correlation may stay high for reasons of the
image alone, so both are told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.inference.edits.apply import Edited
from explorer.inference.edits.weight_edits import Weights


def randomisation_check(
    edited: Edited,
    attribute: Callable[[Edited], NDArray[np.floating]],
    *,
    num_stages: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Attribute again with ever more of the parameters shuffled, from the output down.

    Args:
        edited: the model.
        attribute: gives the signed attribution of a model.
        num_stages: how many; the last one shuffles all.
        seed: of the shuffling.

    Returns:
        One row a stage: num_shuffled (tensors), signed_rank_correlation, absolute_rank_correlation with the attribution
        of the model itself (Spearman; NaN where one of the two is constant).
    """
    original = attribute(edited)
    program = edited.subject.interpreter.program
    names = [weight.name for weight in program.weights.values() if weight.role == "param"]
    rows = []
    for stage in range(1, num_stages + 1):
        count = max(1, round(len(names) * stage / num_stages))
        shuffled = shuffled_weights(edited.weights, names[-count:], program.ties, seed)
        other = attribute(replace(edited, weights=shuffled))
        absolute = rank_correlation(np.abs(original), np.abs(other))
        rows.append((count, rank_correlation(original, other), absolute))
    return pd.DataFrame(rows, columns=["num_shuffled", "signed_rank_correlation", "absolute_rank_correlation"])


def shuffled_weights(
    weights: Weights, names: list[str], ties: tuple[tuple[str, ...], ...] = (), seed: int = 0
) -> dict[str, Tensor]:
    """Weights in which the elements of each named tensor traded places at random; tied ones stay one."""
    generator = torch.Generator().manual_seed(seed)
    new = dict(weights)
    for name in names:
        order = torch.randperm(weights[name].numel(), generator=generator).to(weights[name].device)
        mixed = weights[name].flatten()[order].reshape(weights[name].shape)
        for twin in next((group for group in ties if name in group), (name,)):
            if twin in new:
                new[twin] = mixed
    return new


def rank_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Spearman's correlation of all elements; equal values share their mean rank; NaN where one side is constant."""
    first, second = (pd.Series(np.ravel(found).astype(np.float64)).rank().to_numpy() for found in (one, other))
    if first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
