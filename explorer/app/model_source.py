"""What is known of a run's architecture: from its captured program, from `watch`, or from the names in a snapshot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

import streamlit as st

from explorer.app.file_versions import Version, folder_version
from explorer.app.model_shapes import size_names
from explorer.errors import ExplorerError
from explorer.inference.modules import Module, Program, module_tree, outwards, parent_of
from explorer.reading.model_record import ModelRecord, TensorRecord, read_model
from explorer.reading.programs import program_problems, read_program_of
from explorer.reading.runs import open_run

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo

Origin = Literal["program", "watch", "snapshot", "nothing"]


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer.

    Attributes:
        name: fully qualified.
        is_buffer: whether it is no parameter.
        dtype, shape: of its values.
        is_frozen: whether it is a parameter without a gradient; None when that was not recorded.
        tied: other names of the same tensor.
    """

    name: str
    is_buffer: bool
    dtype: str
    shape: tuple[int, ...]
    is_frozen: bool | None
    tied: tuple[str, ...]

    @property
    def num_values(self) -> int:
        """Its elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class ModuleRow:
    """A module of a model.

    Attributes:
        path: "" is the model.
        type: its class; "" when unknown.
        depth: how many modules it is inside of.
        children: paths of the modules right below it.
        num_calls: how often one run of the model calls it; None when that was not captured.
        num_nodes: operators in it and below; None likewise.
        outputs: nodes in which its output is; () when unknown.
        dtypes, shapes: of its outputs.
        weights: its own parameters and buffers.
        num_parameters, num_buffers: elements in it and below; one tensor of several names counts once.
        num_frozen: of the parameters, those without a gradient; None when that was not recorded.
    """

    path: str
    type: str
    depth: int
    children: tuple[str, ...]
    num_calls: int | None
    num_nodes: int | None
    outputs: tuple[str, ...]
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int | str, ...], ...]
    weights: tuple[Weight, ...]
    num_parameters: int
    num_buffers: int
    num_frozen: int | None


@dataclass(frozen=True, eq=False)
class Architecture:
    """A run's model.

    Attributes:
        origin: where it is known from.
        program: the captured computation; None when there is none.
        rows: every module by its path, each followed by what is in it, in the order in which they run.
        sizes: a letter for each size that may vary.
        problems: why no program is there, or why it cannot be read.
    """

    origin: Origin
    program: Program | None
    rows: Mapping[str, ModuleRow]
    sizes: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @cached_property
    def facts(self) -> Mapping[str, tuple[str, tuple[int | str, ...] | None]]:
        """Dtype and shape of every input and operator by name; "" and None where it is no single tensor."""
        program = self.program
        if program is None:
            return {}
        found = {node.name: (node.dtype, node.shape) for node in program.graph.nodes}
        return found | {one.name: (one.dtype, one.shape) for one in program.inputs}

    @cached_property
    def tied(self) -> Mapping[str, tuple[str, ...]]:
        """The other names of every tensor that has several."""
        return {weight.name: weight.tied for row in self.rows.values() for weight in row.weights if weight.tied}

    @property
    def root(self) -> ModuleRow:
        """The model itself."""
        return self.rows[""]


def architecture(info: RunInfo) -> Architecture:
    """Return what is known of a run's model, read again when its files change."""
    return _read(str(info.path), folder_version(str(info.path), "program", "model"), _num_snapshots(str(info.path)))


def _num_snapshots(run_path: str) -> int:
    """Whether there is one, as far as that decides what is known."""
    path = os.path.join(run_path, "params")
    return min(len(os.listdir(path)), 1) if os.path.isdir(path) else 0


@st.cache_resource(show_spinner=False, max_entries=16)
def _read(run_path: str, version: Version, num_snapshots: int) -> Architecture:
    program, record = read_program_of(run_path), read_model(run_path)
    problems = () if program is not None else program_problems(run_path)
    if program is not None:
        return Architecture("program", program, program_rows(program, record), size_names(program), problems)
    if record is not None:
        return Architecture("watch", None, record_rows(record), problems=problems)
    weights = _snapshot_weights(run_path) if num_snapshots else {}
    return Architecture("snapshot" if weights else "nothing", None, _rows({}, weights, {}), problems=problems)


def program_rows(program: Program, record: ModelRecord | None) -> dict[str, ModuleRow]:
    """Return the modules of a program, with those that `watch` saw and the program never calls."""
    tree = module_tree(program)
    watched = {} if record is None else record.by_name
    tied = _tied([*program.ties, *_pairs(record)])
    weights: dict[str, list[Weight]] = {}
    for path, module in tree.items():
        for found in module.parameters:
            seen = watched.get(found.name)
            weights.setdefault(path, []).append(
                Weight(
                    found.name,
                    found.role != "param",
                    found.dtype,
                    found.shape,
                    None if seen is None or found.role != "param" else not seen.trainable,
                    tied.get(found.name, ()),
                )
            )
    types = {path: module.type for path, module in tree.items()}
    dtypes = {node.name: node.dtype for node in program.graph.nodes}
    if record is not None:
        for path, kind in _types(record).items():
            types[path] = types.get(path) or kind
        for path, own in _weights(record, tied).items():
            known = {weight.name for weight in weights.get(path, ())}
            weights.setdefault(path, []).extend(weight for weight in own if weight.name not in known)
    return _rows(types, weights, tree, dtypes)


def record_rows(record: ModelRecord) -> dict[str, ModuleRow]:
    """Return the modules that `watch` saw."""
    return _rows(_types(record), _weights(record, _tied(_pairs(record))), {})


def _pairs(record: ModelRecord | None) -> list[tuple[str, str]]:
    """Names that `watch` found to be one tensor."""
    tensors = () if record is None else record.tensors
    return [(tensor.tied_to, tensor.name) for tensor in tensors if tensor.tied_to is not None]


def _tied(groups: Iterable[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Of each name the others of the same tensor."""
    together: dict[str, dict[str, None]] = {}
    for group in groups:
        joined = dict.fromkeys(name for one in group for name in (*together.get(one, ()), one))
        together |= dict.fromkeys(joined, joined)
    return {name: tuple(other for other in names if other != name) for name, names in together.items()}


def _types(record: ModelRecord) -> dict[str, str]:
    types = {module.name: module.type for module in record.modules}
    for tensor in record.tensors:
        types.setdefault(tensor.module, tensor.module_type)
    return types


def _weights(record: ModelRecord, tied: Mapping[str, tuple[str, ...]]) -> dict[str, list[Weight]]:
    weights: dict[str, list[Weight]] = {}
    for tensor in record.tensors:
        if not _is_activation(tensor):
            others = tied.get(tensor.name, ())
            found = Weight(tensor.name, False, tensor.dtype, tensor.shape, not tensor.trainable, others)
            weights.setdefault(tensor.module, []).append(found)
    return weights


def _is_activation(tensor: TensorRecord) -> bool:
    return bool(tensor.kinds) and set(tensor.kinds) <= {"activation", "labels"}


def _snapshot_weights(run_path: str) -> dict[str, list[Weight]]:
    """Of the first snapshot that can be read: names, shapes and dtypes, and nothing of the modules' classes."""
    run = open_run(run_path)
    for info in run.snapshots:
        if info.problem is not None:
            continue
        try:
            entries = run.snapshot(info.step).entries
        except (ExplorerError, OSError):
            continue
        weights: dict[str, list[Weight]] = {}
        for name, entry in entries.items():
            if entry.role in ("param", "buffer"):
                found = Weight(name, entry.role == "buffer", entry.dtype, tuple(entry.shape), None, ())
                weights.setdefault(parent_of(name), []).append(found)
        return weights
    return {}


def _rows(
    types: Mapping[str, str],
    weights: Mapping[str, Sequence[Weight]],
    tree: Mapping[str, Module],
    dtypes: Mapping[str, str] | None = None,
) -> dict[str, ModuleRow]:
    children: dict[str, dict[str, None]] = {"": {}}
    for path in (*tree, *types, *weights):
        for outer in outwards(path):
            children.setdefault(outer, {})
            children[parent_of(outer)].setdefault(outer)
    totals = {path: _Totals() for path in children}
    for path, own in weights.items():
        for outer in ("", *outwards(path)):
            for weight in own:
                totals[outer].add(weight)
    rows: dict[str, ModuleRow] = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        waiting.extend(reversed(children[path]))
        module = tree.get(path)
        total = totals[path]
        rows[path] = ModuleRow(
            path=path,
            type=types.get(path, ""),
            depth=path.count(".") + bool(path),
            children=tuple(children[path]),
            num_calls=module.num_calls if module else 0 if tree else None,
            num_nodes=module.num_nodes if module else 0 if tree else None,
            outputs=module.outputs if module else (),
            dtypes=tuple(dict.fromkeys((dtypes or {})[name] for name in module.outputs)) if module else (),
            shapes=module.output_shapes if module else (),
            weights=tuple(weights.get(path, ())),
            num_parameters=total.num_parameters,
            num_buffers=total.num_buffers,
            num_frozen=None if total.num_unknown else total.num_frozen,
        )
    return rows


class _Totals:
    """Elements of the tensors in a module; one tensor of several names counts once."""

    def __init__(self) -> None:
        self.num_parameters = self.num_buffers = self.num_frozen = self.num_unknown = 0
        self._names: set[str] = set()

    def add(self, weight: Weight) -> None:
        """Count a tensor."""
        if weight.name in self._names:
            return
        self._names |= {weight.name, *weight.tied}
        if weight.is_buffer:
            self.num_buffers += weight.num_values
            return
        self.num_parameters += weight.num_values
        self.num_frozen += weight.num_values if weight.is_frozen else 0
        self.num_unknown += weight.num_values if weight.is_frozen is None else 0
