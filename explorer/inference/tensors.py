"""Bytes from a file as tensors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.errors import ProgramError
from explorer.storage.snapshot_files import ITEM_BYTES

# The names are ours, not a file's; a few of the dtypes are missing from older PyTorch.
_DTYPES: Final[dict[str, torch.dtype]] = {
    name: found for name in ITEM_BYTES if isinstance(found := getattr(torch, name, None), torch.dtype)
}


def tensor_from(data: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor over these little-endian bytes, without a copy where the array may be written to.

    Raises:
        ProgramError: this PyTorch has no such dtype.
    """
    found = _DTYPES.get(dtype)
    if found is None:
        raise ProgramError(f"PyTorch {torch.__version__} has no dtype {dtype!r}")
    if not data.size:
        return torch.empty(shape, dtype=found)
    values = torch.from_numpy(data if data.flags.writeable else data.copy())
    if found == torch.bool:  # any byte may stand in a file, but not in a bool
        return values.ne(0).reshape(shape)
    if data.ctypes.data % ITEM_BYTES[dtype]:
        values = values.clone()
    return values.view(found).reshape(shape)


def dtype_of(name: str) -> torch.dtype | None:
    """The dtype of this name, or None."""
    return _DTYPES.get(name)


def dtype_name(value: Any) -> str:  # noqa: ANN401 - a tensor
    """`float32` and so on."""
    return str(value.dtype).removeprefix("torch.")
