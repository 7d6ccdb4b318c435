"""A run whose model was watched: statistics, snapshots and probes of a small network, as the recorder leaves them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from explorer.storage.bins import histogram_of
from explorer.storage.disk import Disk
from explorer.storage.probes import HASH_OF_PROBE, probe_path
from explorer.storage.records import write_json
from explorer.storage.snapshots import SnapshotTensor, snapshot_path, write_snapshot
from explorer.storage.tensors import TensorRow, TensorSegments

Arrays = Mapping[str, np.ndarray]
SHAPES: dict[str, tuple[int, ...]] = {
    "conv.weight": (4, 1, 3, 3),
    "conv.bias": (4,),
    "body.weight": (12, 16),
    "body.scale": (),
    "head.weight": (3, 12),
}
STEPS = (0, 10, 20, 30)


def weights(step: int, seed: int = 0, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, np.ndarray]:
    """Weights that move a little with every step; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    first = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    moved = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.asarray(first[name] + 0.01 * step * moved[name], np.float32) for name in shapes}


def write_statistics(run: Path, over_steps: Mapping[int, Arrays], *, activations: Sequence[str] = ("body",)) -> None:
    """Write statistics of parameters, their gradients and some activations."""
    segments = TensorSegments(run, 1, 0, Disk())
    previous: Arrays = {}
    for step, tensors in over_steps.items():
        rows = []
        for name, values in tensors.items():
            before = previous.get(name)
            update = None if before is None else float(np.linalg.norm(values - before))
            ratio = None if before is None or update is None else update / float(np.linalg.norm(before))
            more: dict[str, Any] = {"update_norm": update, "update_ratio": ratio, "cosine_init": 1 - 0.001 * step}
            rows.append(make_row(step, name, "param", values, **more))
            rows.append(make_row(step, name, "grad", values * 0.1, cosine_previous=0.2))
        rows += [
            make_row(step, name, "activation", np.maximum(next(iter(tensors.values())), 0), units=8, dead_units=2)
            for name in activations
        ]
        segments.add(rows)
        previous = tensors
    segments.finish()


def make_row(step: int, name: str, kind: str, values: np.ndarray, **more: Any) -> TensorRow:
    """Statistics of one tensor, computed in the plainest way."""
    flat = np.asarray(values, np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    found = histogram_of(flat, step)
    counts = [int((flat == 0).sum()), int(np.isnan(flat).sum()), int(np.isinf(flat).sum()), 0]
    moments = [float(found.mean[0]), float(found.std[0]), float(found.min[0]), float(found.max[0])]
    return TensorRow(
        step, 1_700_000_000_000_000 + step, name, kind, flat.size, *counts, *moments, float(np.linalg.norm(finite)),
        m=int(found.m[0]), bins=found.bins, counts=found.counts, **more,
    )  # fmt: skip


def write_model(run: Path, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> None:
    """Write the record of the model."""
    tensors = [
        {
            "name": name, "kinds": ["param", "grad"], "shape": list(shape), "dtype": "float32", "depth": 1,
            "module": name.rpartition(".")[0], "module_type": "Conv2d" if len(shape) == 4 else "Linear",
            "order": order, "trainable": True, "tied_to": None, "optimizer": 0, "lr_group": 0,
        }
        for order, (name, shape) in enumerate(shapes.items())
    ]  # fmt: skip
    (run / "model").mkdir(exist_ok=True)
    record = {
        "format": 1, "tensors": tensors, "modules": [], "skipped": [], "modes": {"train": {}, "eval": {}},
        "watch": {"kinds": ["param", "grad"], "schedule": "every 10"}, "activation": "output",
    }  # fmt: skip
    write_json(run / "model" / "0001-00000.json", record, disk=Disk())


def stored(name: str, values: np.ndarray, role: str = "param", dtype: str | None = None) -> SnapshotTensor:
    """A tensor as a snapshot holds it."""
    data = memoryview(np.ascontiguousarray(values).tobytes())
    return SnapshotTensor(name, role, dtype or str(values.dtype), values.shape, data, None, zlib.crc32(data))


def write_weights(run: Path, step: int, tensors: Sequence[SnapshotTensor]) -> Path:
    """Write one snapshot and return its file."""
    path = snapshot_path(run, step, 1, 0)
    write_snapshot(path, step, tensors, attempt=1, rank=0, disk=Disk(), sync=False)
    return path


def write_probe(run: Path, step: int, layers: Arrays, digest: bytes = bytes(32)) -> Path:
    """Write one probe and return its file."""
    path = probe_path(run, step, 1, 0)
    tensors = [stored(HASH_OF_PROBE, np.frombuffer(digest, np.uint8), "activation")]
    tensors += [stored(name, values, "activation") for name, values in layers.items()]
    write_snapshot(path, step, tensors, attempt=1, rank=0, disk=Disk(), sync=False)
    return path


def write_everything(run: Path, seed: int = 0, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> None:
    """Write statistics, the model's record, snapshots and probes of a whole run."""
    over_steps = {step: weights(step, seed, shapes) for step in STEPS}
    write_statistics(run, over_steps)
    write_model(run, shapes)
    rng = np.random.default_rng(seed)
    for step, tensors in over_steps.items():
        write_weights(run, step, [stored(name, values) for name, values in tensors.items()])
        layers = {name: rng.normal(size=(12, 5)).astype(np.float32) for name in ("conv", "body", "head")}
        write_probe(run, step, layers)
