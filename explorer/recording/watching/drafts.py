"""A look at the model as the training's thread hands it over, and the rows that the writer thread makes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from explorer.recording.watching.bench import Later
from explorer.recording.watching.checksum import checksum_with_counts
from explorer.recording.watching.quantities import Measured, plus
from explorer.recording.watching.shipping import Shipment
from explorer.recording.watching.units import UnitCounts, joined_units
from explorer.storage.bins import fold_keys
from explorer.storage.tensors import TensorRow

More = Callable[[], dict[str, Any]]


@dataclass
class RowDraft:
    """One row of the table `tensors` to be.

    Attributes:
        name, kind: of the tensor.
        parts: what was measured; several where a module was called several times.
        more: further fields, by the names of the columns.
        units: of an activation, a part each.
    """

    name: str
    kind: str
    parts: list[Later[Measured]]
    more: list[More] = field(default_factory=list)
    units: list[Later[UnitCounts]] = field(default_factory=list)

    def finish(self, step: int, wall_time: int) -> TensorRow:
        """The row. Everything it asks for has arrived."""
        measured = functools.reduce(plus, [part() for part in self.parts])
        moments = measured.moments
        m, bins, counts = fold_keys(measured.keys, measured.counts)
        fields: dict[str, Any] = {"m": m, "bins": bins, "counts": counts}
        for more in self.more:
            fields |= more()
        if measured.checksum is not None:
            fields["hash"] = checksum_with_counts(measured.checksum, measured.keys, measured.counts)
        if self.units:
            fields |= joined_units([part() for part in self.units])
        return TensorRow(
            step=step, wall_time=wall_time, name=self.name, kind=self.kind,
            n=measured.n, zeros=measured.zeros, nans=measured.nans, infs=measured.infs, underflow=measured.underflow,
            mean=moments.mean if moments.n else np.nan, std=moments.std, min=measured.low, max=measured.high,
            norm=moments.norm if moments.n else np.nan,
            **fields,
        )  # fmt: skip


@dataclass
class LabelsDraft:
    """The labels of one batch, as they were given or as they arrive."""

    name: str
    labels: Later[npt.NDArray[np.int64]]

    def finish(self, step: int, wall_time: int) -> TensorRow:
        """The row: bins are the classes themselves, as far as they fit int16; all others are in no bin."""
        labels = self.labels()
        fitting = labels[(labels >= -(2**15)) & (labels < 2**15)]
        bins, counts = np.unique(fitting, return_counts=True)
        wide = labels.astype(np.float64)
        known = len(wide) > 0
        return TensorRow(
            step=step, wall_time=wall_time, name=self.name, kind="labels",
            n=len(labels), zeros=int(np.count_nonzero(labels == 0)), nans=0, infs=0, underflow=0,
            mean=float(wide.mean()) if known else np.nan, std=float(wide.std()) if known else np.nan,
            min=float(wide.min()) if known else np.nan, max=float(wide.max()) if known else np.nan,
            norm=float(np.sqrt(np.square(wide).sum())) if known else np.nan,
            bins=bins.astype(np.int16), counts=counts.astype(np.int64),
        )  # fmt: skip


@dataclass
class Draft:
    """One look.

    Attributes:
        step: optimizer step.
        monotonic_ns: when.
        rows: of the table `tensors`.
        scalars: ordinary metrics of this step; None means that there is no such number.
        shipments: what has to arrive first.
        num_bytes: memory that it takes while it waits, where that can be a lot: of labels.
    """

    step: int
    monotonic_ns: int
    rows: list[RowDraft | LabelsDraft] = field(default_factory=list)
    scalars: dict[str, Later[float | None]] = field(default_factory=dict)
    shipments: Sequence[Shipment] = ()
    num_bytes: int = 0

    def ready(self) -> bool:
        """Whether `arrive` would not wait."""
        return all(shipment.ready() for shipment in self.shipments)

    def arrive(self) -> None:
        """Have everything here. Raises what the device raises."""
        for shipment in self.shipments:
            shipment.arrive()
