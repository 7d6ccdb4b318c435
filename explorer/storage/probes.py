"""Files of probes: what the layers of a model put out for one fixed batch at a step, written as snapshots are.

`probes/<step>/<attempt>-<rank>.parquet`, whose tensors have the role `activation`. The tensor `probe:sha256`
(uint8[32]) is the SHA-256 of the batch: only activations of equal probes may be compared.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

PROBES: Final = "probes"
HASH_OF_PROBE: Final = "probe:sha256"
ROLE: Final = "activation"
_STEP: Final = re.compile(r"\d{12,19}", re.ASCII)
_FILE: Final = re.compile(r"(\d{4})-(\d{5})\.parquet", re.ASCII)


class ProbeFile(NamedTuple):
    """One file of a probe as it was listed."""

    step: int
    attempt: int
    rank: int
    path: Path


def probe_path(run_dir: Path, step: int, attempt: int, rank: int) -> Path:
    """Return where the probe of a step is; `step` is at least 0."""
    return run_dir / PROBES / f"{step:012d}" / f"{attempt:04d}-{rank:05d}.parquet"


def list_probe_files(run_dir: str | Path) -> list[ProbeFile]:
    """Return the files of all probes, by step, attempt and rank; [] when there are none.

    Foreign names, links and what is no regular file are left out.
    """
    found: list[ProbeFile] = []
    try:
        with os.scandir(Path(run_dir) / PROBES) as folders:
            steps = [one for one in folders if _STEP.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]
        for folder in steps:
            with os.scandir(folder.path) as files:
                for file in files:
                    named = _FILE.fullmatch(file.name)
                    if named and file.is_file(follow_symlinks=False):
                        found.append(ProbeFile(int(folder.name), int(named[1]), int(named[2]), Path(file.path)))
    except (FileNotFoundError, NotADirectoryError):
        return sorted(found)
    return sorted(found)
