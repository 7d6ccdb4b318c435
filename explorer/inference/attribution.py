"""Attributions by Captum that are exact on a captured program: the same numbers as on the author's own model.

All maps are signed. Gradients are those of the program itself, so methods that change how single modules pass
gradients back cannot work here: there are no modules to change. They are refused by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from captum import attr
from numpy.typing import NDArray
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.checkpoint_scrubber import as_array, chosen_output
from explorer.inference.edited_module import EditedModule
from explorer.inference.edits.apply import Edited
from explorer.inference.edits.input_edits import blurred

Target = int | tuple[int, ...] | None

METHODS: Final = (
    "integrated_gradients",
    "saliency",
    "occlusion",
    "feature_ablation",
    "grad_cam",
    "layer_conductance",
)
REFUSED: Final[Mapping[str, str]] = dict.fromkeys(
    ("deep_lift", "deep_lift_shap", "guided_backprop", "guided_grad_cam", "deconvolution", "lrp"),
    "it replaces the gradients of the author's modules, such as every ReLU. A program has operators, not modules, so "
    " its rule would never apply, and the numbers would be plain gradients under another name",
)
_AT_NODE: Final = ("grad_cam", "layer_conductance")
_COMPLETE: Final = ("integrated_gradients", "layer_conductance")
MAX_RUNS: Final = 20_000
# How autograd says that a value was computed without what it should be differentiated by.
_NO_PATH: Final = ("does not require grad", "not have been used in the graph")


@dataclass(frozen=True)
class Attribution:
    """A signed attribution.

    Attributes:
        method: its name.
        values: of the input's shape, or of the node's (grad_cam: [N, 1, ...]); float32 or float64.
        baseline: what counted as absent, of the input's shape; None for saliency and grad_cam. Where the input equals
            it, methods that compare with it give 0 by construction.
        output: f(x) of the target, [N].
        baseline_output: f(x0), [N]; None without a baseline.
    """

    method: str
    values: NDArray[np.floating]
    baseline: NDArray[np.floating] | None
    output: NDArray[np.floating]
    baseline_output: NDArray[np.floating] | None

    def gap(self) -> NDArray[np.float64] | None:
        """Sum of the attributions less (f(x) - f(x0)) for each example, [N]; None where the method promises no sum."""
        if self.method not in _COMPLETE or self.baseline_output is None:
            return None
        total = self.values.reshape(len(self.values), -1).sum(axis=1, dtype=np.float64)
        return np.asarray(total - (self.output.astype(np.float64) - self.baseline_output), dtype=np.float64)

    def relative_gap(self) -> float | None:
        """The largest |gap| / |f(x) - f(x0)| of the examples; above 0.05 use more steps."""
        gap = self.gap()
        if gap is None or self.baseline_output is None:
            return None
        change = np.abs(self.output.astype(np.float64) - self.baseline_output)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(gap == 0, 0.0, np.abs(gap) / change)
        return float(share.max())


def attribute(
    edited: Edited,
    method: str,
    *,
    target: Target = None,
    path: str | None = None,
    baseline: str | Tensor = "zero",
    node: str | None = None,
    output: str | None = None,
    num_steps: int = 20,
    window: tuple[int, ...] | None = None,
    on_run: Callable[[], None] | None = None,
) -> Attribution:
    """Attribute one output of the edited model to its (edited) input, or to the value of a node.

    Args:
        edited: the model and its inputs [N, ...].
        method: one of METHODS.
        target: class of outputs [N, C]; (position, token) of outputs [N, T, V]; None for outputs [N] or [N, 1].
        path: of the input; None is the first one.
        baseline: "zero", "mean" (of the probe batch), "blur" (of images, 2 pixels), or a tensor like the input.
        node: for grad_cam and layer_conductance; with integrated_gradients the value that the path of gradients goes
            through, which is how whole-number inputs (tokens) have integrated gradients: at their embedding.
        output: path; None is the first floating output.
        num_steps: of the integral (Gauss-Legendre).
        window: of occlusion, as Captum's `sliding_window_shapes`; None is 3 x 3 pixels, or one feature or token.
        on_run: called before each run of the model, to count or to stop.

    Raises:
        UsageError: the method is refused or unknown, or an argument does not fit.
        ProgramError: the model cannot run on the batches that the method makes.
    """
    if method in REFUSED:
        raise UsageError(f"{method} is not offered: {REFUSED[method]}. Use one of {', '.join(METHODS)}")
    if method not in METHODS:
        raise UsageError(f"the method should be one of {', '.join(METHODS)}; found {method!r}")
    if method in _AT_NODE and node is None:
        raise UsageError(f"{method} should be told the node to look at; found none")
    if not 1 <= num_steps <= 1_000:
        raise UsageError(f"the number of steps should be from 1 to 1,000; found {num_steps}")
    path = path or next(iter(edited.inputs))
    if path not in edited.inputs:
        raise UsageError(f"the input should be one of {', '.join(edited.inputs)}; found {path!r}")
    value = edited.inputs[path].to(edited.subject.device)
    through_node = node is not None and (method in _AT_NODE or method == "integrated_gradients")
    if not value.is_floating_point() and method != "feature_ablation" and not through_node:
        raise UsageError(
            f"{method} needs an input of floating numbers; found tokens: use feature_ablation, or integrated_gradients "
            "at the node of their embedding"
        )
    taps = (node,) if node is not None and through_node else ()
    module = EditedModule(edited, paths=[path], output=output, taps=taps, on_forward=on_run)
    absent = None if method in ("saliency", "grad_cam") else baseline_of(edited, path, value, baseline)
    tap = module.taps[node] if node is not None and through_node else None
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum tells that it sets requires_grad and hooks
        chosen = _target(edited, output, target)
        try:
            at_once = len(value) if _is_fixed(edited, path) else None
            found = _captum(method, module, tap, value, absent, chosen, num_steps, window, at_once)
        except RuntimeError as error:
            if not any(words in str(error) for words in _NO_PATH):
                raise
            raise UsageError(
                "after these edits nothing of the input reaches this output, so every attribution is 0: leave out the "
                "edit that replaces the whole value of a node"
            ) from error
    with torch.no_grad():
        fx = _selected(module(value), target)
        fx0 = None if absent is None else _selected(module(absent), target)
    return Attribution(
        method,
        as_array(found),
        None if absent is None else as_array(absent),
        as_array(fx),
        None if fx0 is None else as_array(fx0),
    )


def baseline_of(edited: Edited, path: str, value: Tensor, baseline: str | Tensor) -> Tensor:
    """What counts as absent, of the input's shape. Raises UsageError."""
    if isinstance(baseline, Tensor):
        if baseline.shape != value.shape and baseline.shape != value.shape[1:]:
            raise UsageError(f"a baseline should have the shape {tuple(value.shape)}; found {tuple(baseline.shape)}")
        return baseline.to(value.device, value.dtype).expand_as(value)
    if baseline == "zero":
        return torch.zeros_like(value)
    if baseline == "mean":
        probe = edited.subject.probe
        if probe is None or path not in probe or not value.is_floating_point():
            raise UsageError("the mean needs recorded examples of floating numbers; there are none: use zero")
        mean = probe[path].to(value.device).mean(dim=0, keepdim=True)
        if mean.shape[1:] != value.shape[1:]:
            raise UsageError(f"the recorded examples have the shape {tuple(mean.shape[1:])}; the input has another")
        return mean.to(value.dtype).expand_as(value).contiguous()
    if baseline == "blur":
        if value.dim() < 4 or not value.is_floating_point():
            raise UsageError(f"a blur needs images [N, C, H, W]; found {tuple(value.shape)}")
        return blurred(value, 2.0)
    raise UsageError(f"the baseline should be zero, mean, blur or a tensor; found {baseline!r}")


def _captum(
    method: str,
    module: EditedModule,
    tap: torch.nn.Module | None,
    value: Tensor,
    absent: Tensor | None,
    target: Target,
    num_steps: int,
    window: tuple[int, ...] | None,
    at_once: int | None,
) -> Tensor:
    integral: dict[str, Any] = {
        "baselines": absent,
        "target": target,
        "n_steps": num_steps,
        "method": "gausslegendre",
        "internal_batch_size": at_once,
    }
    if method == "saliency":
        found = attr.Saliency(module).attribute(value, target=target, abs=False)
    elif method == "integrated_gradients" and tap is not None:
        found = attr.LayerIntegratedGradients(module, tap).attribute(value, **integral)
    elif method == "integrated_gradients":
        found = attr.IntegratedGradients(module).attribute(value, **integral)
    elif method == "layer_conductance":
        found = attr.LayerConductance(module, tap).attribute(value, **integral)
    elif method == "grad_cam":
        found = attr.LayerGradCam(module, tap).attribute(value, target=target, relu_attributions=False)
    elif method == "feature_ablation":
        _check_runs(value[0].numel())
        found = attr.FeatureAblation(module).attribute(value, baselines=absent, target=target)
    else:
        shape = _window(value, window)
        _check_runs(int(np.prod([size - side + 1 for size, side in zip(value.shape[1:], shape, strict=True)])))
        found = attr.Occlusion(module).attribute(value, sliding_window_shapes=shape, baselines=absent, target=target)
    result: Tensor = (found[0] if isinstance(found, tuple) else found).detach()
    return result


def _is_fixed(edited: Edited, path: str) -> bool:
    """Whether the model takes as many examples as when it was captured and no others, as a tape does."""
    program = edited.subject.interpreter.program
    dim = next(found.shape[0] for found in program.inputs if found.path == path)
    if isinstance(dim, int):
        return True
    low, high = program.symbols.get(dim, (0, None))
    return low == high


def _window(value: Tensor, window: tuple[int, ...] | None) -> tuple[int, ...]:
    sizes = tuple(value.shape[1:])
    if window is None:
        spatial = len(sizes) == 3
        window = (sizes[0], min(3, sizes[1]), min(3, sizes[2])) if spatial else (1,) * len(sizes)
    if len(window) != len(sizes) or any(not 1 <= side <= size for side, size in zip(window, sizes, strict=True)):
        raise UsageError(f"an occlusion's window should fit into {sizes}; found {window}")
    return window


def _check_runs(count: int) -> None:
    if count > MAX_RUNS:
        raise UsageError(
            f"this would run the model {count:,} times, more than {MAX_RUNS:,}: take occlusion with a larger window "
            "or integrated_gradients"
        )


def _target(edited: Edited, output: str | None, target: Target) -> Target:
    """Check the target; outputs [N, 1] have the target 0 and outputs [N] none."""
    with torch.no_grad():
        shape = chosen_output(edited.run().outputs, output).shape[1:]
    wanted = (target,) if isinstance(target, int) else target
    if wanted is None and (not shape or tuple(shape) == (1,)):
        return 0 if shape else None
    if wanted is None or len(wanted) != len(shape) or any(not 0 <= i < n for i, n in zip(wanted, shape, strict=True)):
        raise UsageError(f"the target should be an index into outputs {tuple(shape)} of an example; found {target}")
    return target


def _selected(outputs: Tensor, target: Target) -> Tensor:
    wanted: tuple[int, ...] = (target,) if isinstance(target, int) else target or ()
    index: tuple[slice | int, ...] = (slice(None), *wanted)
    return outputs[index].reshape(len(outputs), -1)[:, 0]
