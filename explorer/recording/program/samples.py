"""Inputs that a model can be run on later, with what they are and what the model gave for them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.recording.program.capture import on_cpu
from explorer.recording.program.tokenizer import check_tokenizer
from explorer.storage.snapshot_files import ITEM_BYTES
from explorer.storage.snapshots import SnapshotTensor

MAX_BYTES: Final = 64 * 2**20
"""Tensors that are larger are left out of the samples."""
KINDS: Final = ("image", "tokens", "table")


@dataclass(frozen=True)
class About:
    """What the user says of the examples; as JSON, so that a page can show them.

    Attributes:
        kind: what the inputs are: `image`, `tokens`, `table`, or None.
        class_names: by the index of the model's classes.
        vocabulary: by token id.
        feature_names: by column.
        labels: what is right, one for each example; None when not given.
        tokenizer: a `tokenizer.json`; None when not given.
    """

    kind: str | None = None
    class_names: list[str] | None = None
    vocabulary: list[str] | None = None
    feature_names: list[str] | None = None
    labels: Tensor | None = None
    tokenizer: bytes | None = None

    def described(self) -> dict[str, Any]:
        """What is known, by name, without the labels."""
        names = ("kind", "class_names", "vocabulary", "feature_names")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def check_about(
    kind: object,
    class_names: object,
    vocabulary: object,
    feature_names: object,
    labels: object,
    tokenizer: object = None,
) -> About:
    """What the user said, checked; a tokenizer brings its vocabulary along. Raises UsageError."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"kind should be one of {', '.join(KINDS)} or None; found {kind!r}")
    found = check_tokenizer(tokenizer)
    if vocabulary is None and found is not None:
        vocabulary = found.vocabulary
    return About(
        kind=None if kind is None else str(kind),
        class_names=_texts("class_names", class_names),
        vocabulary=_texts("vocabulary", vocabulary),
        feature_names=_texts("feature_names", feature_names),
        labels=_labels(labels),
        tokenizer=None if found is None else found.content,
    )


def _texts(what: str, found: object) -> list[str] | None:
    """Texts in order; a mapping of text to index (a tokenizer's vocabulary) is put in order."""
    if found is None:
        return None
    if isinstance(found, Mapping):
        if not all(type(index) is int and 0 <= index < 10 * len(found) + 1_000 for index in found.values()):
            raise UsageError(f"{what} should map texts to their indices; found other values")
        texts = [""] * (max(found.values(), default=-1) + 1)
        for text, index in found.items():
            texts[index] = str(text)
        return texts
    if isinstance(found, str | bytes) or not hasattr(found, "__iter__"):
        raise UsageError(f'{what} should be a list of texts such as ["cat", "dog"]; found {type(found).__name__}')
    return [str(text) for text in found]


def _labels(found: object) -> Tensor | None:
    if found is None:
        return None
    try:
        return on_cpu(found if isinstance(found, Tensor) else torch.as_tensor(found, device="cpu"))  # type: ignore[no-any-return]
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"labels should be a tensor, an array or a list of numbers; found {found!r:.80}") from error


@dataclass
class Samples:
    """Tensors on their way into a file.

    Attributes:
        tensors: (role, name, tensor); roles are `input`, `output`, `label`, `tokenizer`, `constant`.
        left_out: names of those that are too large, or of a dtype that snapshots do not hold.
    """

    tensors: list[tuple[str, str, Tensor]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, role: str, name: str, value: Any, max_bytes: int | None = None) -> None:  # noqa: ANN401
        """Add a tensor of at most `max_bytes`, by default MAX_BYTES; other values are ignored."""
        if not isinstance(value, Tensor):
            return
        if value.nbytes > (MAX_BYTES if max_bytes is None else max_bytes) or dtype_name(value) not in ITEM_BYTES:
            self.left_out.append(name)
        else:
            self.tensors.append((role, name, value))

    def rows(self) -> Iterator[SnapshotTensor]:
        """What `storage.snapshots.write_snapshot` takes."""
        for role, name, tensor in self.tensors:
            data = memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
            shape = tuple(tensor.shape)
            yield SnapshotTensor(f"{role}:{name}", role, dtype_name(tensor), shape, data, None, zlib.crc32(data))


def dtype_name(tensor: Tensor) -> str:
    """`float32` and so on."""
    return str(tensor.dtype).removeprefix("torch.")


def samples_of(
    inputs: Sequence[Any], paths: Sequence[str], outputs: Mapping[str, Any], about: About, is_free: bool = False
) -> Samples:
    """The samples of a capture: inputs by path, outputs by path, labels, the bytes of the tokenizer.

    Where all of them hold the same number of examples and `is_free` says that the model runs on any number of them, so
    many are kept that each tensor of inputs fits.
    """
    found = Samples()
    first = slice(_num_kept(inputs, outputs, about.labels) if is_free else None)
    for path, value in zip(paths, inputs, strict=True):
        found.add("input", path, value[first] if isinstance(value, Tensor) and value.dim() else value)
    for path, value in outputs.items():
        found.add("output", path, value[first] if isinstance(value, Tensor) and value.dim() else value)
    found.add("label", "", None if about.labels is None else about.labels[first])
    if about.tokenizer is not None:
        found.add("tokenizer", "", torch.frombuffer(bytearray(about.tokenizer), dtype=torch.uint8))
    return found


def _num_kept(inputs: Sequence[Any], outputs: Mapping[str, Any], labels: Tensor | None) -> int | None:
    """How many examples to keep; None where all fit, none would, or nobody can tell what an example is."""
    given = [value for value in inputs if isinstance(value, Tensor) and value.dim()]
    made = [value for value in (*outputs.values(), labels) if isinstance(value, Tensor) and value.dim()]
    largest = max(given, key=lambda value: value.nbytes, default=None)
    if largest is None or largest.nbytes <= MAX_BYTES or len({len(value) for value in (*given, *made)}) != 1:
        return None
    return (MAX_BYTES * len(largest) // largest.nbytes) or None
