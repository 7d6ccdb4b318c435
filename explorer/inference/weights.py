"""The weights that a program runs with, of a snapshot, a safetensors file or a checkpoint, checked against it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.errors import DamagedFile, OutOfMemory, ProgramError, UsageError
from explorer.inference.safetensors_file import SafetensorsFile
from explorer.inference.tensors import dtype_of, tensor_from
from explorer.inference.weight_names import needed_weights, present_name, tied_names
from explorer.programs.interpreter import is_out_of_memory
from explorer.reading.snapshots import Snapshot
from explorer.storage.program import Program

_PREFIXES: Final = ("module.", "_orig_mod.")
_CONTAINERS: Final = ("state_dict", "model_state_dict", "model", "module", "weights")
MAX_FILE_BYTES: Final = 16 * 2**30
_MAX_NAMED: Final = 5
_MAX_PREFIXES: Final = 20
Source = Snapshot | str | Path | Mapping[str, Tensor]


@dataclass(frozen=True)
class Fit:
    """How weights fit a program; `is_complete` when it can run with them.

    Attributes:
        missing: names that the program needs, and neither they nor names tied to them are there.
        mismatched: name to what is wrong with its shape or dtype.
        unused: names that are there and that the program does not read.
        cast: name to (dtype there, dtype at capture) where both are floating point and differ.
        prefix: of names there, without which all would fit; "" where there is none.
    """

    missing: tuple[str, ...]
    mismatched: Mapping[str, str]
    unused: tuple[str, ...]
    cast: Mapping[str, tuple[str, str]]
    prefix: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing and everything fits."""
        return not self.missing and not self.mismatched


@dataclass(frozen=True)
class _Found:
    name: str  # in the source
    dtype: str
    shape: tuple[int, ...]


_Held = Mapping[str, npt.NDArray[np.uint8]]
_Read = Callable[[Sequence[str]], Iterable[Tensor]]
"""Gives the tensors of these names of the source, in this order; one at a time where it can."""


def bind(
    program: Program,
    source: Source,
    *,
    device: torch.device | str = "cpu",
    upcast: bool = False,
    prefix: str = "",
    held: _Held | None = None,
) -> dict[str, Tensor]:
    """Weights for a program, by name, on a device. Tied names are one tensor. What else is there is left alone.

    Args:
        program: what will run.
        source: a snapshot; the path of a `.safetensors` file or of a checkpoint that `torch.save` wrote; or tensors
            by name. A checkpoint is loaded as weights only, never as code.
        device: where to.
        upcast: floating point weights become float32, whatever they were; by default they are what they were at
            capture, so that a program captured in bfloat16 runs in bfloat16.
        prefix: left out of each name in the file that begins with it, such as "model."; those of wrappers (`module.`,
            `_orig_mod.`) always are.
        held: bytes of the snapshot's tensors by name that were read already, and are the weights' from now on.

    Raises:
        ProgramError: weights are missing, or have another shape or kind of dtype; the message names them.
        DamagedFile: the file is none of ours, cut, or holds more than weights.
        FileNotFoundError: there is no such file.
    """
    there, read = _find(source, held or {})
    found = _without(there, prefix)
    fit = _fit(program, found)
    if not fit.is_complete:
        raise ProgramError(_complaint(fit))
    device = torch.device(device)
    tied = tied_names(program)
    # Only what is needed is read, and of tied tensors, which a snapshot may hold under every name, one.
    names = {weight.name: str(present_name(weight.name, found, tied)) for weight in needed_weights(program)}
    dtypes: dict[str, torch.dtype | None] = {}
    for weight in needed_weights(program):
        dtypes.setdefault(names[weight.name], dtype_of(weight.dtype))
    made: dict[str, Tensor] = {}
    for (name, dtype), tensor in zip(dtypes.items(), read([found[name].name for name in dtypes]), strict=True):
        wanted = torch.float32 if upcast else dtype
        if tensor.is_floating_point() and wanted is not None and (upcast or wanted.is_floating_point):
            tensor = tensor.to(wanted)
        made[name] = tensor.to(device)
    return {weight: made[name] for weight, name in names.items()}


def compare_weights(program: Program, source: Source, *, prefix: str = "") -> Fit:
    """How weights fit a program, reading no values where the source allows it. Raises as `bind` for files.

    Where they do not fit, `Fit.prefix` names a prefix without which all of them would.
    """
    found = _without(_find(source, {})[0], prefix)
    fit = _fit(program, found)
    if fit.is_complete or prefix:
        return fit
    firsts = dict.fromkeys(name.partition(".")[0] + "." for name in found if "." in name)
    for first in list(firsts)[:_MAX_PREFIXES]:
        if _fit(program, _without(found, first)).is_complete:
            return replace(fit, prefix=first)
    return fit


def limit_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
    """Refuse what is no file of weights by its look, before anything of it is read.

    Raises:
        UsageError: there is none, or it may not be read.
        DamagedFile: it is no regular file, or larger than `max_bytes`.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise UsageError(f"the file of weights {path} cannot be read: {getattr(error, 'strerror', error)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise DamagedFile(path, "is not a regular file")
    if found.st_size > max_bytes:
        raise DamagedFile(path, f"has {found.st_size:,} bytes; at most {max_bytes:,} are read here")


def _fit(program: Program, found: Mapping[str, _Found]) -> Fit:
    tied = tied_names(program)
    missing, mismatched, cast, used = [], {}, {}, set()
    for weight in needed_weights(program):
        name = present_name(weight.name, found, tied)
        if name is None:
            missing.append(weight.name)
            continue
        used |= {name, *tied.get(weight.name, ())}
        there, wanted = found[name], dtype_of(weight.dtype)
        dtype = dtype_of(there.dtype)
        if there.shape != weight.shape:
            mismatched[weight.name] = f"has the shape {there.shape}; {weight.shape} was recorded"
        elif there.dtype != weight.dtype:
            if dtype is not None and wanted is not None and dtype.is_floating_point and wanted.is_floating_point:
                cast[weight.name] = (there.dtype, weight.dtype)
            else:
                mismatched[weight.name] = f"is {there.dtype}; {weight.dtype} was recorded"
    unused = tuple(name for name in found if name not in used)
    return Fit(tuple(missing), mismatched, unused, cast)


def _complaint(fit: Fit) -> str:
    parts = []
    if fit.missing:
        parts.append(f"{len(fit.missing)} are missing ({_some(fit.missing)})")
    parts += [f"{name} {what}" for name, what in list(fit.mismatched.items())[:_MAX_NAMED]]
    if fit.missing and fit.unused:
        parts.append(f"{len(fit.unused)} others are there ({_some(fit.unused)})")
    return "these weights do not fit the recorded model: " + "; ".join(parts)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")


def _find(source: Source, held: _Held) -> tuple[dict[str, _Found], _Read]:
    """What a source holds, by plain name, and the way to its values."""
    if isinstance(source, Snapshot):
        return _in_snapshot(source, held)
    if isinstance(source, Mapping):
        return _in_tensors(source)
    path = Path(source)
    if path.suffix.lower() == ".safetensors":
        file = SafetensorsFile(path)
        entries = file.entries.items()
        return {_plain(name): _Found(name, entry.dtype, entry.shape) for name, entry in entries}, (
            lambda names: map(file.read, names)
        )
    return _in_tensors(_load_checkpoint(path))


def _in_snapshot(snapshot: Snapshot, held: _Held) -> tuple[dict[str, _Found], _Read]:
    if snapshot.reference is not None and not snapshot.entries:
        raise UsageError(
            f"the values of step {snapshot.step:,} are in a file of yours, outside the run: give its path "
            f"({snapshot.reference['path']}) as the file of weights if you trust it"
        )

    def read(names: Sequence[str]) -> Iterator[Tensor]:
        # All at once: each file is opened once, and memory for all of them is cheaper than for each.
        data = held if all(name in held for name in names) else snapshot.read_many_bytes(names)
        for name in names:
            yield tensor_from(data[name], snapshot.entries[name].dtype, snapshot.entries[name].shape)

    found = {
        name: _Found(name, entry.dtype, entry.shape)
        for name, entry in snapshot.entries.items()
        if entry.role in ("param", "buffer")
    }
    return found, read


def _without(found: dict[str, _Found], prefix: str) -> dict[str, _Found]:
    """Without a prefix of names, except where the name without it is another tensor's."""
    short = {name: name.removeprefix(prefix) for name in found}
    return {name if short[name] in found else short[name]: each for name, each in found.items()}


def _in_tensors(tensors: Mapping[str, Tensor]) -> tuple[dict[str, _Found], _Read]:
    found = {
        _plain(name): _Found(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    return found, lambda names: [tensors[name].detach() for name in names]


def _load_checkpoint(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # whatever a torn or hostile file makes of it; there is no other way to load one
        if is_out_of_memory(error):
            raise OutOfMemory(f"the file of weights {path} needs more memory than there is") from error
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DamagedFile(path, f"cannot be loaded as weights only ({first[:200]})") from error
    for _ in _CONTAINERS:
        if not isinstance(loaded, Mapping):
            break
        tensors = {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, Tensor)}
        inner = next((loaded[name] for name in _CONTAINERS if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            if tensors:
                return tensors
            break
        loaded = inner
    raise DamagedFile(path, "holds no state dict: a mapping of names to tensors was expected")


def _plain(name: str) -> str:
    """A name without the prefixes of wrappers."""
    while any(name.startswith(prefix) for prefix in _PREFIXES):
        name = name.partition(".")[2]
    return name
