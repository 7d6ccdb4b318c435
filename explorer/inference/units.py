"""What the units of a node do over a probe batch: which are dead, which react most, and to which inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.checkpoint_scrubber import as_array
from explorer.inference.edits.apply import Edited, Inputs
from explorer.inference.unit_dims import unit_dim

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class UnitActivity:
    """The units of one node.

    Attributes:
        table: one row a unit: unit, mean, sd, low, high, share_active (of values above 0), dead (0 for every input),
            constant (one value for every input).
        top_examples: int64[units, k], examples that excite each unit most, most first.
        top_values: float[units, k], its highest value in them.
    """

    table: pd.DataFrame
    top_examples: NDArray[np.int64]
    top_values: NDArray[np.floating]

    def dead_units(self) -> list[int]:
        """Units that are 0 for every input."""
        return [int(unit) for unit in self.table.loc[self.table["dead"], "unit"]]

    def top_units(self, k: int = 10) -> list[int]:
        """The units with the highest mean, highest first."""
        return [int(unit) for unit in self.table.sort_values("mean", ascending=False, kind="stable")["unit"].head(k)]


def unit_activity(edited: Edited, probe: Inputs, node: str, *, k: int = 9) -> UnitActivity:
    """Run the edited model on a probe batch and look at one node.

    Which dimension counts the units is told by `unit_dim`; positions and pixels are further values of a unit, and the
    highest of them is what excites it.

    Raises:
        UsageError: the node holds no floating tensor [N, ...] with units.
        ProgramError: the model cannot run on the probe batch.
    """
    import pandas as pd

    value = edited.on(probe, keep={node}).kept[node]
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() < 2:
        raise UsageError(f"the node {node} should hold a floating tensor [N, ...] to have units")
    dim = unit_dim(edited.subject.interpreter.program, node, value.dim())
    rows = as_array(value.movedim(dim, 1).flatten(2) if value.dim() > 2 else value.unsqueeze(2))  # [N, units, places]
    if not rows.size:
        raise UsageError(f"the node {node} should hold values; found the shape {tuple(value.shape)}")
    peaks = rows.max(axis=2)
    order = np.argsort(-peaks, axis=0, kind="stable")[:k].T
    low, high = rows.min(axis=(0, 2)), rows.max(axis=(0, 2))
    table = pd.DataFrame(
        {
            "unit": np.arange(rows.shape[1]),
            "mean": rows.mean(axis=(0, 2), dtype=np.float64),
            "sd": rows.std(axis=(0, 2), dtype=np.float64),
            "low": low,
            "high": high,
            "share_active": (rows > 0).mean(axis=(0, 2)),
            "dead": (low == 0) & (high == 0),
            "constant": low == high,
        }
    )
    return UnitActivity(table, order.astype(np.int64), np.take_along_axis(peaks.T, order, axis=1))
