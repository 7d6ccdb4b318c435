"""The bytes of a tensor as numbers that numpy knows: bfloat16 and the small floats come as float32, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Bits of exponent and of mantissa, and the bias.
_FLOAT8: Final[Mapping[str, tuple[int, int, int]]] = {
    "float8_e4m3fn": (4, 3, 7),
    "float8_e5m2": (5, 2, 15),
    "float8_e4m3fnuz": (4, 3, 8),
    "float8_e5m2fnuz": (5, 2, 16),
}
_AS_THEY_ARE: Final = frozenset(
    {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
    | {"float32", "float64", "complex64", "complex128"}
)


def decode(data: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The values of a tensor.

    Args:
        data: its little-endian bytes, uint8[num_bytes].
        dtype: torch's name without `torch.`.
        shape: its sizes.

    Returns:
        An array of that shape. float16, bfloat16 and float8 are float32 and complex32 is complex64, which hold each of
        their values; other dtypes are what they were, without a copy.

    Raises:
        ValueError: the dtype is none that snapshots hold, or the bytes do not fit the shape.
    """
    if dtype in _AS_THEY_ARE:
        values = data.view(np.dtype(dtype).newbyteorder("<"))
        return (values != 0 if dtype == "bool" and data.max(initial=0) > 1 else values).reshape(shape)
    if dtype == "bfloat16":
        return (data.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    if dtype == "float16":
        return data.view("<f2").astype(np.float32).reshape(shape)
    if dtype == "complex32":
        return data.view("<f2").astype(np.float32).view(np.complex64).reshape(shape)
    if dtype == "float8_e8m0fnu":
        return _powers_of_two()[data].reshape(shape)
    if dtype in _FLOAT8:
        return _all_float8(dtype)[data].reshape(shape)
    raise ValueError(f"snapshots hold no {dtype}")


@lru_cache(maxsize=8)
def _all_float8(dtype: str) -> npt.NDArray[np.float32]:
    """The values of all 256 patterns: https://onnx.ai/onnx/technical/float8.html."""
    num_exponent, num_mantissa, bias = _FLOAT8[dtype]
    bits = np.arange(256)
    sign = np.where(bits >> 7, -1.0, 1.0)
    magnitude = bits & 0x7F
    exponent, mantissa = magnitude >> num_mantissa, magnitude & ((1 << num_mantissa) - 1)
    fraction = mantissa / (1 << num_mantissa)
    normal = (1 + fraction) * 2.0 ** (exponent - bias)
    values = sign * np.where(exponent == 0, fraction * 2.0 ** (1 - bias), normal)
    if dtype.endswith("uz"):  # no infinities and no -0: its place is that of NaN
        values[0x80] = np.nan
    elif dtype == "float8_e4m3fn":
        values[magnitude == 0x7F] = np.nan
    else:
        largest = exponent == (1 << num_exponent) - 1
        values[largest] = np.where(mantissa[largest] == 0, sign[largest] * np.inf, np.nan)
    return values.astype(np.float32)


@lru_cache(maxsize=1)
def _powers_of_two() -> npt.NDArray[np.float32]:
    return np.append(2.0 ** (np.arange(255) - 127), np.nan).astype(np.float32)
