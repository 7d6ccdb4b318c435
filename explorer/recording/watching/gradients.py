"""Gradients: the norm of all of them before and after clipping, and each tensor's own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from explorer.recording.watching.backward_ends import BackwardEnds
from explorer.recording.watching.bench import Bench, Later
from explorer.recording.watching.drafts import RowDraft
from explorer.recording.watching.flatten import Flat, NotMeasurable, flatten
from explorer.recording.watching.naming import ParameterPlace
from explorer.recording.watching.samples import SAMPLE_VALUES, cosine, take_sample

CLIPPED = 1 - 1e-4
"""Clipping changes the norm by more than this; rounding by less."""

Scalars = dict[str, Later[float | None]]


class Gradients:
    """See the module.

    Norms before clipping come from the end of the last backward pass before the step. A loss that was scaled, for
    float16, is told from the scaler's own tensor, which stays on its device; an optimizer that takes the scale off
    itself (a fused one) has it in its `grad_scale`.
    """

    def __init__(
        self,
        bench_of: Callable[[Tensor], Bench],
        optimizers: list[Optimizer],
        scaler: Any,  # noqa: ANN401 - torch has several
        prefix: str,
        timed: Callable[..., None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._bench_of, self._optimizers, self._scaler, self._prefix = bench_of, optimizers, scaler, prefix
        self._ends = [
            BackwardEnds(partial(timed, self._keep_norm, index), failed) for index in range(len(self._optimizers))
        ]
        self._before: dict[int, Later[float]] = {}
        self._scale: dict[int, Later[float]] = {}
        self._samples: dict[str, tuple[int, Tensor]] = {}

    def put_on(self) -> None:
        """Note the norm at the end of each backward pass from here on, until the optimizer steps."""
        for index, optimizer in enumerate(self._optimizers):
            self._ends[index].put_on(parameter for group in optimizer.param_groups for parameter in group["params"])

    def take_off(self) -> None:
        """Note nothing any more."""
        for end in self._ends:
            end.take_off()
        self._before, self._scale = {}, {}

    def keep(self, place: ParameterPlace, count: int) -> None:
        """Remember some values of a gradient until the optimizer's next step; `count` is that of this one."""
        if place.parameter.grad is None:
            return
        try:
            flat = flatten(place.parameter.grad)
        except (NotMeasurable, RuntimeError, TypeError, NotImplementedError):
            return  # said when it is looked at as a whole
        if not flat.implicit_zeros:
            self._samples[place.name] = (count, take_sample(flat.values, SAMPLE_VALUES))

    def look(
        self, index: int, count: int, places: Iterable[ParameterPlace], skip: Callable[[str, str, str], None]
    ) -> tuple[list[RowDraft], Scalars]:
        """Rows of these parameters' gradients as they are now, and the norms of all that the optimizer has."""
        self._ends[index].take_off()
        scale = _scale_of(self._optimizers[index])
        rows: list[RowDraft] = []
        squares: list[Later[float]] = []
        measured: set[int] = set()
        for place in places:
            gradient = place.parameter.grad
            if gradient is None:
                continue
            try:
                flat = flatten(gradient)
                values = _unscaled(flat.values, scale)
                row, square = self._row(place.name, count, Flat(values, flat.implicit_zeros))
            except NotMeasurable as reason:
                skip(place.name, "grad", str(reason))
            except (RuntimeError, TypeError, NotImplementedError) as error:
                skip(place.name, "grad", f"{type(error).__name__}: {error}")
            else:
                rows.append(row)
                squares.append(square)
                measured.add(id(place.parameter))
        return rows, self._scalars(index, scale, squares, measured)

    def _row(self, name: str, count: int, flat: Flat) -> tuple[RowDraft, Later[float]]:
        bench = self._bench_of(flat.values)
        found = bench.measure(bench.hold(flat.values))
        row = RowDraft(name, "grad", [lambda: found().with_zeros(flat.implicit_zeros)])
        previous = self._samples.pop(name, None)
        if not flat.implicit_zeros:
            sample = take_sample(flat.values, SAMPLE_VALUES)
            self._samples[name] = (count, sample)
            same = previous is not None and (previous[1].shape, previous[1].device) == (sample.shape, sample.device)
            if previous is not None and same and previous[0] == count - 1:
                products = bench.inner_products(sample, previous[1].to(sample.dtype))
                row.more.append(lambda: {"cosine_previous": cosine(*products())})
        return row, lambda: found().all_squares

    def _scalars(self, index: int, scale: Tensor | None, squares: list[Later[float]], measured: set[int]) -> Scalars:
        optimizer = self._optimizers[index]
        others = [_unscaled(values, scale) for values in _values_of_gradients(optimizer, measured)]
        squares = squares + self._squares(others)
        before, before_scale = self._before.pop(index, None), self._scale.pop(index, None)
        if before_scale is None and scale is not None:
            before_scale = self._bench_of(scale).number(scale)

        def after_norm() -> float | None:
            return _root(sum(square() for square in squares)) if squares else None

        def before_norm() -> float | None:
            return None if before is None else _root(before()) / (1.0 if before_scale is None else before_scale())

        def clipped() -> float | None:
            first, second = before_norm(), after_norm()
            if first is None or second is None or not (math.isfinite(first) and math.isfinite(second)):
                return None
            return float(second < CLIPPED * first)

        start = f"watch/{self._prefix}" if index == 0 else f"watch/{self._prefix}optimizer_{index}/"
        return {
            f"{start}grad_norm": after_norm,
            f"{start}grad_norm_before_clipping": before_norm,
            f"{start}clipped": clipped,
        }

    def _keep_norm(self, index: int) -> None:
        squares = self._squares(list(_values_of_gradients(self._optimizers[index], frozenset())))
        self._before[index] = lambda: sum(square() for square in squares)
        scale = getattr(self._scaler, "_scale", None)
        if isinstance(scale, Tensor) and self._scaler.is_enabled():
            self._scale[index] = self._bench_of(scale).number(scale)

    def _squares(self, tensors: list[Tensor]) -> list[Later[float]]:
        by_device: dict[torch.device, list[Tensor]] = {}
        for values in tensors:
            by_device.setdefault(values.device, []).append(values)
        return [self._bench_of(group[0]).squares(group) for group in by_device.values()]


def _scale_of(optimizer: Optimizer) -> Tensor | None:
    """By what the gradients are still too large: what a GradScaler leaves to a fused optimizer."""
    scale = getattr(optimizer, "grad_scale", None)
    return scale if isinstance(scale, Tensor) else None


def _unscaled(values: Tensor, scale: Tensor | None) -> Tensor:
    return values if scale is None else values.to(torch.float32) / scale.to(values.device, non_blocking=True)


def _values_of_gradients(optimizer: Optimizer, but: Collection[int]) -> Iterator[Tensor]:
    """Of the parameters of an optimizer, but for those of these ids, and for what cannot be measured."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and id(parameter) not in but:
                with contextlib.suppress(NotMeasurable):
                    yield flatten(parameter.grad).values


def _root(square: float) -> float:
    return math.sqrt(square) if square >= 0 else math.nan
