"""Run a model on a probe batch and keep a bounded sample of what its layers put out.

Runs on the training's thread and its device. It waits for nothing: what is kept is a copy on the device.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

import torch
from torch import Tensor, nn

from explorer.recording.watching.naming import list_modules

MAX_EXAMPLES: Final = 256
MAX_FEATURES: Final = 4_096
MAX_LAYERS: Final = 512
MAX_BYTES: Final = 64 << 20
_STORED: Final = (torch.float32, torch.float16, torch.bfloat16)


@dataclass
class Outputs:
    """What one run of the model on the probe left.

    Attributes:
        kept: layer name to `[b, p]` on the model's device, b at most 256 and p at most 4,096; float32, float16 or
            bfloat16.
        skipped: layer name to why nothing of it was kept.
    """

    kept: dict[str, Tensor] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def tensors_of(batch: object) -> list[Tensor]:
    """Return the tensors of a batch in a fixed order: of nested tuples, lists and mappings (by key)."""
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        return [tensor for key in sorted(batch, key=str) for tensor in tensors_of(batch[key])]
    if isinstance(batch, list | tuple):
        return [tensor for item in batch for tensor in tensors_of(item)]
    return []


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside wrappers that compile or distribute it: the probe must not wait for other ranks."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def choose_layers(model: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules to keep the output of, by name in the model's order.

    The pattern `*` alone stands for the modules whose outputs are watched, too (those without children other than
    parametrizations of their weights, such as weight_norm's), but for those that do nothing in evaluation, and for the
    blocks in every `ModuleList`. Any other pattern is matched against the names of all modules.
    """
    named = {name: module for name, module in model.named_modules() if name}
    if list(patterns) != ["*"]:
        return {name: module for name, module in named.items() if any(fnmatchcase(name, one) for one in patterns)}
    blocks = {id(block) for module in model.modules() if isinstance(module, nn.ModuleList) for block in module}
    leaves = {id(place.module) for place in list_modules(model) if place.is_leaf}
    idle = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Flatten)
    return {
        name: module
        for name, module in named.items()
        if id(module) in blocks or (id(module) in leaves and not isinstance(module, idle))
    }


def run_probe(model: nn.Module, batch: Any, layers: Mapping[str, nn.Module]) -> Outputs:  # noqa: ANN401 - user's own
    """Run `model` on `batch` in evaluation mode without gradients, and keep what `layers` put out.

    The mode of every module and the state of the random numbers are afterwards what they were before. A layer that
    runs several times is kept under `name`, `name:1`, ... Raises whatever the model raises.
    """
    tensors = tensors_of(batch)
    num_examples = int(tensors[0].shape[0])
    room = MAX_BYTES // max(1, len(layers) * min(num_examples, MAX_EXAMPLES) * 4)
    outputs = Outputs()
    with ExitStack() as stack:
        for name, module in layers.items():
            hook = _hook(name, outputs, num_examples, max(1, min(MAX_FEATURES, room)))
            stack.callback(module.register_forward_hook(hook).remove)
        stack.enter_context(_evaluating(model))
        stack.enter_context(_same_random_numbers(tensors, model))
        stack.enter_context(torch.no_grad())
        if isinstance(batch, Mapping):
            model(**batch)
        elif isinstance(batch, list | tuple):
            model(*batch)
        else:
            model(batch)
    for name in layers:
        if name not in outputs.kept and name not in outputs.skipped:
            outputs.skipped[name] = "did not run"
    return outputs


def _hook(name: str, outputs: Outputs, num_examples: int, max_features: int) -> Callable[..., None]:
    calls = 0

    def keep(module: nn.Module, args: object, output: object) -> None:
        nonlocal calls
        label = name if calls == 0 else f"{name}:{calls}"
        calls += 1
        if len(outputs.kept) + len(outputs.skipped) >= MAX_LAYERS:
            outputs.skipped.setdefault("", f"only the first {MAX_LAYERS} outputs are kept")
            return
        found = _first_tensor(output)
        if found is None or not found.is_floating_point():
            outputs.skipped[label] = "puts out no floating-point tensor"
        elif found.dim() == 0 or found.shape[0] != num_examples:
            shape = list(found.shape)
            outputs.skipped[label] = f"puts out {shape}, whose first size is not that of the batch, {num_examples}"
        elif found.numel() == 0:
            outputs.skipped[label] = "puts out nothing"
        else:
            outputs.kept[label] = sample(found, max_features)

    return keep


def sample(output: Tensor, max_features: int) -> Tensor:
    """Return a copy of every k-th feature of the first 256 examples: `[b, p]` with p at most `max_features`.

    Of outputs with more than two sizes, k has no common divisor with the last one, so that the sample does not walk
    down one column of an image.

    >>> sample(torch.arange(24.0).reshape(2, 3, 4), 5)
    tensor([[ 0.,  3.,  6.,  9.],
            [12., 15., 18., 21.]])
    """
    flat = output[:MAX_EXAMPLES].reshape(min(output.shape[0], MAX_EXAMPLES), -1)
    stride = -(-flat.shape[1] // max_features)
    while output.dim() > 2 and stride > 1 and math.gcd(stride, output.shape[-1]) > 1:
        stride += 1
    dtype = output.dtype if output.dtype in _STORED else torch.float32
    return flat[:, ::stride].to(dtype).clone(memory_format=torch.contiguous_format)


def _first_tensor(output: object) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return next((found for value in values if (found := _first_tensor(value)) is not None), None)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode that each module had: some may be frozen on purpose."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def _same_random_numbers(tensors: Sequence[Tensor], model: nn.Module) -> Iterator[None]:
    """Give back the state of every generator that the model may have drawn from."""
    first = next(model.parameters(), None)
    on = {tensor.device for tensor in (*tensors, *(() if first is None else (first,)))}
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    python, numpy = random.getstate(), None if numpy_random is None else numpy_random.get_state()
    try:
        with ExitStack() as stack:
            devices = [device.index for device in on if device.type == "cuda"]
            stack.enter_context(torch.random.fork_rng(devices=devices))
            yield
    finally:
        random.setstate(python)
        if numpy_random is not None:
            numpy_random.set_state(numpy)
