"""Outputs of modules, looked at while they pass by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from explorer.recording.watching.bench import Bench
from explorer.recording.watching.drafts import RowDraft
from explorer.recording.watching.flatten import NotMeasurable, flatten
from explorer.recording.watching.hooks import Hook
from explorer.recording.watching.naming import ROOT_NAME, ModulePlace
from explorer.recording.watching.units import Layouts, criterion_of


class Activations:
    """Hooks on modules, there only while a step is looked at. Outputs of all calls in that step count together.

    Args:
        bench_of: the bench for a tensor.
        seen: told each module with its first output, in the order of the forward.
        skip: told name and reason of what cannot be measured.
        timed: does something and counts its time as ours.
        failed: told an error of a hook itself.
    """

    def __init__(
        self,
        bench_of: Callable[[Tensor], Bench],
        seen: Callable[[ModulePlace, str, Tensor], None],
        skip: Callable[[str, str], None],
        timed: Callable[..., None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._bench_of, self._seen, self._skip = bench_of, seen, skip
        self._timed, self._failed = timed, failed
        self._handles: list[RemovableHandle] = []
        self._rows: dict[str, RowDraft] = {}
        self._seen_in_forward: set[str] = set()
        self._layouts = Layouts()

    def put_on(self, places: Iterable[ModulePlace], is_training: Callable[[], bool]) -> None:
        """Look at what these modules give out in forwards of the training: gradients are recorded, `is_training()`."""
        self.take_off()
        self._layouts = Layouts()
        for place in places:

            def look(module: nn.Module, inputs: Any, output: Any, place: ModulePlace = place) -> None:  # noqa: ANN401
                if torch.is_grad_enabled() and is_training() and not torch._C._get_tracing_state():
                    self._timed(self._look, place, output)

            self._handles.append(place.module.register_forward_hook(Hook(look, self._failed)))

    def take_off(self) -> list[RowDraft]:
        """Remove the hooks; what they saw."""
        while self._handles:
            self._handles.pop().remove()
        rows, self._rows = [row for row in self._rows.values() if row.parts], {}
        self._seen_in_forward.clear()
        return rows

    def _look(self, place: ModulePlace, output: Any) -> None:  # noqa: ANN401
        name = place.name or ROOT_NAME
        tensor = first_tensor(output)
        if tensor is None:
            self._skip(name, "its output holds no tensor")
            return
        if torch._C._current_graph_task_id() == -1:
            self._seen_in_forward.add(name)
        elif name in self._seen_in_forward:  # checkpointing runs the forward again within the backward
            return
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = RowDraft(name, "activation", [])
            self._seen(place, name, tensor)
        try:
            flat = flatten(tensor)
            bench = self._bench_of(flat.values)
            row.parts.append(bench.measure(bench.hold(flat.values)))
            axis = self._layouts.axis(place.module, tensor.shape)
            if axis is not None and tensor.numel():
                row.units.append(bench.count_units(tensor.detach(), axis, criterion_of(place.module)))
        except NotMeasurable as reason:
            self._skip(name, str(reason))
        except (RuntimeError, TypeError, NotImplementedError) as error:  # tensors of somebody's own kind
            self._skip(name, f"{type(error).__name__}: {error}")


def first_tensor(output: Any) -> Tensor | None:  # noqa: ANN401 - a module gives out anything
    """The output itself, or the first tensor in a tuple, list or mapping of outputs."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        return next((found for part in output if (found := first_tensor(part)) is not None), None)
    return None
