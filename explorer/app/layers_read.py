"""The layers of a run: what the model record and the statistics tell of each tensor, kept until they change."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import streamlit as st

from explorer.app.caching import tensor_store
from explorer.app.file_versions import Version, folder_version
from explorer.app.layers_data import ACTIVATION, GRAD, PARAM, UPDATE, LayerStatistics, from_table
from explorer.reading.model_record import ModelRecord, read_model

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

_MAX_RUNS: Final = 16
_GROUPS: Final = {"parameters": (PARAM, GRAD, UPDATE), "activations": (ACTIVATION,)}


@dataclass(frozen=True, eq=False)
class Layer:
    """One tensor of a model.

    Attributes:
        name: as the record has it.
        type: of the module that owns it; empty when unknown.
        shape: of the tensor; empty for a number and when unknown.
        dtype: torch's name; empty when unknown.
        num_values: elements of the tensor.
        trainable: whether it requires a gradient; None when unknown.
        group: `parameters` or `activations`.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    dtype: str
    num_values: int
    trainable: bool | None
    group: str

    @property
    def shape_text(self) -> str:
        """The shape as one writes it."""
        return " × ".join(f"{size:,}" for size in self.shape) or ("1" if self.num_values == 1 else "")


@dataclass(frozen=True, eq=False)
class Layers:
    """The layers of one run, in the order of the model.

    Attributes:
        info: the run.
        label: what it is called on the page.
        rows: one for each tensor; a parameter and its gradient are one.
        statistics: what was recorded of them.
        problems: what could not be read.
        skipped: name, kind and reason of what the recorder did not watch.
        modes: of dropout and normalisation, see `ModelRecord`.
        initial: what the first value is in an attempt that goes on from an earlier one, in words; else None.
    """

    info: RunInfo
    label: str
    rows: tuple[Layer, ...]
    statistics: LayerStatistics
    problems: tuple[str, ...]
    skipped: tuple[tuple[str, str, str], ...] = ()
    modes: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    initial: str | None = None


def read_layers(info: RunInfo, label: str) -> Layers:
    """Return the layers of a run as recorded so far; no rows when nothing was."""
    store = tensor_store()
    table = store.statistics(info.path)
    record = _record(str(info.path), folder_version(str(info.path), "model"))
    known = _known().get(str(info.path))
    if known is None or known.table is not table or known.record != record:
        statistics = from_table(table)
        known = _Made(table, record, statistics, tuple(_rows(statistics, record)))
        _known()[str(info.path)] = known
    problems = tuple(store.problems(info.path))
    made = Layers(info, label, known.rows, known.statistics, problems)
    if record is None:
        return made
    return replace(made, skipped=record.skipped, modes=record.modes, initial=record.initial)


@st.cache_resource(show_spinner=False, max_entries=_MAX_RUNS)
def _record(path: str, version: Version) -> ModelRecord | None:
    """The record of a run's model; `version` changes when its files do."""
    return read_model(path)


@st.cache_resource(show_spinner=False)
def _known() -> _Kept:
    return _Kept()


class _Made(NamedTuple):
    """What was made of a table and a record."""

    table: object
    record: ModelRecord | None
    statistics: LayerStatistics
    rows: tuple[Layer, ...]


class _Kept(OrderedDict[str, _Made]):
    """What was made of the newest table of each run; the runs used last."""

    def __setitem__(self, key: str, value: _Made) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > _MAX_RUNS:
            self.popitem(last=False)


def _rows(statistics: LayerStatistics, record: ModelRecord | None) -> Iterator[Layer]:
    """The tensors in the order of the record; those that it does not know by name after them."""
    facts = {} if record is None else {tensor.name: tensor for tensor in record.tensors}
    for group, kinds in _GROUPS.items():
        names = statistics.names(kinds)
        names.sort(key=lambda name: (facts[name].order, name) if name in facts else (math.inf, name))
        for name in names:
            fact = facts.get(name)
            shape = () if fact is None else tuple(fact.shape)
            yield Layer(
                name=name,
                type="" if fact is None else fact.module_type or "",
                shape=shape,
                dtype="" if fact is None else fact.dtype or "",
                num_values=statistics.num_values(name, kinds),
                trainable=None if fact is None else fact.trainable,
                group=group,
            )
