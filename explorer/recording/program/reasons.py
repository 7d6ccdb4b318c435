"""Why a model could not be captured by a route, in words for its author, with what PyTorch says behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MAX_CHARS: Final = 900
_MAX_RAW_CHARS: Final = 400

_MEANINGS: Final[Sequence[tuple[str, str]]] = (
    (
        r"data-dependent|GuardOnDataDependent|PendingUnbacked|bool\(\)|Dynamic control flow|Eq\(u\d|is_nonzero|"
        r"non-static|unbacked|u\d+ (?:>|<|=)",
        "the model decides in Python by values of a tensor (an if, a loop, .item(), sizes that depend on values); "
        "use torch.where or torch.cond instead to have every path captured",
    ),
    (
        r"\.numpy\(\)|numpy|float\(\) on a|__float__|__int__|DataPtr|data pointer|storage of FakeTensor",
        "values leave PyTorch within the forward (.numpy(), float(), a library of C code); compute with tensors "
        "instead",
    ),
    (
        r"TalksToOthers|c10d",
        "the forward talks to other processes, which do not take part in a capture; call rec.program with the part of "
        "the model that does not, or before the model is made parallel",
    ),
    (
        r"Sharded",
        "the parameters are spread over several devices or processes; call rec.program before the model is sharded",
    ),
    (
        r"UninitializedParameter|LazyModule",
        "a lazy module has never been called, so it has no weights yet; call rec.program after the first forward",
    ),
    (
        r"^OutOfMemory|out of memory|DefaultCPUAllocator",
        "there was not enough memory for the examples; call rec.program with fewer or smaller ones",
    ),
    (
        r"OperatorNotAllowed|OperatorUnknown|not allowed|not an operator of this|the graph calls|CustomClass|"
        r"torchbind|ScriptObject",
        "it uses an operator that a program may not hold (one of another library, or one that is unsafe to run from a "
        "file); replace it with operators of PyTorch",
    ),
    (
        r"the program gives (?:another|\d+ outputs)|something else than the model",
        "what was captured gave another result than the model: it computes a number anew each time, or draws random "
        "ones, outside of PyTorch",
    ),
    (
        r"bytes of constants",
        "it makes large tensors anew in each forward; make them once and keep them with register_buffer",
    ),
    (
        r"shapes? cannot be multiplied|size mismatch|expected input|Expected .* input|must match the size|"
        r"reduction dim|missing \d+ required|unexpected keyword|takes \d+ positional|positional argument|"
        r"dimension|channels",
        "the model did not take these inputs; pass what it is called with in the training: rec.program(model, *inputs, "
        "**named)",
    ),
    (
        r"pickle|deepcopy|deep copy|cannot copy",
        "the model could not be copied; keep files, locks and clients out of its modules",
    ),
    (
        r"[Dd]ynamo|Unsupported|graph break|not supported|NotImplemented|pytree|input structure|"
        r"ConstraintViolation|Constraints violated|SpecViolation",
        "PyTorch cannot follow something in its Python code; keep the forward to operators on tensors",
    ),
)
_OTHER: Final = "the forward could not be followed"
_OWN: Final = "the model itself failed on these inputs in evaluation mode; pass what it is called with in the training"


def reason_of(error: BaseException, route: str = "") -> str:
    """What it was and what to do; then, as a detail, what PyTorch or the model says: `... [detail: ...]`."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raw = f"{type(error).__name__}: {lines[0] if lines else 'no text'}"[:_MAX_RAW_CHARS]
    whole = f"{type(error).__name__}: {error}"[:20_000]
    other = _OWN if route == "tape" else _OTHER  # a tape runs the model as it is
    meaning = next((words for pattern, words in _MEANINGS if re.search(pattern, whole)), other)
    return f"{meaning} [detail: {raw}]"[:MAX_CHARS]
