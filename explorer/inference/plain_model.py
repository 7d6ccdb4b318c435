"""A run's captured model as plain arrays, for a process that runs it elsewhere. Needs no torch.

`loading.load_model` is the same for a process that runs the model itself.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from explorer.inference.edits.batch import takes_one
from explorer.reading.dtypes import decode
from explorer.reading.programs import RawTensor, read_recorded_program
from explorer.storage.layout import RunPaths
from explorer.storage.program import Program
from explorer.storage.program_document import parse_program
from explorer.storage.program_file import read_program

Array = npt.NDArray[Any]

TOLERANCE: Final = 1e-3
"""As `programs.comparing.TOLERANCE`: how far other kernels may round, as a share of the largest output."""
HALF_TOLERANCE: Final = 2e-2
"""The same for outputs that were recorded in half precision: bfloat16 keeps 8 bits, and layers add their rounding."""
_HALF: Final = ("float16", "bfloat16")


@dataclass(frozen=True, eq=False)
class PlainModel:
    """What was captured of a model; arrays must not be changed.

    Attributes:
        program: what it computes.
        document: the same as the file holds it; half precision has become float32, which NumPy can compare.
        widened: whether that changed anything: rounding then differs from the recorded outputs.
        constants: tensors that it needs besides the weights, by name.
        inputs: the recorded examples by input path, each [N, ...].
        outputs: what the model gave for them, by output path.
        labels: what is right for them, [N] or [N, ...]; None when not recorded.
        kind: `image`, `tokens`, `table` or "".
        class_names, vocabulary, feature_names: () when not recorded.
        problems: what could not be read.
        factory: the user's own function that makes the model, which then runs instead of a program; "" as a rule.
        left_out: paths of inputs and outputs that were too large to be kept, or hold what no file holds.
        tokenizer: the bytes of a `tokenizer.json`, uint8[n], of anybody's making; None when not recorded.
    """

    program: Program
    document: Mapping[str, Any]
    widened: bool
    constants: Mapping[str, Array]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    labels: Array | None
    kind: str
    class_names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    feature_names: tuple[str, ...]
    problems: tuple[str, ...]
    factory: str = ""
    tokenizer: Array | None = None
    left_out: tuple[str, ...] = ()

    @property
    def num_examples(self) -> int:
        """How many examples were recorded; 0 when there is none for some input."""
        wanted = [found.path for found in self.program.inputs if found.dtype]
        sizes = [len(self.inputs[path]) if path in self.inputs and self.inputs[path].ndim else 0 for path in wanted]
        return min(sizes, default=0)

    @property
    def runs_single(self) -> bool:
        """Whether one example alone can be run; otherwise the captured batch size is fixed."""
        return takes_one(self.program)


def read_plain_model(run_path: str | Path) -> PlainModel | None:
    """The captured model of a run; None when there is none. Raises DamagedFile: its constants cannot be read."""
    recorded = read_recorded_program(run_path)
    if recorded is None:
        return None
    path = RunPaths(Path(run_path)).program(recorded.attempt, recorded.rank)
    read_program(path)  # within limits, so that what follows is no bomb
    by_role: dict[str, dict[str, Array]] = {"input": {}, "output": {}, "label": {}}
    for raw in recorded.samples:
        by_role.setdefault(raw.role, {})[raw.name] = plain_array(raw)
    about = recorded.about
    text = gzip.decompress(path.read_bytes())
    return PlainModel(
        recorded.program,
        json.loads(text, object_hook=_in_float32),
        bool({*_dtypes(recorded.program)} & {*_HALF}),
        {raw.name: plain_array(raw) for raw in recorded.constants},
        by_role["input"],
        by_role["output"],
        next(iter(by_role["label"].values()), None),
        about.get("kind", ""),
        tuple(about.get("class_names", ())),
        tuple(about.get("vocabulary", ())),
        tuple(about.get("feature_names", ())),
        recorded.problems,
        tokenizer=next((array for array in by_role.get("tokenizer", {}).values() if array.dtype == np.uint8), None),
        left_out=tuple(about.get("left_out", ())),
    )


def own_plain_model(
    factory: str, document: Mapping[str, Any], inputs: Mapping[str, Array] | None, recorded: PlainModel | None
) -> PlainModel:
    """A model that the user's own code makes.

    Args:
        factory: its name.
        document: of its modules, see `hooked_model`.
        inputs: what it is run on; None: the recorded examples, with labels and the model's own outputs.
        recorded: what was captured of it, whose names are used; None when nothing was.
    """
    program = parse_program(document)
    if recorded is not None and inputs is None:
        return replace(recorded, program=program, document=document, widened=False, constants={}, factory=factory)
    named = {} if recorded is None else {"class_names": recorded.class_names, "vocabulary": recorded.vocabulary}
    names = {"class_names": (), "vocabulary": (), "feature_names": (), **named}
    kind = "" if recorded is None else recorded.kind
    tokenizer = None if recorded is None else recorded.tokenizer
    return PlainModel(
        program, document, False, {}, dict(inputs or {}), {}, None, kind, problems=(), factory=factory,
        tokenizer=tokenizer, **names,
    )  # fmt: skip


def plain_array(raw: RawTensor) -> Array:
    """The values of a recorded tensor, as `reading.dtypes.decode` gives them."""
    return _writeable(decode(raw.data, raw.dtype, raw.shape))


def largest_difference(
    found: Mapping[str, Any], wanted: Mapping[str, Array], tolerance: float = TOLERANCE
) -> tuple[float, bool]:
    """The largest absolute difference of outputs by path, and whether all are within rounding.

    Infinite where a path is missing or has another shape; two NaN do not differ. Rounding is at most `tolerance` times
    the largest output.
    """
    largest, close = 0.0, True
    for path, value in wanted.items():
        other = found.get(path)
        if not isinstance(other, np.ndarray) or other.shape != value.shape:
            return float("inf"), False
        one, two = np.asarray(value, dtype=np.float64), np.asarray(other, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.where((one == two) | (np.isnan(one) & np.isnan(two)), 0.0, np.abs(one - two))
        apart = np.where(np.isnan(apart), np.inf, apart)
        finite = np.abs(one[np.isfinite(one)])
        here = float(apart.max(initial=0.0))
        largest = max(largest, here)
        close = close and here <= tolerance * max(1.0, float(finite.max(initial=0.0)))
    return largest, close


def _writeable(values: Array) -> Array:
    """PyTorch takes arrays that may be written to, in the byte order of the machine."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native if native.flags.writeable else native.copy()


def _dtypes(program: Program) -> list[str]:
    return [found.dtype for found in program.inputs] + [found.dtype for found in program.weights.values()]


def _in_float32(found: dict[str, Any]) -> dict[str, Any]:
    """An object of the document without half precision."""
    return {**found, "dtype": "float32"} if found.get("dtype") in _HALF else found
