"""Capture by running once: every operator call of one real forward, with the sizes and the path of the example.

For models that decide in Python by the values of tensors, which export cannot follow. A number that leaves a tensor
(`.item()`, `bool()`) becomes a node that must give the same number again, so that another input, which would take
another path, is refused instead of answered wrongly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from explorer.programs.operators import resolve
from explorer.recording.program.cloning import on_cpu, same_buffers
from explorer.recording.program.encoding import (
    CannotEncode,
    Modules,
    encode_argument,
    input_paths,
    is_users,
    leaves,
    output_paths,
    place_of,
    user_name,
    value_facts,
)
from explorer.recording.program.exporting import Constants, Document
from explorer.recording.program.staging import Stage
from explorer.recording.program.unnoticed import alone, exact

MAX_CONSTANT_BYTES: Final = 64 * 2**20


def record_tape(stage: Stage, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[Document, Constants]]:
    """Capture by running the stage once, as `exporting.export` yields it; on the CPU, wherever the model is.

    Raises whatever the model raises, and CannotEncode, also when the program would hold too many constants.
    """
    stage = cast(Stage, on_cpu(stage))
    found, spec = pytree.tree_flatten((list(args), dict(kwargs)))
    copies = [leaf.detach().cpu().clone() if isinstance(leaf, Tensor) else leaf for leaf in found]
    tape = _Tape(stage)
    inputs = [
        tape.enter(f"in_{index}", path, leaf)
        for index, (path, leaf) in enumerate(zip(input_paths(args, kwargs), copies, strict=True))
    ]
    with alone(), exact(), _portable_kernels(), same_buffers(stage), tape.following(stage), tape:
        output = stage(*pytree.tree_unflatten(copies, spec))
    outputs = [
        {"node": tape.name_of(leaf)} if isinstance(leaf, Tensor) else encode_argument(leaf, lambda _: None)
        for leaf in leaves([output], {})
    ]
    size = sum(constant.nbytes for constant in tape.constants.values())
    if size > MAX_CONSTANT_BYTES:
        raise CannotEncode(f"the tape would hold {size:,} bytes of constants; at most {MAX_CONSTANT_BYTES:,} are kept")
    document = {
        "inputs": inputs,
        "weights": tape.weights,
        "ties": _ties(stage),
        "symbols": {},
        "graph": {"nodes": tape.nodes, "outputs": outputs},
        "output_paths": output_paths(output),
        "modules": tape.modules.entries,
    }
    yield document, tape.constants


@contextmanager
def _portable_kernels() -> Iterator[None]:
    """No fused kernels that only one kind of device, or one release of PyTorch, has."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down each call on its way to the kernels."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Document] = []
        self.weights: dict[str, Document] = {}
        self.constants: Constants = {}
        self.modules = Modules()
        self._names: dict[int, str] = {}
        self._alive: list[Tensor] = []  # an id is unique while its tensor lives
        self._count = 0
        self._stack: list[int] = []
        self._calls: dict[str, int] = {}
        persistent = set(stage.state_dict())
        self._known = {id(tensor): ("param", name) for name, tensor in stage.named_parameters(remove_duplicate=False)}
        for name, tensor in stage.named_buffers(remove_duplicate=False):
            if name in persistent:
                self._known[id(tensor)] = ("buffer", name)

    def enter(self, name: str, path: str, leaf: Any) -> Document:  # noqa: ANN401
        """Note an input; returns its entry in the document."""
        if not isinstance(leaf, Tensor):
            return {"name": name, "path": path, "value": encode_argument(leaf, lambda _: None)}
        self._note(leaf, name)
        return {"name": name, "path": path, **value_facts(leaf)}

    @contextmanager
    def following(self, stage: Stage) -> Iterator[None]:
        """Know which module is running. Hooks of the stand-in, which nobody else uses."""
        handles = []
        for path, module in stage.named_modules():
            if path and not isinstance(module, torch.jit.ScriptModule):
                handles.append(module.register_forward_pre_hook(self._enter_hook(user_name(path))))
                handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter_hook(self, path: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, _: Any) -> None:  # noqa: ANN401
            call = self._calls.get(path, 0)
            self._calls[path] = call + 1
            self._stack.append(self.modules.index(path, type(module).__name__, call))

        return enter

    def _leave(self, *_: object) -> None:
        self._stack.pop()

    def name_of(self, tensor: Tensor) -> str:
        """The node that holds a tensor; a weight or constant gets one when it is first seen."""
        if id(tensor) not in self._names:
            role, name = self._known.get(id(tensor), ("constant", f"constant_{len(self.constants)}"))
            node = self._new("weight" if role != "constant" else "constant")
            if role == "constant":
                self.constants[name] = tensor.detach().clone()
            self.weights[node] = {"name": user_name(name), "role": role, **value_facts(tensor)}
            self._note(tensor, node)
        return self._names[id(tensor)]

    def _note(self, tensor: Tensor, name: str) -> None:
        self._names[id(tensor)] = name
        self._alive.append(tensor)

    def _new(self, base: str) -> str:
        self._count += 1
        return f"{base}_{self._count}"

    def _encode(self, value: Any) -> Any:  # noqa: ANN401
        return encode_argument(value, lambda part: self.name_of(part) if isinstance(part, Tensor) else None)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        resolve(str(func), in_place=True)
        entry: Document = {
            "name": self._new(func._schema.name.rpartition("::")[2].strip("_") or "call"),
            "op": str(func),
            "args": [self._encode(part) for part in args],
        }
        if kwargs:
            entry["kwargs"] = {name: self._encode(value) for name, value in kwargs.items()}
        if self._stack:
            entry["module"] = self._stack[-1]
        source = _calling_line()
        if source:
            entry["source"] = source
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self.nodes.append({**entry, **value_facts(result)})
            self._note(result, entry["name"])  # after an in-place call the same tensor has the newer name
        elif isinstance(result, bool | int | float):
            self.nodes.append({**entry, "expect": encode_argument(result, lambda _: None)})
        elif isinstance(result, list | tuple):
            self.nodes.append(entry)
            self._note_parts(entry, result)
        return result

    def _note_parts(self, entry: Document, parts: Sequence[Any]) -> None:
        for index, part in enumerate(parts):
            if isinstance(part, Tensor):
                name = self._new("getitem")
                item: Document = {"name": name, "op": "operator.getitem", "args": [{"node": entry["name"]}, index]}
                if "module" in entry:
                    item["module"] = entry["module"]
                self.nodes.append({**item, **value_facts(part)})
                self._note(part, name)


def _calling_line() -> str:
    """The line of the user's that called PyTorch; "" when there is none."""
    frame = sys._getframe(2)
    while frame is not None:
        filename = frame.f_code.co_filename
        if is_users(filename) and "explorer/recording/program" not in filename.replace("\\", "/"):
            return place_of(filename, frame.f_lineno)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


def _ties(stage: Stage) -> list[list[str]]:
    alike: dict[int, list[str]] = {}
    for name, parameter in stage.named_parameters(remove_duplicate=False):
        alike.setdefault(id(parameter), []).append(user_name(name))
    return [names for names in alike.values() if len(names) > 1]
