"""One look at a model: what is measured of it, before and after an optimizer's step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from explorer.recording.notices import Notices
from explorer.recording.values import is_spread
from explorer.recording.watching.activations import Activations
from explorer.recording.watching.bench import Bench, HostBench, Later
from explorer.recording.watching.changes import Changes
from explorer.recording.watching.device import DeviceBench
from explorer.recording.watching.drafts import Draft, RowDraft
from explorer.recording.watching.first_snapshot import FirstSnapshot
from explorer.recording.watching.flatten import Flat, NotMeasurable, flatten
from explorer.recording.watching.gradients import Gradients
from explorer.recording.watching.members import IN_COMPILED_REGION, Members, find_members
from explorer.recording.watching.naming import ROOT_NAME, ParameterPlace
from explorer.recording.watching.options import Options
from explorer.recording.watching.record import ModelBook
from explorer.recording.watching.samples import SAMPLE_VALUES, cosine, take_sample, view_sample


class Benches:
    """The bench of each device, made when it is first needed."""

    def __init__(self) -> None:
        self._benches: dict[torch.device, HostBench | DeviceBench] = {}

    def of(self, values: Tensor) -> Bench:
        """The one that works on this tensor."""
        device = values.device
        bench = self._benches.get(device)
        if bench is None:
            bench = self._benches[device] = HostBench() if device.type == "cpu" else DeviceBench(device)
        return bench

    def ship(self, draft: Draft) -> None:
        """Send off what accelerators have worked out; nothing is added any more to what the writer works out."""
        for bench in self._benches.values():
            if isinstance(bench, HostBench):
                bench.close()
        devices = [bench for bench in self._benches.values() if isinstance(bench, DeviceBench)]
        draft.shipments = [bench.ship() for bench in devices if not bench.is_empty]


class Look:
    """Everything that a watch measures.

    Args:
        model, optimizers, options: as given to `watch`, checked.
        book: what becomes the record of the model.
        notices: where it is said what cannot be recorded.
        timed: does something without gradients and counts its time as ours.
        failed: told an error of a hook.
        first: where the initial values are, when an earlier attempt began with others than those of now.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: list[Optimizer],
        options: Options,
        book: ModelBook,
        notices: Notices,
        timed: Callable[..., None],
        failed: Callable[[Exception], None],
        *,
        first: FirstSnapshot | None,
    ) -> None:
        self._first = first
        self._model, self._optimizers, self._options = model, optimizers, options
        self._book, self._notices = book, notices
        self._benches = Benches()
        self._activations = Activations(
            self._benches.of, book.add_activation, lambda name, reason: self._skip(name, "activation", reason),
            timed, failed,
        )  # fmt: skip
        self._gradients = Gradients(
            self._benches.of, optimizers, options.scaler, f"{options.prefix}/" if options.prefix else "", timed, failed
        )
        whole = "update" in options.kinds
        self._changes = Changes(whole=whole, max_bytes=options.max_copy_bytes, skip=self._skip)
        self._initial: dict[str, Tensor] = {}
        self._has_closure = False
        self.members: Members = self._walk()
        self._say_what_is_missing()

    def put_on(self) -> None:
        """The next step is looked at: have hooks for what is only seen while it passes by."""
        if "activation" in self._options.kinds:
            self._activations.put_on(self.members.leaves, lambda: self._model.training)
        if "grad" in self._options.kinds:
            self._gradients.put_on()

    def take_off(self) -> None:
        """Have none."""
        self._activations.take_off()
        self._gradients.take_off()

    def begin(self, index: int, count: int, draft: Draft, *, has_closure: bool) -> None:
        """An optimizer is about to step: gradients are final, unless the step works them out itself, in a closure."""
        self.members = self._walk()
        self._has_closure = has_closure
        if not has_closure:
            self._look_back(index, count, draft)
        if not {"param", "update"}.isdisjoint(self._options.kinds):
            self._changes.keep(
                (place, flat.values, bench) for place, flat, bench in self._flat(self.members.of_optimizer[index])
            )

    def end(self, index: int, count: int, draft: Draft) -> None:
        """It has stepped."""
        if self._has_closure:
            self._look_back(index, count, draft)
        self._look_at_parameters(self.members.optimized_first(index), draft)
        self._benches.ship(draft)

    def begin_forward(self, draft: Draft) -> None:
        """Without an optimizer: a forward that is looked at begins; parameters are as the last step left them."""
        self.members = self._walk()
        self._look_at_parameters(self.members.of_none, draft)
        self.put_on()

    def end_forward(self, draft: Draft) -> None:
        """What modules gave out in this forward."""
        draft.rows += self._activations.take_off()
        self._benches.ship(draft)

    def keep_gradients(self, index: int, count: int) -> None:
        """The next step is looked at: remember some of the gradients, for their angle with the next ones."""
        if "grad" in self._options.kinds:
            for place in self.members.of_optimizer[index]:
                self._gradients.keep(place, count)

    def _look_at_parameters(self, places: Iterable[ParameterPlace], draft: Draft) -> None:
        """Values, and what the step did to them."""
        for place, flat, bench in self._flat(places):
            row, values = None, bench.hold(flat.values)
            if "param" in self._options.kinds:
                row = RowDraft(place.name, "param", [bench.measure(values, checksum=True)])
            now = bench.gather(view_sample(values, SAMPLE_VALUES))
            if row is not None:
                initial = self._initial.get(place.name)
                if initial is not None and initial.device != now.device:  # the model was moved since
                    initial = self._initial[place.name] = initial.to(now.device, non_blocking=True)
                if initial is not None and initial.shape == now.shape:
                    row.more.append(_cosine("cosine_init", bench.inner_products(now, initial)))
                elif self._first is not None and _is_as_stored(place.parameter, flat):
                    row.more.append(
                        partial(self._first.cosine, place.name, tuple(place.parameter.shape), bench.bring(now))
                    )
                draft.rows.append(row)
            update = self._changes.compare(place, values, now, bench, row)
            if update is not None:
                draft.rows.append(update)

    def _look_back(self, index: int, count: int, draft: Draft) -> None:
        draft.rows += self._activations.take_off()
        if "grad" in self._options.kinds:
            places = self.members.optimized_first(index)
            rows, scalars = self._gradients.look(index, count, places, self._skip)
            draft.rows += rows
            draft.scalars |= scalars

    def _flat(self, places: Iterable[ParameterPlace]) -> Iterator[tuple[ParameterPlace, Flat, Bench]]:
        for place in places:
            try:
                flat = flatten(place.parameter)
            except NotMeasurable as reason:
                self._skip(place.name, "param", str(reason))
            except (RuntimeError, TypeError, NotImplementedError) as error:
                self._skip(place.name, "param", f"{type(error).__name__}: {error}")
            else:
                yield place, flat, self._benches.of(flat.values)

    def _walk(self) -> Members:
        options = self._options
        members = find_members(self._model, options.prefix, self._optimizers, options.choice)
        self._book.add_modules(members.modules)
        watched = {id(place.parameter) for places in [*members.of_optimizer, members.of_none] for place in places}
        for place in members.parameters:
            group = members.groups.get(id(place.parameter))
            kinds = self._kinds_of(place, group is not None) if id(place.parameter) in watched else []
            self._book.add_parameter(place, kinds, group)
        if "activation" in options.kinds:
            for hidden in members.hidden:
                self._skip(hidden.name or ROOT_NAME, "activation", IN_COMPILED_REGION)
        if "param" in options.kinds and self._first is None:  # whose initial values another attempt has seen
            new = (p for places in [*members.of_optimizer, members.of_none] for p in places)
            for place, flat, _ in self._flat(p for p in new if p.name not in self._initial):
                self._initial[place.name] = take_sample(flat.values, SAMPLE_VALUES)
        return members

    def _say_what_is_missing(self) -> None:
        for kind in ("grad", "update"):
            if kind in self._options.kinds and not self._optimizers:
                self._book.skip(ROOT_NAME, kind, "no optimizer was given to watch()")
        if any(is_spread(place.parameter) for place in self.members.parameters):
            what = "parameters are spread over several processes: statistics are those of this process's part of each"
            self._notices.warn("watch spread", what)
        everyone = {id(place.parameter) for place in self.members.parameters}
        for index, optimizer in enumerate(self._optimizers):
            if not any(id(p) in everyone for group in optimizer.param_groups for p in group["params"]):
                what = f"optimizer {index} of watch() holds no parameter of the model: was it made for another one?"
                self._notices.warn(f"watch optimizer {index}", what)

    def _kinds_of(self, place: ParameterPlace, is_optimized: bool) -> list[str]:
        if place.tied_to is not None:
            return []
        has = {"param": True, "grad": bool(self._optimizers), "update": is_optimized}
        return [kind for kind in self._options.kinds if has.get(kind)]

    def _skip(self, name: str, kind: str, reason: str) -> None:
        if self._book.skip(name, kind, reason):
            self._notices.warn(f"watch {kind} {reason}", f"{kind} of {name} is not recorded: {reason}", of_many=True)


def _is_as_stored(parameter: Tensor, flat: Flat) -> bool:
    """Whether the values have the order of a snapshot, and are all of the parameter's."""
    return parameter.is_contiguous() and flat.values.numel() == parameter.numel()


def _cosine(column: str, products: Later[tuple[float, float, float]]) -> Callable[[], dict[str, Any]]:
    return lambda: {column: cosine(*products())}
