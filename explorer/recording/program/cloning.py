"""A stand-in of the user's model that may be taken apart and run: it shares the memory of the parameters, no more.

The model itself is never touched: its mode, hooks, gradients, buffers and attributes stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

_HOOKS: Final = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)
# Hooks by which PyTorch itself computes a weight (pruning, the older weight_norm and spectral_norm): part of the model.
_OWN_HOOKS: Final = "torch.nn.utils"
# Modules whose forward gathers parameters from other processes, or moves them between devices.
_SHARDED: Final = frozenset(("FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine"))
# Trainers that frameworks hang into a module; they are no part of what it computes.
_TRAINERS: Final = ("_trainer", "trainer", "_fabric")


class Sharded(ValueError):
    """No process has the whole model: running it would wait for the others."""


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside `torch.compile`, `DataParallel` and `DistributedDataParallel`."""
    while True:
        if isinstance(inner := model.__dict__.get("_modules", {}).get("_orig_mod"), nn.Module):
            model = inner
        elif isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        else:
            return model


def stand_in(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, without hooks, whose parameters share their memory; buffers are copied.

    Members that cannot be copied are the same objects, and so are optimizers.

    Raises:
        Sharded: it is spread over processes.
    And what copying a module of the model raises.
    """
    _check_whole(model)
    with torch.no_grad():
        memo = _memo(model)
        try:
            clone = _copy(model, dict(memo))
        except Exception:  # a lock, a file, a client: see which member it is, and share it
            for member in _members(model):
                try:
                    copy.deepcopy(member, dict(memo))
                except Exception:
                    memo[id(member)] = member
            clone = _copy(model, dict(memo))
    for module in clone.modules():
        _drop_hooks(module)
    return clone.eval()


def _copy(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A copy in which each compiled module within the model is what was compiled."""
    for module in reversed(list(model.modules())):
        inner = module.__dict__.get("_modules", {}).get("_orig_mod")
        if isinstance(inner, nn.Module):
            memo[id(module)] = copy.deepcopy(inner, memo)
    return copy.deepcopy(model, memo)


def _check_whole(model: nn.Module) -> None:
    kinds = {kind.__name__ for module in model.modules() for kind in type(module).__mro__}
    if found := kinds & _SHARDED:
        raise Sharded(f"it holds a module of the kind {min(found)}")
    for name, parameter in model.named_parameters():
        if type(parameter).__name__ == "DTensor" or type(parameter.data).__name__ == "DTensor":
            raise Sharded(f"{name} is a DTensor")


def _memo(model: nn.Module) -> dict[int, Any]:
    """What stands for the tensors of a model in a copy, as `copy.deepcopy` takes it."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        # Without gradients, as the weights of a recorded step have none: some kernels choose by that how they round.
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    for module in model.modules():
        for name, member in vars(module).items():
            if name in _TRAINERS and not isinstance(member, nn.Module | Tensor):
                memo[id(member)] = None
            elif isinstance(member, torch.optim.Optimizer):  # its state is larger than the model
                memo[id(member)] = member
    # A tensor with a history, such as an activation that the model keeps for itself, refuses to be copied.
    for member in (*model.buffers(), *_members(model)):
        if isinstance(member, Tensor) and id(member) not in memo:
            memo[id(member)] = member.detach().clone()
    return memo


def _members(model: nn.Module) -> Iterator[Any]:
    """What the modules of a model hold besides modules, parameters and buffers; in containers, too."""
    for module in model.modules():
        for name, member in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules") or isinstance(member, nn.Module):
                continue
            if isinstance(member, dict):
                yield from member.values()
            elif isinstance(member, list | tuple):
                yield from member
            else:
                yield member


def _drop_hooks(module: nn.Module) -> None:
    for name in _HOOKS:
        hooks = vars(module).get(name)
        if hooks:
            own = {key: hook for key, hook in hooks.items() if _is_own(hook)}
            hooks.clear()
            hooks.update(own)
    # Frameworks wrap `forward` on the object, around the original module.
    if hasattr(vars(module).get("forward"), "__wrapped__"):
        del module.forward


def _is_own(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith(_OWN_HOOKS)


def on_cpu(clone: nn.Module) -> nn.Module:
    """The stand-in itself where it is on the CPU, else a copy of it there, and none on its device."""
    tensors = (*clone.parameters(), *clone.buffers())
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return clone
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().cpu(), requires_grad=False) for p in clone.parameters()}
    for member in (*clone.buffers(), *_members(clone)):
        if isinstance(member, Tensor):
            memo[id(member)] = member.detach().cpu()
    return copy.deepcopy(clone, memo)


@contextmanager
def same_buffers(clone: nn.Module) -> Iterator[None]:
    """Run a stand-in that may write into its buffers, as one that counts its calls does, and put them back."""
    before = [(buffer, buffer._version, buffer.clone()) for buffer in clone.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, version, values in before:
                if buffer._version != version:
                    buffer.copy_(values)
