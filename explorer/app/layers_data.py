"""The statistics of a run's tensors as series: which there are, what they are called, and their numbers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PARAM: Final = "param"
GRAD: Final = "grad"
UPDATE: Final = "update"
ACTIVATION: Final = "activation"


class Statistic(NamedTuple):
    """A number that is recorded of a tensor at a step.

    Attributes:
        title: what it is called, with its unit.
        kind: of the tensor that it is recorded of.
        column: of the table of statistics.
        per: column that it is divided by, for shares.
        one_minus: whether 1 minus the column is told.
        log: whether a logarithmic axis suits it.
        about: one sentence for the help.
    """

    title: str
    kind: str
    column: str
    per: str | None = None
    one_minus: bool = False
    log: bool = False
    about: str = ""


def _moments(kind: str, prefix: str, of: str) -> dict[str, Statistic]:
    titles = {"norm": f"{of} norm (L2)", "mean": f"{of} mean", "std": f"{of} standard deviation"}
    titles |= {"min": f"{of} minimum", "max": f"{of} maximum"}
    moments = {
        prefix + column: Statistic(title, kind, column, log=column == "norm", about="Of all finite values.")
        for column, title in titles.items()
    }
    shares = {"zeros": "exact zeros", "nans": "NaN", "infs": "infinities"}
    return moments | {
        prefix + column: Statistic(f"{of}: share of {title}", kind, column, per="n", about="Of all values.")
        for column, title in shares.items()
    }


STATISTICS: Final[Mapping[str, Statistic]] = {
    "update_ratio": Statistic(
        "Update ratio",
        PARAM,
        "update_ratio",
        log=True,
        about="Norm of the last step's change over the norm of the weights before it. About 1e-3 is usual.",
    ),
    **_moments(PARAM, "", "Weight"),
    "update_norm": Statistic("Update norm (L2)", PARAM, "update_norm", log=True, about="Of the last step's change."),
    "drift": Statistic(
        "Drift from the first value (1 − cosine)",
        PARAM,
        "cosine_init",
        one_minus=True,
        about="1 minus the cosine between the weights and their value when watching began: 0 not turned, 1 at right "
        "angles.",
    ),
    "cosine_init": Statistic("Cosine to the first value", PARAM, "cosine_init"),
    **_moments(GRAD, "grad_", "Gradient"),
    "cosine_previous": Statistic(
        "Cosine of consecutive gradients",
        GRAD,
        "cosine_previous",
        about="Near 1 at every step: gradients add up, zero_grad() may be missing. Tells nothing for a few elements.",
    ),
    "grad_underflow": Statistic(
        "Gradient: share that float16 rounds to 0", GRAD, "underflow", per="n", about="Not zero, but below 2^-25."
    ),
    **{key: what for key, what in _moments(UPDATE, "change_", "Update").items() if key != "change_norm"},
    **_moments(ACTIVATION, "act_", "Activation"),
    "dead": Statistic("Share of dead units", ACTIVATION, "dead_units", per="units", about="Zero for every example."),
    "saturated": Statistic(
        "Share of saturated units", ACTIVATION, "saturated_units", per="units", about="Tanh or sigmoid near its ends."
    ),
}


class TensorSeries(NamedTuple):
    """One statistic of one tensor: step int64[n] ascending and value float64[n], NaN where it was not recorded."""

    step: Ints
    value: Floats


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """All statistics of a run, by tensor.

    Attributes:
        slices: (name, kind) to rows, steps ascending within.
        step: int64[n].
        columns: float64[n] each, NaN where nothing was recorded.
        memo: what was made of these statistics, which never change, for all sessions.
    """

    slices: Mapping[tuple[str, str], slice]
    step: Ints
    columns: Mapping[str, Floats]
    memo: dict[Hashable, Any] = field(default_factory=dict)

    def series(self, name: str, statistic: str) -> TensorSeries | None:
        """Return a statistic of a tensor without the steps at which it was not recorded; None when it never was.

        A value that was recorded as NaN stays: only a missing one is left out, and what a tensor without elements has.
        """
        what = STATISTICS[statistic]
        rows = self.slices.get((name, what.kind))
        column = self.columns.get(what.column)
        if rows is None or column is None:
            return None
        value = column[rows]
        if what.per is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                value = value / self.columns[what.per][rows]
        if what.one_minus:
            value = 1.0 - value
        there = self.columns["n"][rows] > 0
        if _HAS + what.column in self.columns:
            there &= self.columns[_HAS + what.column][rows] > 0
        if there.all():
            return TensorSeries(self.step[rows], value)
        return TensorSeries(self.step[rows][there], value[there]) if there.any() else None

    def not_finite(self, name: str, kind: str, step: int | None = None) -> int:
        """Return how many elements of a tensor are NaN or infinite at a step; None is the last one it was recorded at.

        Norms and moments are of the finite values, and do not tell. 0 where the tensor was not recorded.
        """
        rows = self.slices.get((name, kind))
        if rows is None:
            return 0
        place = rows.stop - 1
        if step is not None:
            place = rows.start + int(np.searchsorted(self.step[rows], step))
            if place == rows.stop or self.step[place] != step:
                return 0
        return int(sum(self.columns[column][place] for column in ("nans", "infs") if column in self.columns))

    def names(self, kinds: Iterable[str]) -> list[str]:
        """Return the names of tensors of these kinds, in the order of the table."""
        wanted = set(kinds)
        return list(dict.fromkeys(name for name, kind in self.slices if kind in wanted))

    def recorded(self, statistics: Iterable[str] = STATISTICS) -> list[str]:
        """Return the statistics that at least one tensor has."""
        wanted = tuple(statistics)
        if ("recorded", wanted) not in self.memo:
            self.memo["recorded", wanted] = tuple(self._recorded(wanted))
        return list(self.memo["recorded", wanted])

    def _recorded(self, statistics: Iterable[str]) -> list[str]:
        found = []
        for key in statistics:
            what = STATISTICS[key]
            rows = [part for (_, kind), part in self.slices.items() if kind == what.kind]
            mask = self.columns.get(_HAS + what.column)
            if what.column in self.columns and any(mask is None or mask[part].any() for part in rows):
                found.append(key)
        return found

    def num_values(self, name: str, kinds: Iterable[str]) -> int:
        """Return how many elements a tensor had when it was last recorded."""
        for kind in kinds:
            rows = self.slices.get((name, kind))
            if rows is not None:
                return int(self.columns["n"][rows][-1])
        return 0

    @property
    def last_step(self) -> int | None:
        """The largest step, None without any row."""
        return int(self.step.max()) if self.step.size else None


_HAS: Final = "has "
_NUMBERS: Final = (
    "n", "zeros", "nans", "infs", "underflow", "mean", "std", "min", "max", "norm", "update_norm", "update_ratio",
    "cosine_init", "cosine_previous", "units", "dead_units", "saturated_units",
)  # fmt: skip


def from_table(table: pa.Table) -> LayerStatistics:
    """Return the statistics of a table that is sorted by name, kind and step (see `TensorStore.statistics`)."""
    step = _numbers(table.column("step").combine_chunks())[0]
    columns: dict[str, Floats] = {}
    for name in _NUMBERS:
        if name not in table.column_names:
            continue
        column = table.column(name).combine_chunks()
        if column.null_count == len(column) and len(column):
            continue
        values, there = _numbers(column)
        columns[name] = np.where(there, values, np.nan).astype(np.float64)
        if column.null_count:
            columns[_HAS + name] = there.astype(np.float64)
    return LayerStatistics(_slices(table), step, columns)


def _slices(table: pa.Table) -> dict[tuple[str, str], slice]:
    names, kinds = (_codes(table.column(column)) for column in ("name", "kind"))
    if not table.num_rows:
        return {}
    change = (np.diff(names[0]) != 0) | (np.diff(kinds[0]) != 0)
    starts = np.concatenate([[0], np.flatnonzero(change) + 1])
    ends = np.append(starts[1:], table.num_rows)
    return {
        (names[1][names[0][start]], kinds[1][kinds[0][start]]): slice(int(start), int(end))
        for start, end in zip(starts, ends, strict=True)
    }


def _codes(column: pa.ChunkedArray) -> tuple[Ints, list[str]]:
    """Numbers of texts, and the texts."""
    coded = column.combine_chunks()
    coded = coded if isinstance(coded, pa.DictionaryArray) else coded.dictionary_encode()
    return _numbers(coded.indices)[0].astype(np.int64), coded.dictionary.to_pylist()


def _numbers(column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The numbers of a column and which of them are there; pyarrow's `to_numpy` imports pandas, 0.5 s."""
    part = slice(column.offset, column.offset + len(column))
    validity, data = column.buffers()
    kind = {"double": "float64", "float": "float32"}.get(str(column.type), str(column.type))
    values = np.frombuffer(data or b"", np.dtype(kind))[part]
    if validity is None:
        return values, np.ones(len(column), np.bool_)
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
    return values, bits[part].astype(np.bool_)
