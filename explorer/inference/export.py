"""A snapshot as a file of `torch.save`, which `torch.load(path, weights_only=True)` reads.

Run as a program, so that whoever asks for it does not load torch itself:
`python -m explorer.inference.export RUN_FOLDER STEP FILE`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from explorer.errors import ExplorerError, UsageError
from explorer.reading.snapshots import open_snapshot

if TYPE_CHECKING:
    from explorer.reading.snapshots import Snapshot

_ROLES = ("param", "buffer")


def state_dict(snapshot: Snapshot) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of a snapshot, bit for bit, as `model.load_state_dict` takes them.

    Raises:
        UsageError: a tensor has a dtype that this version of torch does not have.
    """
    return dict(_tensors(snapshot))


def write_state_dict(snapshot: Snapshot, path: str | Path) -> None:
    """Write `state_dict(snapshot)` with `torch.save`: plain tensors under their names, and no code.

    Raises:
        OSError: the file cannot be written.
        UsageError: as `state_dict`.
    """
    torch.save(state_dict(snapshot), path)


def _tensors(snapshot: Snapshot) -> Iterator[tuple[str, torch.Tensor]]:
    for name, entry in snapshot.entries.items():
        if entry.role not in _ROLES:
            continue
        dtype = getattr(torch, entry.dtype, None) if entry.dtype.isidentifier() else None
        if not isinstance(dtype, torch.dtype):
            raise UsageError(f"tensor {name!r} is of the type {entry.dtype!r}, which torch {torch.__version__} lacks")
        # torch wants memory that may be written to; the bytes of a file may not.
        data = bytearray(snapshot.read_bytes(name))
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        yield name, flat.reshape(tuple(entry.shape))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file that the command line asks for; return the exit code. Errors are one line on standard error."""
    parser = argparse.ArgumentParser(prog="explorer.inference.export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("step", type=int, help="step of the snapshot")
    parser.add_argument("file", type=Path, help="file to write")
    asked = parser.parse_args(argv)
    try:
        write_state_dict(open_snapshot(asked.run, asked.step), asked.file)
    except (ExplorerError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
