"""A recorded statistic of every module at a step, made of those of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.app.distributions_data import kept
from explorer.app.layers_data import ACTIVATION, STATISTICS, LayerStatistics, Statistic
from explorer.inference.modules import outwards, parent_of

if TYPE_CHECKING:
    from explorer.app.model_source import Architecture

Ints = npt.NDArray[np.int64]

_JOINED: Final = ("norm", "update_norm")  # columns of which the root of the sum of squares is that of all tensors
_ROOT: Final = "model"  # what the recorder calls the output of the whole model


class ModuleValue(NamedTuple):
    """A statistic of a module.

    Attributes:
        value: NaN where it was recorded as such.
        of: the tensor that it is of; "" where it is of several together.
        num: of how many tensors.
    """

    value: float
    of: str
    num: int


def steps_of(statistics: LayerStatistics, key: str) -> Ints:
    """Return the steps at which a statistic was recorded of any tensor, ascending."""

    def make() -> Ints:
        names = statistics.names([STATISTICS[key].kind])
        found = [series.step for name in names if (series := statistics.series(name, key)) is not None]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    return kept(("model steps", statistics, key), make)


class TensorValue(NamedTuple):
    """A statistic of a tensor, and what it weighs among others: 0 where it cannot be joined with theirs."""

    value: float
    weight: float = 0.0


def module_values(model: Architecture, statistics: LayerStatistics, key: str, step: int) -> dict[str, ModuleValue]:
    """Return a statistic of every module that has one, by path.

    Of each tensor the last value at or before the step counts. A module's activation is its own where that was
    recorded. Everything else is of all tensors in the module and below: norms, update ratios and shares of them
    together, of other statistics the one that is furthest from 0 (of minima the smallest), and NaN before anything.

    Args:
        model: the modules.
        statistics: of its tensors.
        key: of `STATISTICS`.
        step: at which.
    """

    def make() -> dict[str, ModuleValue]:
        what = STATISTICS[key]
        tensors = {}
        for name in statistics.names([what.kind]):
            value = _at(statistics, name, key, step)
            if value is not None:
                tensors[name] = TensorValue(value, _weight(statistics, name, key, step, value))
        return joined(model.rows, tensors, what, model.tied)

    return kept(("model values", model, statistics, key, step), make)


def _at(statistics: LayerStatistics, name: str, key: str, step: int) -> float | None:
    series = statistics.series(name, key)
    row = -1 if series is None else int(np.searchsorted(series.step, step, side="right")) - 1
    return None if series is None or row < 0 else float(series.value[row])


def _weight(statistics: LayerStatistics, name: str, key: str, step: int, value: float) -> float:
    """Of a share how many it is of; of an update ratio the square of the norm that it is relative to."""
    what = STATISTICS[key]
    rows = statistics.slices[name, what.kind]
    if what.per is not None:
        place = int(np.searchsorted(statistics.step[rows], step, side="right")) - 1
        return float(statistics.columns[what.per][rows][place])
    if what.column == "update_ratio":
        norm = _at(statistics, name, "update_norm", step)
        before = norm / value if norm and value and np.isfinite(value) else _at(statistics, name, "norm", step)
        return float((before or 0.0) ** 2)
    return 0.0


def joined(
    paths: Iterable[str],
    tensors: Mapping[str, TensorValue],
    what: Statistic,
    tied: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, ModuleValue]:
    """Return the values of modules, from those of their tensors by name.

    Args:
        paths: of the modules.
        tensors: what was recorded.
        what: the statistic.
        tied: other names of a tensor, under which it belongs to other modules too.
    """
    known = set(paths)
    own: dict[str, float] = {}
    below: dict[str, list[tuple[str, TensorValue]]] = {}
    for name, found in tensors.items():
        module = parent_of(name)
        if what.kind == ACTIVATION:
            module = "" if name == _ROOT and name not in known else name
            own[module] = found.value
        modules = [module, *(parent_of(other) for other in (tied or {}).get(name, ()))]
        for outer in dict.fromkeys(outer for one in modules for outer in ("", *outwards(one))):
            if outer in known:
                below.setdefault(outer, []).append((name, found))
    values = {path: _of_several(several, what) for path, several in below.items()}
    return values | {path: ModuleValue(value, path, 1) for path, value in own.items() if path in known}


def _of_several(found: list[tuple[str, TensorValue]], what: Statistic) -> ModuleValue:
    if len(found) == 1:
        return ModuleValue(found[0][1].value, found[0][0], 1)
    values = np.array([each.value for _, each in found])
    weights = np.array([each.weight for _, each in found])
    if what.column in _JOINED:
        return ModuleValue(float(np.sqrt(np.square(values).sum())), "", len(found))
    if what.column == "update_ratio" and weights.sum() > 0:
        return ModuleValue(float(np.sqrt((np.square(values) * weights).sum() / weights.sum())), "", len(found))
    if what.per is not None and weights.sum() > 0:
        return ModuleValue(float((values * weights).sum() / weights.sum()), "", len(found))
    name, furthest = max(found, key=lambda each: _rank(each[1].value, what))
    return ModuleValue(furthest.value, name, len(found))


def _rank(value: float, what: Statistic) -> float:
    """How much a value counts among those of several tensors."""
    if value != value:
        return np.inf
    if what.column == "min":
        return -value
    # A cosine to the first value that is far from 1 is what counts.
    return -abs(value) if what.column == "cosine_init" and not what.one_minus else abs(value)
