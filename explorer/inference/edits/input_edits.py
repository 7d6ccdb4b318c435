"""What edits of inputs do to tensors, out of place; sweeps of one feature; the counterpart of an edit at random."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from explorer.errors import UsageError
from explorer.inference.edits.kinds import inputs as kinds


def edit_inputs(inputs: Mapping[str, Tensor], edit: kinds.InputEdit) -> dict[str, Tensor]:
    """The inputs, by path, after one edit. Raises UsageError: no such input, or a place outside of it."""
    path = edit.input
    if not path:
        if len(inputs) != 1:
            raise UsageError(f"an edit should name its input, since there are {', '.join(inputs)}")
        path = next(iter(inputs))
    if path not in inputs:
        raise UsageError(f"an edit should name one of the inputs {', '.join(inputs)}; found {path!r}")
    return {**inputs, path: edit_input(inputs[path], edit)}


def edit_input(value: Tensor, edit: kinds.InputEdit) -> Tensor:
    """One input after one edit; images are [..., H, W], rows [..., features], tokens [..., T]."""
    match edit:
        case kinds.EditBox():
            return edit_box(_image(value, edit), edit)
        case kinds.ShiftImage():
            return shift_box(_image(value, edit), edit)
        case kinds.SetFeature():
            if value.dim() < 1 or not value.is_floating_point():
                raise UsageError(f"a feature should be in a row of floating numbers; found {_kind(value)}")
            _within(edit.feature, value.shape[-1], "feature")
            new = value.clone()
            new[..., edit.feature] = edit.value
            return new
        case kinds.ReplaceToken():
            _within(edit.position, _tokens(value).shape[-1], "position")
            new = value.clone()
            new[..., edit.position] = edit.token
            return new
        case kinds.InsertToken():
            _within(edit.position, _tokens(value).shape[-1] + 1, "position")
            token = value.new_full((*value.shape[:-1], 1), edit.token)
            return torch.cat([value[..., : edit.position], token, value[..., edit.position :]], dim=-1)
        case kinds.DeleteToken():
            _within(edit.position, _tokens(value).shape[-1], "position")
            return torch.cat([value[..., : edit.position], value[..., edit.position + 1 :]], dim=-1)
        case kinds.SetTokens():
            tokens = torch.tensor(edit.numbers(), dtype=_tokens(value).dtype, device=value.device)
            return tokens.expand(*value.shape[:-1], len(tokens)).contiguous()
    raise UsageError(f"an edit of inputs was expected; found {edit.kind}")


def edit_box(image: Tensor, edit: kinds.EditBox) -> Tensor:
    """Set, blur or disturb the pixels of a box; a blur sees the pixels around the box."""
    where: tuple[slice | int, ...] = _box(image, edit)
    if edit.channel is not None:
        if image.dim() < 3:
            raise UsageError(f"a channel needs an image [..., C, H, W]; found {tuple(image.shape)}")
        _within(edit.channel, image.shape[-3], "channel")
        where = (edit.channel, *where)
    box = (Ellipsis, *where)
    new = image.clone()
    if edit.by == "value":
        new[box] = edit.amount
    elif edit.by == "blur":
        new[box] = blurred(image, edit.amount)[box]
    else:
        generator = torch.Generator().manual_seed(edit.seed)
        noise = torch.randn(image.shape, generator=generator).to(image.device, image.dtype)
        new[box] = image[box] + edit.amount * noise[box]
    return new


def blurred(image: Tensor, sd: float) -> Tensor:
    """A Gaussian blur of the last two dimensions; `sd` in pixels, edges repeated, 0 changes nothing."""
    if sd == 0:
        return image
    reach = max(1, math.ceil(3 * sd))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sd) ** 2)
    kernel = (kernel / kernel.sum()).to(image.device, image.dtype)
    for dim in (-2, -1):
        size = image.shape[dim]
        reached = [(torch.arange(size, device=image.device) + int(step)).clamp(0, size - 1) for step in offsets]
        image = sum((weight * image.index_select(dim, i) for weight, i in zip(kernel, reached, strict=True)), 0 * image)
    return image


def shift_box(image: Tensor, edit: kinds.ShiftImage) -> Tensor:
    """Move the pixels of a box by whole pixels, over whatever is there; what they leave holds `fill`."""
    height, width = image.shape[-2:]
    rows, columns = _box(image, edit)
    new = image.clone()
    new[..., rows, columns] = edit.fill
    top, bottom = max(0, rows.start + edit.down), min(height, rows.stop + edit.down)
    left, right = max(0, columns.start + edit.right), min(width, columns.stop + edit.right)
    if top < bottom and left < right:
        of_rows = slice(top - edit.down, bottom - edit.down)
        of_columns = slice(left - edit.right, right - edit.right)
        new[..., top:bottom, left:right] = image[..., of_rows, of_columns]
    return new


def token_id(vocabulary: Sequence[str], token: str) -> int:
    """The number of a token. Raises UsageError naming tokens that look like it."""
    try:
        return vocabulary.index(token)
    except ValueError:
        near = [known for known in vocabulary if token and known.strip().lower() == token.strip().lower()][:3]
        hint = f"; there is {', '.join(map(repr, near))}" if near else ""
        raise UsageError(f"the vocabulary of {len(vocabulary):,} tokens has no {token[:40]!r}{hint}") from None


def feature_sweep(row: Tensor, feature: int, values: Sequence[float]) -> Tensor:
    """One row [d] or [1, d] as a batch [len(values), d] in which one feature takes the values in turn."""
    flat = row.reshape(-1)
    _within(feature, len(flat), "feature")
    batch = flat.repeat(len(values), 1)
    batch[:, feature] = torch.tensor(list(values), dtype=row.dtype, device=row.device)
    return batch


def feature_grid(column: Tensor, num_values: int = 50) -> list[float]:
    """Values over the range of a feature as it was seen: from its 5th to its 95th percentile, evenly spaced.

    A constant feature has one value.
    """
    column = column.detach().to("cpu", torch.float64).flatten()
    if not len(column):
        raise UsageError("a range needs at least one row; found none")
    low, high = torch.quantile(column, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return [low] if low == high else torch.linspace(low, high, num_values, dtype=torch.float64).tolist()


def _box(image: Tensor, edit: kinds.EditBox | kinds.ShiftImage) -> tuple[slice, slice]:
    """Rows and columns of an edit's box, cut at the edge of the image."""
    height, width = image.shape[-2:]
    _within(edit.top, height, "row")
    _within(edit.left, width, "column")
    rows = slice(edit.top, min(height, edit.top + edit.height) if edit.height else height)
    return rows, slice(edit.left, min(width, edit.left + edit.width) if edit.width else width)


def _image(value: Tensor, edit: kinds.InputEdit) -> Tensor:
    if value.dim() < 2 or not value.is_floating_point():
        raise UsageError(f"{edit.kind} needs an image [..., H, W] of floating numbers; found {_kind(value)}")
    return value


def _tokens(value: Tensor) -> Tensor:
    if value.dim() < 1 or value.is_floating_point():
        raise UsageError(f"a token should be in a sequence of whole numbers; found {_kind(value)}")
    return value


def _within(index: int, size: int, what: str) -> None:
    if index >= size:
        raise UsageError(f"the input has the {what}s 0 to {size - 1}; found {index}")


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
