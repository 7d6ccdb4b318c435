"""Program and model side by side: is what was captured what the model computes?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from explorer.errors import ProgramError
from explorer.programs.comparing import agree, difference, is_close
from explorer.programs.fingerprint import fingerprint
from explorer.programs.interpreter import Interpreter, PathChanged
from explorer.programs.seeding import seeded
from explorer.recording.program.cloning import on_cpu, same_buffers
from explorer.recording.program.encoding import leaves, output_paths, user_name
from explorer.recording.program.exporting import Constants, Document
from explorer.recording.program.sizes import Trials, settle_sizes
from explorer.recording.program.unnoticed import alone, exact
from explorer.storage.program_document import parse_program

_MIN_BUDGET_S: Final = 1.0
MAX_COPY_BYTES: Final = 4 * 2**30
"""Of a model that is copied to the CPU so that sizes can be tried."""
_NOT_YET: Final[Document] = {"why": [], "torch": "", "step": None, "check": {}}


class Check:
    """Both run in evaluation mode, without autocast, drawing the same random numbers.

    Args:
        document, constants: as a route gives them; the document says which route it was.
        staged: the model.
        args, kwargs: the example inputs.

    Raises:
        ProgramError: what was captured is no program that may run.
    """

    def __init__(
        self,
        document: Document,
        constants: Constants,
        staged: nn.Module,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._run_s, self._is_copy = 0.0, False
        self._document, self._constants = document, constants
        # Sizes are what is to be found out here, so none is refused.
        open_sizes = {name: [0, None] for name in document["symbols"]}
        self._program = parse_program({**_NOT_YET, **document, "symbols": open_sizes})
        self._interpreter = Interpreter(self._program, constants)
        self._staged = staged
        self.leaves, self._spec = pytree.tree_flatten((list(args), dict(kwargs)))
        tensors = [leaf for leaf in (*self.leaves, *staged.parameters()) if isinstance(leaf, Tensor)]
        self._device = tensors[0].device if tensors else torch.device("cpu")
        named = (
            *staged.state_dict(keep_vars=True).items(),
            *staged.named_parameters(remove_duplicate=False),
            *staged.named_buffers(remove_duplicate=False),
        )
        self._weights = {user_name(name): tensor for name, tensor in named}

    def on_cpu(self) -> Check | None:
        """The same there, where sizes that do not fit are an ordinary error; None where the model is too large for it.

        On an accelerator an index that is out of range, as when a sentence is longer than a table of places, ends
        every further use of the device by this process: the training would be lost.
        """
        if self._device.type == "cpu":
            return self
        tensors = (*self._staged.parameters(), *self._staged.buffers())
        if sum(tensor.nbytes for tensor in tensors) > MAX_COPY_BYTES:
            return None
        args, kwargs = pytree.tree_unflatten([_to_cpu(leaf) for leaf in self.leaves], self._spec)
        constants = {name: _to_cpu(tensor) for name, tensor in self._constants.items()}
        copied = Check(self._document, constants, on_cpu(self._staged), args, kwargs)
        copied._is_copy = True
        return copied

    def run_model(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """What the model gives, by output path."""
        with alone(), exact(), seeded(self._device, 0), same_buffers(self._staged):
            given = [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in inputs]
            output = self._staged(*pytree.tree_unflatten(given, self._spec))
        return dict(zip(output_paths(output), leaves([output], {}), strict=True))

    @property
    def fingerprint(self) -> int:
        """Of the weights that the program reads."""
        read = (weight.name for weight in self._program.weights.values() if weight.role != "constant")
        return fingerprint({name: self._weights[name] for name in read})

    def run_program(self, inputs: Sequence[Any]) -> dict[str, Any]:
        """What the program gives, by output path. Raises ProgramError."""
        given = {found.path: leaf for found, leaf in zip(self._program.inputs, inputs, strict=True)}
        with exact():
            return self._interpreter.run(given, self._weights, device=self._device).outputs

    def differences(self, outputs: Mapping[str, Any]) -> dict[str, float | None]:
        """The largest difference of the program from the model's outputs for the example, by output path.

        Raises:
            ProgramError: the program does not run, or gives something else than the model.
        """
        began_s = time.thread_time()
        found = self.run_program(self.leaves)
        self._run_s = time.thread_time() - began_s
        _require(found, outputs, "the example")
        return {path: difference(value, outputs[path]) for path, value in found.items()}

    def settle_sizes(self, document: Document) -> None:
        """Find out which sizes may vary, and put that into the document.

        Raises:
            ProgramError: for other values of the inputs the program gives something else than the model: then it holds
                a number that the model computes anew each time.
        """
        budget_s = max(_MIN_BUDGET_S, self._run_s)
        trials = Trials(
            self.run_model, self.run_program, agree, budget_s, self._run_s, _other_values, is_brief=self._is_copy
        )
        settled = settle_sizes(document["symbols"], document["inputs"], self.leaves, trials)
        if not settled.varied:
            self._check_other_values([_other_values(leaf) for leaf in settled.small])
        document["symbols"] = settled.symbols
        for entry in (*document["inputs"], *document["graph"]["nodes"]):
            if "shape" in entry:
                entry["shape"] = [settled.names.get(dim, dim) for dim in entry["shape"]]

    def _check_other_values(self, others: Sequence[Any]) -> None:
        try:
            wanted = self.run_model(others)
        except Exception:  # the model's own errors: it does not take such values
            return
        with suppress(PathChanged):  # then it says so, instead of giving something wrong
            _require(self.run_program(others), wanted, "other values")


def _require(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    if agree(found, wanted):
        return
    if found.keys() != wanted.keys():
        raise ProgramError(f"for {where} the program gives {len(found)} outputs and the model {len(wanted)}, or others")
    path = next(path for path in found if not is_close(found[path], wanted[path]))
    raise ProgramError(f"for {where} the program gives another output {path or '(the only one)'} than the model")


def _to_cpu(value: Any) -> Any:  # noqa: ANN401
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _other_values(leaf: Any) -> Any:  # noqa: ANN401 - whatever a model takes
    """Other values of the same kind and range: numbers made smaller, indices and flags put in another order."""
    if not isinstance(leaf, Tensor) or not leaf.dim():
        return leaf
    return leaf * 0.75 if leaf.is_floating_point() or leaf.is_complex() else leaf.roll(1, -1)
