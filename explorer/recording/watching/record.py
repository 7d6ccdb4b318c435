"""What the run says of the model itself: `model/<attempt>-<rank>.json`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from explorer.errors import UsageError
from explorer.recording.watching.naming import ModulePlace, ParameterPlace, list_modules, list_parameters
from explorer.recording.watching.options import Options
from explorer.storage.layout import FORMAT_VERSION

_HAS_MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)


class ModelBook:
    """Filled by the training's thread, read by the writer thread.

    Attributes:
        version: changes whenever something was added.
    """

    def __init__(self) -> None:
        self.version = 0
        self._tensors: dict[str, dict[str, Any]] = {}
        self._modules: dict[str, dict[str, Any]] = {}
        self._skipped: dict[tuple[str, str], str] = {}
        self._modes: dict[str, dict[str, list[int]]] = {"train": {}, "eval": {}}
        self._watches: list[dict[str, Any]] = []
        self._watched_names: set[str] = set()
        self._num_activations = 0
        self._initial: str | None = None

    def add_watch(self, model: nn.Module, options: Options) -> frozenset[str]:
        """A call of `watch`; the names that it takes. Raises UsageError when names would mean two tensors."""
        names = frozenset(place.name for place in list_parameters(list_modules(model, options.prefix)))
        if both := names & self._watched_names:
            raise UsageError(
                f"{min(both)!r} is watched already: call remove() on the handle of the other watch, or pass prefix="
            )
        self._watched_names |= names
        self._watches.append({"kinds": list(options.kinds), "schedule": str(options.schedule)})
        self.version += 1
        return names

    def end_watch(self, names: frozenset[str]) -> None:
        """The names may be taken by another one."""
        self._watched_names -= names

    def add_modules(self, places: list[ModulePlace]) -> None:
        """The modules of a model; known ones are left as they are."""
        for place in places:
            if place.name not in self._modules:
                entry = {"name": place.name, "type": place.type_name, "order": place.order}
                self._modules[place.name] = entry
                self.version += 1

    def add_parameter(self, place: ParameterPlace, kinds: list[str], group: tuple[int, int] | None) -> None:
        """A parameter as it is now: one that was frozen meanwhile, or has got an optimizer, is told anew.

        Args:
            place: where it is.
            kinds: what is recorded of it; none of one that is tied to another.
            group: number of its optimizer and of the group within.
        """
        parameter = place.parameter
        entry = {
            "name": place.name,
            "kinds": kinds,
            "shape": _shape(parameter),
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "module": place.owner.name,
            "module_type": place.owner.type_name,
            "order": place.order,
            "depth": place.name.count("."),
            "trainable": parameter.requires_grad,
            "tied_to": place.tied_to,
            "optimizer": group[0] if group else None,
            "lr_group": group[1] if group else None,
        }
        if self._tensors.get(place.name) != entry:
            self._tensors[place.name] = entry
            self.version += 1

    def add_activation(self, place: ModulePlace, name: str, output: Tensor) -> None:
        """The output of a module when it was seen first."""
        known = self._tensors.get(name)
        if known is not None:
            return
        self._tensors[name] = {
            "name": name,
            "kinds": ["activation"],
            "shape": _shape(output),
            "dtype": str(output.dtype).removeprefix("torch."),
            "module": place.name,
            "module_type": place.type_name,
            "order": self._num_activations,
            "depth": name.count("."),
            "trainable": False,
            "tied_to": None,
            "optimizer": None,
            "lr_group": None,
        }
        self._num_activations += 1
        self.version += 1

    def say_initial(self, what: str) -> None:
        """What `cosine_init` compares with in an attempt that goes on from an earlier one."""
        self._initial = what
        self.version += 1

    def skip(self, name: str, kind: str, reason: str) -> bool:
        """Something that is not recorded, and why. Whether that is news."""
        if self._skipped.get((name, kind)) == reason:
            return False
        self._skipped[name, kind] = reason
        self.version += 1
        return True

    def count_modes(self, phase: str, places: list[ModulePlace]) -> None:
        """In which mode the modules were that behave differently in training: dropout and normalisation by batches."""
        counts = self._modes[phase]
        for place in places:
            if isinstance(place.module, _HAS_MODES):
                counts.setdefault(place.name, [0, 0])[0 if place.module.training else 1] += 1
        self.version += 1

    def describe(self) -> dict[str, Any]:
        """The record. Copies are made in single operations, so that the training may go on adding."""
        skipped = self._skipped.copy().items()
        first = self._watches[0] if self._watches else {}
        return {
            "format": FORMAT_VERSION,
            "tensors": list(self._tensors.copy().values()),
            "modules": list(self._modules.copy().values()),
            "skipped": [{"name": name, "kind": kind, "reason": reason} for (name, kind), reason in skipped],
            "modes": {phase: counts.copy() for phase, counts in self._modes.items()},
            "watch": {**first, "others": self._watches[1:]} if self._watches[1:] else first,
            "activation": "output" if self._num_activations else None,
            "initial": self._initial,
        }


def _shape(tensor: Tensor) -> list[int]:
    return [] if nn.parameter.is_lazy(tensor) else [int(size) for size in tensor.shape]
