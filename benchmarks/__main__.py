"""`python -m benchmarks`: measure everything, print the table, and keep it in README.md with `--write`."""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks import machine, report
from benchmarks.report import Row
from benchmarks.trials import Place

SECTIONS = {
    "logging": ("Recording", "logging_cost"),
    "startup": ("Starting", "startup_cost"),
    "training": ("In a training loop", "training_overhead"),
    "kills": ("Killed", "kills"),
    "one_run": ("Reading one long run", "reading_one_run"),
    "many_runs": ("Reading many runs", "reading_many_runs"),
    "app": ("The app", "app_cost"),
}
README = Path(__file__).parent / "README.md"


def main() -> None:
    """See the module."""
    options = _options()
    place = Place(options.work.resolve(), options.peers.resolve(), not options.full)
    place.work.mkdir(parents=True, exist_ok=True)
    before = machine.describe()
    parts = []
    for name in options.only or SECTIONS:
        title, module = SECTIONS[name]
        began = time.perf_counter()
        rows: list[Row] = importlib.import_module(f"benchmarks.{module}").measure(place)
        parts.append(f"### {title}\n\n{report.table(rows)}")
        print(f"\n{parts[-1]}\n\n({name}: {time.perf_counter() - began:.0f} s)", flush=True)
    text = "\n\n".join([_facts(place, before, quick=not options.full), *parts])
    if place.problems:
        text += "\n\nFailed while measuring:\n\n" + "\n".join(f"- {problem}" for problem in place.problems)
        print("\n".join(place.problems))
    if options.write:
        report.write_into(README, text)
        print(f"\nkept in {README}")


def _facts(place: Place, before: str, *, quick: bool) -> str:
    names = ("torch", "pyarrow", "numpy", "streamlit", "pandas")
    versions = [f"{name} {version(name)}" for name in names] + sorted(set(place.versions.values()) - {"-"})
    size = "quick sizes" if quick else "full sizes"
    return (
        f"{date.today().isoformat()}, {size}. {before}.  \n{', '.join(versions)}.  \n"
        "Medians, with the range of the repeats in brackets. Ratios are medians of the ratios within each repeat."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    here = Path(tempfile.gettempdir())
    parser.add_argument("--full", action="store_true", help="the sizes of the targets; otherwise about three minutes")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some sections")
    parser.add_argument("--write", action="store_true", help="keep the table in benchmarks/README.md")
    parser.add_argument(
        "--work", type=Path, default=here / "explorer-benchmarks", help="scratch folder on a local disk; full: 2 GB"
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=here / "explorer-peers",
        help="environments made by `python -m benchmarks.setup_peers`",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
