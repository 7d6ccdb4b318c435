"""`python -m benchmarks.setup_peers`: a virtual environment for each peer, because their requirements conflict."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

# torch comes first and alone: another order can choose a CUDA build.
NEEDS = {
    "tensorboard": (["torch==2.13.0"], ["tensorboard==2.21.0", "google-crc32c", "setuptools"]),
    "trackio": ([], ["trackio==0.43.0"]),
    "wandb": (["torch==2.13.0"], ["wandb==0.31.0"]),
    "lightning": (["torch==2.13.0"], ["pytorch-lightning==2.6.6"]),
}


def main() -> None:
    """Make what is missing; packages that are there already are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.setup_peers", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NEEDS, []], help="some of them; all by default")
    parser.add_argument("--into", type=Path, default=Path(tempfile.gettempdir()) / "explorer-peers")
    options = parser.parse_args()
    for name in options.names or NEEDS:
        folder = options.into / name
        if not (folder / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        first, then = NEEDS[name]
        for packages in (first, [*then, "numpy", "psutil"]):
            if packages:
                command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages]
                subprocess.run(command, check=True)
        print(f"{name}: {folder}")


if __name__ == "__main__":
    main()
