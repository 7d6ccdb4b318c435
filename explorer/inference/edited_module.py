"""An edited model as an `nn.Module`, for libraries that take one; any node can be tapped as a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from explorer.errors import UsageError
from explorer.inference.checkpoint_scrubber import chosen_output
from explorer.inference.edits.activation_edits import Replace, chained
from explorer.inference.edits.apply import Edited


class EditedModule(nn.Module):
    """The edited model as a function of its input tensors, in the order of `paths`, with one output tensor.

    `taps[node]` is an identity through which the value of that node goes, after its edits: whatever hooks a module
    reads, replaces or differentiates there. Gradients flow to the inputs, and to weights that want them.

    Attribution runs many variants of the examples as one batch, one whole batch after the other: inputs that are not
    among `paths` are then repeated as often.

    Args:
        edited: the model; its own inputs are what `paths` leaves out.
        paths: of the inputs that `forward` takes; None is all of them.
        output: path; None is the first floating output.
        taps: names of nodes.
        on_forward: called before each run, to count or to stop.

    Raises:
        UsageError: a tap is no node of the program.
    """

    def __init__(
        self,
        edited: Edited,
        *,
        paths: Sequence[str] | None = None,
        output: str | None = None,
        taps: Sequence[str] = (),
        on_forward: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        known = {node.name for node in edited.subject.interpreter.program.graph.nodes}
        strange = [node for node in taps if node not in known]
        if strange:
            raise UsageError(f"a tap should be a node of the program; found {strange[0]!r}")
        self._edited = edited
        self._weights = edited.weights
        self._paths = tuple(edited.inputs if paths is None else paths)
        self._output = output
        self._on_forward = on_forward
        self.taps = {node: nn.Identity() for node in taps}
        self._tapped = nn.ModuleList(self.taps.values())
        replace: dict[str, Replace] = dict(edited.replace)
        for node, tap in self.taps.items():
            replace[node] = chained(replace[node], tap) if node in replace else tap
        self._replace = replace

    def forward(self, *inputs: Tensor) -> Tensor:
        """One output for these inputs."""
        if self._on_forward is not None:
            self._on_forward()
        subject = self._edited.subject
        given = {**self._repeated(inputs), **dict(zip(self._paths, inputs, strict=True))}
        result = subject.interpreter.run(given, self._weights, device=subject.device, replace=self._replace)
        return chosen_output(result.outputs, self._output)

    def _repeated(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The inputs that are not given, for as many examples as the given ones hold."""
        own = dict(self._edited.inputs)
        batches = {
            found.path: found.shape[0] for found in self._edited.subject.interpreter.program.inputs if found.shape
        }
        first = self._paths[0] if self._paths else ""
        count = len(own[first]) if batches.get(first) is not None else 0
        times = len(inputs[0]) // count if count else 1
        if times > 1:
            for path, value in own.items():
                if path not in self._paths and batches.get(path) == batches[first]:
                    own[path] = value.repeat(times, *(1,) * (value.dim() - 1))
        return own


def predicted_class(edited: Edited, output: str | None = None) -> int:
    """The most probable class of the first example. Raises UsageError: the output is no [N, C]."""
    with torch.no_grad():
        logits = chosen_output(edited.run().outputs, output)
    if logits.dim() != 2:
        raise UsageError(f"a predicted class needs outputs [N, C]; found {tuple(logits.shape)}")
    return int(logits[0].argmax())
