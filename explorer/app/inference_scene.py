"""What the Inference page is about: one run's model with the weights of a step, and one example; plain data."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from explorer.inference.plain_model import PlainModel
    from explorer.inference.weights_file import WeightsFile
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.runs import Run

Array = npt.NDArray[Any]
Drawn = Mapping[str, Array]
"""Examples after they were drawn on or replaced by a file, without the batch's dimension, by path of the input."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What was chosen.

    Attributes:
        info, run: whose model it is.
        model: what was captured.
        step: of the weights.
        steps: all steps with a snapshot that can be read, ascending.
        example: number of the recorded example, from 0; 0 when none was recorded.
        device: where it runs, as PyTorch names it.
        version: changes when the program or the snapshot is another one.
        file: weights to use instead of those of the step; None as a rule.
        shown: path of the input that is shown; "" is the first tensor.
    """

    info: RunInfo
    run: Run
    model: PlainModel
    step: int
    steps: tuple[int, ...]
    example: int
    device: str
    version: str
    file: WeightsFile | None = None
    shown: str = ""

    @property
    def key(self) -> str:
        """The model with these weights, for whoever keeps it."""
        source = self.step if self.file is None else f"file{zlib.crc32(repr(self.file).encode())}"
        return f"{self.info.run_id}@{source}@{self.version}" + ("@own" if self.model.factory else "")

    @property
    def path(self) -> str:
        """Path of the input that is shown and edited."""
        return self.shown if self.shown in self.paths else self.paths[0]

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of all inputs that are tensors."""
        return tuple(found.path for found in self.model.program.inputs if found.dtype)

    @property
    def edit_path(self) -> str:
        """The input as edits name it: "" where it is the only one."""
        return self.path if len(self.paths) > 1 else ""

    @property
    def row(self) -> int:
        """Where the example is in `inputs`."""
        return 0 if self.model.runs_single else self.example

    @property
    def recorded(self) -> Array:
        """The example as it was recorded, without the batch's dimension."""
        found: Array = self.model.inputs[self.path][self.example]
        return found

    @property
    def number(self) -> int:
        """The place of the input that is shown among `paths`."""
        return self.paths.index(self.path)

    def inputs(self, changed: Drawn | None = None) -> dict[str, Array]:
        """What the model is called with: the example as a batch of one, or in its batch where that size is fixed.

        Args:
            changed: the example after it was drawn on, in those inputs where it was; None is the recorded one.
        """
        found = dict(self.model.inputs)
        if self.model.runs_single:
            found = {path: values[self.example : self.example + 1] for path, values in found.items()}
        for path, value in (changed or {}).items():
            found[path] = np.array(found[path])
            found[path][self.row] = value
        return found

    @property
    def label(self) -> Array | None:
        """What is right for the example; None when not recorded."""
        labels = self.model.labels
        return None if labels is None or len(labels) <= self.example else labels[self.example]


def input_name(path: str) -> str:
    """An input as its author's call has it.

    >>> input_name("args[0]"), input_name("kwargs['mask']"), input_name("args[0]['ids']"), input_name("args[1]['ids']")
    ('input 1', 'mask', 'ids', 'ids of input 2')
    """
    found = re.fullmatch(r"args\[(\d{1,9})\](?:\['([^']+)'\])?", path)
    if found and found[2]:
        return found[2] if found[1] == "0" else f"{found[2]} of input {int(found[1]) + 1}"
    if found:
        return f"input {int(found[1]) + 1}"
    named = re.fullmatch(r"kwargs\['([^']+)'\]", path)
    return named[1] if named else path


def output_name(path: str) -> str:
    """An output as the model's return value names it; the only one is "output".

    >>> output_name(""), output_name("['logits']"), output_name("[1]")
    ('output', 'logits', '[1]')
    """
    named = re.fullmatch(r"\['([^']+)'\]", path)
    return named[1] if named else path or "output"
