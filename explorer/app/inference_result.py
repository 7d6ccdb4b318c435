"""What kind of output a model has, and its numbers as the page needs them; pure functions of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from explorer.inference.plain_model import PlainModel

Array = npt.NDArray[Any]
Kind = Literal["classes", "tokens", "values"]


def first_output(outputs: Mapping[str, Any]) -> tuple[str, Array] | None:
    """Path and values of the first output of floating numbers; None when there is none."""
    for path, value in outputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim:
            return path, value
    return None


def output_kind(model: PlainModel, output: Array) -> Kind:
    """How an output [N, ...] is to be read.

    `classes` [N, C] where labels or names say so; `tokens` [N, T, V] for whole-number inputs [N, T]; else `values`.
    """
    labels = model.labels
    if output.ndim == 2 and output.shape[1] > 1:
        whole = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
        if len(model.class_names) == output.shape[1] or whole:
            return "classes"
    first = next(iter(model.inputs.values()), None)
    if output.ndim == 3 and first is not None and first.dtype.kind in "iu" and first.ndim == 2:
        return "tokens"
    return "values"


def are_tags(model: PlainModel, output: Array) -> bool:
    """Whether the scores of every position are of the named classes, such as parts of speech, and not of tokens."""
    return output.shape[-1] in {len(model.class_names)} - {0, len(model.vocabulary)}


def as_logits(output: Array) -> tuple[npt.NDArray[np.float64], bool]:
    """Scores [..., C] as logits in float64, and whether they were probabilities already.

    Rows that are not negative and sum to 1 are probabilities, whose logarithms are logits of the same softmax.
    """
    wide = np.asarray(output, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        likely = bool(wide.size) and bool((wide >= 0).all()) and bool(np.allclose(wide.sum(axis=-1), 1.0, atol=1e-3))
        return (np.log(np.maximum(wide, 1e-300)), True) if likely else (wide, False)


def shown_classes(*logits: npt.NDArray[np.float64], most: int = 10) -> npt.NDArray[np.int64]:
    """The classes to draw: all in their order when there are few, else those with the largest logits of any model."""
    count = logits[0].shape[-1]
    if count <= most:
        return np.arange(count, dtype=np.int64)
    best = np.max([found - found.max() for found in logits], axis=0)
    return np.argsort(-best, kind="stable")[:most].astype(np.int64)
