"""What a model holds: every parameter and buffer under its plain name, and why some cannot be saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from explorer.recording.values import clean_name
from explorer.storage.snapshot_files import ITEM_BYTES

_PLAIN_DISPATCH = torch.Tensor.__torch_dispatch__
_FSDP, _CHECKPOINT, _COMPILED = "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod"


@dataclass(frozen=True)
class Found:
    """One tensor: its plain name, its role ("param", "buffer" or "optimizer") and itself."""

    name: str
    role: str
    tensor: torch.Tensor


@dataclass
class Inventory:
    """See the module.

    Attributes:
        found: what can be saved, each tensor once, parameters and buffers in the order of the modules.
        ties: further names of a tensor to the name in `found`.
        skipped: (name, reason) of what cannot be saved.
    """

    found: list[Found] = field(default_factory=list)
    ties: dict[str, str] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def take_inventory(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Inventory:
    """Parameters and buffers of a model, those that `state_dict` leaves out too, and the state of an optimizer.

    Names are those of `state_dict` without what DistributedDataParallel, torch.compile and the like put in between.
    The state of an optimizer is named `<parameter>.<key>`; numbers in it become tensors of no dimension.
    """
    inventory = Inventory()
    names: dict[int, str] = {}  # id of a tensor to its name
    taken: set[str] = set()
    for name, role, tensor, sharded in _walk(model, "", False, ()):
        first = names.setdefault(id(tensor), name)
        if name in taken:
            if first == name:
                inventory.skipped.append((name, "another tensor has the same name"))
            continue
        taken.add(name)
        if first != name:
            inventory.ties[name] = first
            continue
        _add(inventory, name, role, tensor, "is sharded by FullyShardedDataParallel" if sharded else None)
    unsaved = {name for name, _ in inventory.skipped}
    inventory.ties = {name: first for name, first in inventory.ties.items() if first not in unsaved}
    if optimizer is not None:
        _add_state(inventory, optimizer, names)
    return inventory


def name_of(dtype: torch.dtype) -> str:
    """The name of a type as snapshots spell it, such as "float32"."""
    return str(dtype).removeprefix("torch.")


def _walk(
    module: nn.Module, prefix: str, sharded: bool, above: tuple[nn.Module, ...]
) -> Iterator[tuple[str, str, torch.Tensor, bool]]:
    for role, tensors in (("param", module._parameters), ("buffer", module._buffers)):
        for key, tensor in tensors.items():
            if tensor is not None:
                yield clean_name(prefix + key), role, tensor, sharded
    above = (*above, module)
    for key, child in module._modules.items():
        if child is not None and not any(child is each for each in above):  # some modules hold themselves
            below = prefix if _is_wrapper(module, key) else f"{prefix}{key}."
            yield from _walk(child, below, sharded or key == _FSDP, above)


def _is_wrapper(module: nn.Module, key: str) -> bool:
    if key == "module":
        return isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel)
    return key in (_COMPILED, _FSDP, _CHECKPOINT)


def _add_state(inventory: Inventory, optimizer: torch.optim.Optimizer, names: dict[int, str]) -> None:
    for group_number, group in enumerate(optimizer.param_groups):
        for number, parameter in enumerate(group["params"]):
            of = names.get(id(parameter))
            state = optimizer.state.get(parameter)
            if not state:
                continue
            if of is None:
                what = f"optimizer group {group_number}, parameter {number}"
                inventory.skipped.append((what, "its parameter is not in the model"))
                continue
            for key, value in state.items():
                name = clean_name(f"{of}.{key}")
                if isinstance(value, bool | int | float):
                    dtype = torch.float64 if isinstance(value, float) else None
                    value = torch.tensor(value, dtype=dtype, device="cpu")
                if isinstance(value, torch.Tensor):
                    _add(inventory, name, "optimizer", value, None)
                elif value is not None:
                    inventory.skipped.append((name, f"is a {type(value).__name__}, not a tensor or a number"))


def _add(inventory: Inventory, name: str, role: str, tensor: torch.Tensor, reason: str | None) -> None:
    try:
        plain, why = _plain(tensor)
    except Exception as error:  # subclasses of tensors do what they like
        plain, why = None, f"cannot be looked at ({type(error).__name__}: {str(error)[:80]})"
    if reason is None and plain is not None:
        inventory.found.append(Found(name, role, plain))
    else:
        inventory.skipped.append((name, reason or why))


def _plain(tensor: Any) -> tuple[torch.Tensor | None, str]:  # noqa: ANN401 - whatever a module calls a parameter
    """The tensor whose values are in this process's memory, or None and the reason why there is none."""
    if nn.parameter.is_lazy(tensor):
        return None, "has no values yet: its shape is found in the first forward pass"
    if hasattr(tensor, "ds_shape"):
        return None, "is sharded by DeepSpeed"
    if type(tensor).__torch_dispatch__ is not _PLAIN_DISPATCH:
        placements = getattr(tensor, "placements", None)
        if placements is None:
            return None, f"is a {type(tensor).__name__}, whose values have no plain form"
        if not all(placement.is_replicate() for placement in placements):
            return None, "is spread over several processes (DTensor)"
        tensor = tensor.to_local()
    if tensor.device.type == "meta":
        return None, "is on the meta device and has no values"
    if tensor.layout != torch.strided:
        return None, f"is sparse ({tensor.layout})"
    if tensor.is_nested:
        return None, "is nested"
    if tensor.is_quantized:
        return None, f"is quantised ({tensor.dtype})"
    if name_of(tensor.dtype) not in ITEM_BYTES:
        return None, f"has values of a type that snapshots do not know ({tensor.dtype})"
    return tensor.detach(), ""
