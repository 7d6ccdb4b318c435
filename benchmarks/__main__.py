"""`python -m benchmarks`: measure everything, print the tables, and keep them in README.md with `--write`."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
import traceback
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks import machine, report
from benchmarks.loggers import PEERS
from benchmarks.report import Row
from benchmarks.trials import Place

# Name on the command line -> (title, module with `measure(place) -> list[Row]`, packages whose versions matter).
SECTIONS = {
    "logging": ("Recording", "logging_cost", ("pyarrow", "numpy")),
    "startup": ("Starting", "startup_cost", ("torch", "pyarrow", "numpy")),
    "training": ("In a training loop", "training_overhead", ("torch", "pyarrow", "numpy")),
    "snapshots": ("Saving parameters", "snapshots_cost", ("torch", "pyarrow", "numpy")),
    "watching": ("Inside the model", "watching_cost", ("torch", "pyarrow", "numpy")),
    "kills": ("Killed", "kills", ("pyarrow", "numpy")),
    "one_run": ("Reading one long run", "reading_one_run", ("pyarrow", "numpy")),
    "many_runs": ("Reading many runs", "reading_many_runs", ("pyarrow", "numpy")),
    "drift": ("Drift", "drift_cost", ("numpy", "scipy")),
    "programs": ("Programs", "programs_cost", ("torch", "numpy")),
    "inference": ("Inference", "inference_cost", ("torch", "streamlit", "numpy")),
    "app": ("The app", "app_cost", ("streamlit", "pyarrow", "numpy")),
}
README = Path(__file__).parent / "README.md"


def main() -> int:
    """Return 1 when a section could not be measured, 0 otherwise; targets that are missed are no failure."""
    options = _options()
    place = Place(options.work.resolve(), options.peers.resolve(), not options.full)
    place.work.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in options.only or SECTIONS:
        title, module, packages = SECTIONS[name]
        before, began = machine.describe(), time.perf_counter()
        place.problems.clear()
        place.versions.clear()
        try:
            rows: list[Row] = importlib.import_module(f"benchmarks.{module}").measure(place)
        except Exception:
            traceback.print_exc()
            print("\n".join(place.problems), file=sys.stderr)
            failed = True
            continue
        text = f"### {title}\n\n{_facts(place, before, packages)}\n\n{report.table(rows)}"
        if place.problems:
            text += "\n\nWent wrong meanwhile:\n" + "".join(f"\n- {problem}" for problem in place.problems)
        print(f"\n{text}\n\n({name}: {time.perf_counter() - began:.0f} s)", flush=True)
        if options.write:
            report.write_into(README, name, text)
    return int(failed)


def _facts(place: Place, before: str, packages: tuple[str, ...]) -> str:
    peers = sorted({place.versions[name] for name in (*PEERS, "wandb") if name in place.versions})
    versions = ", ".join([*(f"{name} {version(name)}" for name in packages), *peers])
    return f"{date.today().isoformat()}, {'quick' if place.quick else 'full'} sizes; {before}; {versions}."


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    here = Path(tempfile.gettempdir())
    parser.add_argument("--full", action="store_true", help="the sizes of the targets; otherwise a few minutes")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some sections")
    parser.add_argument("--write", action="store_true", help="keep the tables in benchmarks/README.md")
    work, peers = here / "explorer-benchmarks", here / "explorer-peers"
    parser.add_argument("--work", type=Path, default=work, help=f"scratch folder on a local disk, 3 GB; {work}")
    parser.add_argument("--peers", type=Path, default=peers, help=f"where setup_peers put them; {peers}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
