"""Ten series that a training loop really logs, the same numbers every time.

What comes out of a float32 tensor is rounded to float32, as `.item()` gives it: that is what a compressor sees.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK_STEPS = 8_192
NAMES = (
    "train/loss",
    "train/accuracy",
    "train/grad_norm",
    "train/lr",
    "train/epoch",
    "val/loss",
    "model/weight_norm",
    "speed/samples_per_s",
    "speed/step_s",
    "memory/allocated_gib",
)


def names(count: int) -> list[str]:
    """The first `count` metric names; after ten they repeat with a number."""
    return [NAMES[i % 10] + (f"_{i // 10}" if i >= 10 else "") for i in range(count)]


def block(run: int, index: int, count: int) -> np.ndarray:
    """Rows `index * BLOCK_STEPS` and on of a run: float64[BLOCK_STEPS, count]."""
    random = np.random.Generator(np.random.Philox(key=[run + 11, index + 7]))
    step = np.arange(index * BLOCK_STEPS, (index + 1) * BLOCK_STEPS, dtype=np.float64)
    return np.stack(
        [_series(column % 10, step, random.standard_normal(BLOCK_STEPS)) for column in range(count)], axis=1
    )


def _series(kind: int, step: np.ndarray, noise: np.ndarray) -> np.ndarray:
    decay = np.exp(-step / 30_000)
    if kind == 0:
        return _float32(0.35 + 2.0 * decay + 0.07 * noise)
    if kind == 1:  # hits of a batch of 128
        return np.round(128 * np.clip(0.93 - 0.85 * decay + 0.04 * noise, 0, 1)) / 128
    if kind == 2:
        return _float32(np.exp(0.4 * noise) * (0.8 + 3.0 * decay))
    if kind == 3:  # warm-up, then a cosine
        return 1e-3 * np.minimum(step / 2_000, 0.5 + 0.5 * np.cos(np.pi * np.minimum(step / 2e6, 1.0)))
    if kind == 4:
        return np.floor(step / 781)
    if kind == 5:
        return _float32(0.45 + 1.9 * decay + 0.01 * noise)
    if kind == 6:
        return _float32(80.0 + 0.001 * step + 0.0005 * noise)
    if kind == 7:
        return 9_000.0 + 120.0 * noise
    if kind == 8:
        return 0.0142 + 0.0004 * np.abs(noise)
    return 7.25 + 0.5 * (np.floor(step / 4_000) % 3)


def _float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def table(run: int, num_steps: int, count: int) -> np.ndarray:
    """All rows of a run: float64[num_steps, count]."""
    blocks = [block(run, index, count) for index in range(-(-num_steps // BLOCK_STEPS))]
    return np.concatenate(blocks)[:num_steps]


def rows(run: int, num_steps: int, count: int) -> Iterator[list[dict[str, float]]]:
    """The rows as dicts, a block at a time: making a row is not part of what is measured."""
    keys = names(count)
    for index in range(-(-num_steps // BLOCK_STEPS)):
        part = block(run, index, count)[: num_steps - index * BLOCK_STEPS]
        yield [dict(zip(keys, row, strict=True)) for row in part.tolist()]
