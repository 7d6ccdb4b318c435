"""The command line: `python -m explorer demo | list | verify | app`.

Exit codes: 0 done, 1 `verify` found damage, 2 could not be done (the reason is one line on the error stream).
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import explorer
from explorer.errors import ExplorerError, RunNotFound, UsageError
from explorer.inference.factory import Factory
from explorer.reading.catalogue import Catalogue
from explorer.reading.info import RunInfo
from explorer.storage.records import encode_number
from explorer.storage.verify import verify_run

_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after ``python -m explorer``; by default those of the process.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        code = command(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `list | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ExplorerError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)  # below the bar of the demo
        return 130


def printable(text: str) -> str:
    r"""Text from a file, safe to print in a terminal: control characters and changes of direction become one mark.

    Example:
        >>> printable("red \x1b[31m name\n")
        'red \ufffd[31m name\ufffd'
    """
    return "".join(char if char.isprintable() and char not in _BIDI else "\ufffd" for char in text)


def app_command(
    root: str | Path, port: int | None = None, headless: bool = False, more: Sequence[str] = ()
) -> list[str]:
    """The command that serves the app on ``root``, on this machine only; ``more`` are options of the app's own.

    The app's script and its settings are at the root of a clone and in a folder of their own in an installed package.

    Raises:
        UsageError: Streamlit is not installed, or the script is not where it should be.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise UsageError("the app needs Streamlit: pip install 'experiment-explorer[app]'")
    package = Path(explorer.__file__).resolve().parent
    scripts = [package.parent / "streamlit_app.py", package / "app" / "launch" / "streamlit_app.py"]
    script = next((path for path in scripts if (path.parent / ".streamlit" / "config.toml").is_file()), None)
    if script is None:
        raise UsageError(f"no streamlit_app.py with its .streamlit/config.toml at {scripts[0]} or {scripts[1]}")
    # -P keeps the current folder out of sys.path: a folder of runs may hold a torch.py.
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(script), "--server.showEmailPrompt=false"]
    command += [f"--server.port={port}"] if port is not None else []
    command += ["--server.headless=true"] if headless else []
    return [*command, "--", "--root", os.path.abspath(root), *more]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m explorer", description="Record PyTorch trainings and look inside them: plain files, local app."
    )
    parser.add_argument("--version", action="version", version=f"experiment-explorer {explorer.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="train twelve small models (about a minute) and open the app on them",
        description="Train eleven small networks on scikit-learn's digits and a transformer on Python's help pages, "
        "record them, and open the app on the runs.",
    )
    demo.add_argument("--no-app", action="store_true", help="record only")
    demo.add_argument("--quick", action="store_true", help="a few steps of each training, for a first look in seconds")
    demo.set_defaults(command=_demo)

    lister = commands.add_parser("list", help="list the runs of a folder", description="List runs, newest first.")
    lister.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="also show its last value; may be repeated"
    )
    lister.add_argument("--json", action="store_true", help="one JSON object per line instead of a table")
    lister.set_defaults(command=_list)

    verify = commands.add_parser(
        "verify",
        help="read every byte of the runs and name what is damaged",
        description="Check every checksum, schema and gap. Exit code 1 when something is wrong.",
    )
    verify.add_argument(
        "runs", nargs="*", metavar="RUN", help="run ids or run folders; all runs of the root by default"
    )
    verify.set_defaults(command=_verify)

    app = commands.add_parser(
        "app", help="open the app", description="Serve the app on this machine only, and open it in the browser."
    )
    app.add_argument(
        "--factory",
        metavar="MODULE:FUNCTION",
        help="run models by your own code too: a function that returns a torch.nn.Module, or (module, example inputs). "
        "It is imported from here or from what is installed, and RUNS YOUR CODE; see README",
    )
    app.add_argument(
        "--time-limit", type=_positive, metavar="SECONDS", help="of one answer of a model on the page Inference (60)"
    )
    app.add_argument(
        "--memory-limit",
        type=_positive,
        metavar="GIB",
        help="of the process that runs models on the CPU (half of the machine's memory, at most 8)",
    )
    app.set_defaults(command=_app)
    for served in (demo, app):
        served.add_argument("--port", type=int, help="port of the app (default: 8501, or the next free one)")
        served.add_argument("--no-browser", action="store_true", help="print the address, open no browser")

    for each in (demo, lister, verify, app):
        each.add_argument(
            "--root",
            default=os.environ.get("EXPLORER_ROOT") or "logs",
            metavar="FOLDER",
            help="folder of runs (default: $EXPLORER_ROOT, or logs)",
        )
    return parser


def _demo(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("sklearn") is None:
        raise UsageError("the demo needs scikit-learn: pip install 'experiment-explorer[demo]'")
    # Torch takes a second to import and the other commands need none of it.
    from explorer.demo import record_demo

    if not options.no_app:
        app_command(options.root)  # say what is missing before a minute of training, not after it
    record_demo(options.root, quick=options.quick)
    return 0 if options.no_app else _app(options)


def _list(options: argparse.Namespace) -> int:
    runs = _runs(options.root)
    if options.json:
        for run in runs:
            print(json.dumps({**_row(run, options.metric), "problems": run.problems}))
        return 0
    if not runs:
        print(f"no runs in {printable(str(options.root))}; record some: python -m explorer demo")
        return 0
    rows = [_row(run, options.metric) for run in runs]
    print(_table([list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]))
    for run in runs:
        for problem in run.problems:
            print(f"damaged: {printable(run.run_id)}: {printable(problem)}", file=sys.stderr)
    return 0


def _verify(options: argparse.Namespace) -> int:
    runs = _runs(options.root) if not options.runs else []
    folders = [_find_run(options.root, run) for run in options.runs] or [Path(run.path) for run in runs]
    num_damaged = 0
    for folder in folders:
        findings = verify_run(folder)
        num_damaged += bool(findings)
        print(f"{'damaged' if findings else 'ok':8}{printable(folder.name)}", flush=True)
        for finding in findings:
            print(f"        {printable(os.path.relpath(finding.path, folder))}: {printable(finding.reason)}")
    whole = f"{len(folders)} run{'' if len(folders) == 1 else 's'} checked"
    print(f"{whole}, {num_damaged} damaged" if num_damaged else f"{whole}, all whole")
    return 1 if num_damaged else 0


def _app(options: argparse.Namespace) -> NoReturn:
    command = app_command(options.root, options.port, options.no_browser, _own_options(options))
    sys.stdout.flush()
    # The server takes this process's place: Ctrl-C is the server's, and what a demo imported is let go.
    os.execv(command[0], command)


def _own_options(options: argparse.Namespace) -> list[str]:
    """What the command says of running models, as options of the app; the demo has none of them."""
    given = vars(options)
    found = []
    if given.get("factory") is not None:
        factory = Factory(options.factory, os.getcwd())
        found += ["--factory", factory.name, "--factory-folder", factory.folder]
    for name in ("time_limit", "memory_limit"):
        if given.get(name) is not None:
            found += [f"--{name.replace('_', '-')}", str(given[name])]
    return found


def _positive(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"should be from 0.1 to 86400; found {text}")
    return value


def _runs(root: str) -> list[RunInfo]:
    """All runs of ``root``, newest first."""
    return sorted(Catalogue(root).refresh(), key=lambda run: run.created, reverse=True)


def _find_run(root: str, run: str) -> Path:
    folder = Path(run)
    if folder.is_dir() and (folder / "run.json").is_file():
        return folder
    for info in _runs(root):
        if run == info.run_id:
            return Path(info.path)
    raise RunNotFound(f"no run {run!r}: neither a run folder nor an id in {root}; python -m explorer list shows them")


def _row(run: RunInfo, metrics: Sequence[str]) -> dict[str, object]:
    row: dict[str, object] = {
        "run": run.run_id,
        "name": run.name,
        "state": run.state,
        "created": run.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "duration_s": run.duration_s,
        "last_step": run.last_step,
        "rows": run.rows,
    }
    for name in metrics:
        row[name] = encode_number(run.metrics[name].last) if name in run.metrics else None
    return row


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell, two spaces apart."""
    safe = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*safe, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in safe)
    return "\n".join(line.rstrip() for line in lines)
