"""What the recorder wrote down about a model when watching began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from explorer.errors import DamagedFile, FileError
from explorer.storage.layout import MODEL, list_process_files
from explorer.storage.records import Record, read_record


@dataclass(frozen=True)
class TensorRecord:
    """One tensor that is watched.

    Attributes:
        name: fully qualified name.
        kinds: what is recorded of it.
        shape, dtype: of the parameter; of an activation as far as known.
        module, module_type: name and class of the module that owns it.
        order: position among the model's parameters, or in the forward pass for activations.
        depth: how many modules it is inside of.
        trainable: whether it has a gradient.
        tied_to: name of the parameter that it shares its values with; None as a rule.
        optimizer, lr_group: which optimizer, and which of its parameter groups, updates it; None when none does.
    """

    name: str
    kinds: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    module: str
    module_type: str
    order: int
    depth: int
    trainable: bool
    tied_to: str | None
    optimizer: int | None
    lr_group: int | None


@dataclass(frozen=True)
class ModuleRecord:
    """One module: name, class, and its place in the order of the model."""

    name: str
    type: str
    order: int


@dataclass(frozen=True)
class ModelRecord:
    """A watched model.

    Attributes:
        tensors: in the order of the file.
        modules: in the order of the file.
        skipped: (name, kind, reason) of what could not be watched.
        modes: `train` and `eval`: how often each module was in training and in evaluation mode.
        watch: what was asked for: `kinds`, and `schedule` as text.
        activation: the point that activations are taken at; None when they are not.
        initial: what `cosine_init` compares with, in words, in an attempt that goes on from an earlier one; else None.
    """

    tensors: tuple[TensorRecord, ...]
    modules: tuple[ModuleRecord, ...]
    skipped: tuple[tuple[str, str, str], ...]
    modes: Mapping[str, Mapping[str, tuple[int, int]]]
    watch: Mapping[str, Any]
    activation: str | None
    initial: str | None = None

    @cached_property
    def order(self) -> Mapping[tuple[str, str], int]:
        """(kind, name) to position."""
        return {(kind, tensor.name): tensor.order for tensor in self.tensors for kind in tensor.kinds}

    @cached_property
    def by_name(self) -> Mapping[str, TensorRecord]:
        """The tensors by name; of several of one name the first."""
        return {tensor.name: tensor for tensor in reversed(self.tensors)}


def read_model(run_path: str | Path) -> ModelRecord | None:
    """The record of the newest attempt's lowest rank that can be read; None when nothing was watched."""
    files = list_process_files(run_path, MODEL)
    for _, _, path in sorted(files, key=lambda file: (-file[0], file[1])):
        try:
            return read_model_file(path)
        except (FileError, FileNotFoundError):
            continue
    return None


def read_model_file(path: Path) -> ModelRecord:
    """One record.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is no record of a model.
        UnsupportedFormat: a newer version wrote it.
    """
    record = read_record(path)
    try:
        return _model(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"is no record of a model ({type(error).__name__}: {str(error)[:80]})") from error


def _model(record: Record) -> ModelRecord:
    modes = {
        mode: {str(module): _pair(times) for module, times in modules.items()}
        for mode, modules in record.get("modes", {}).items()
    }
    activation, initial = record.get("activation"), record.get("initial")
    return ModelRecord(
        tensors=tuple(map(_tensor, record["tensors"])),
        modules=tuple(
            ModuleRecord(_text(each["name"]), _text(each["type"]), _integer(each["order"]))
            for each in record.get("modules", [])
        ),
        skipped=tuple(
            (_text(each["name"]), _text(each["kind"]), _text(each["reason"])) for each in record.get("skipped", [])
        ),
        modes=modes,
        watch=dict(record.get("watch", {})),
        activation=None if activation is None else _text(activation),
        initial=None if initial is None else _text(initial),
    )


def _tensor(said: Mapping[str, Any]) -> TensorRecord:
    tied_to = said.get("tied_to")
    return TensorRecord(
        name=_text(said["name"]),
        kinds=tuple(map(_text, said["kinds"])),
        shape=tuple(map(_integer, said.get("shape") or [])),
        dtype=_text(said.get("dtype") or ""),
        module=_text(said.get("module") or ""),
        module_type=_text(said.get("module_type") or ""),
        order=_integer(said["order"]),
        depth=_integer(said.get("depth") or 0),
        trainable=bool(said.get("trainable", True)),
        tied_to=None if tied_to is None else _text(tied_to),
        optimizer=_optional(said.get("optimizer")),
        lr_group=_optional(said.get("lr_group")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected, found {type(value).__name__}")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a whole number was expected, found {type(value).__name__}")
    return value


def _optional(value: object) -> int | None:
    return None if value is None else _integer(value)


def _pair(times: Any) -> tuple[int, int]:  # noqa: ANN401 - from a file
    training, evaluation = map(_integer, times)
    return training, evaluation
