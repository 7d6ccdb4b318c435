"""Which code ran: commit, branch, changes and remote of a git repository. Never raises, prompts or waits for long."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from explorer.recording.redaction import redact_code, redact_text

MAX_DIFF_BYTES = 1_000_000
TIMEOUT_S = 5.0

# No lock on the user's index, no prompt, no download of a partial clone's missing objects.
_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
_SETTINGS = ("core.fsmonitor=false", "core.quotePath=false", "diff.autoRefreshIndex=false")
_COMMAND = ("git", "--no-pager", *(part for setting in _SETTINGS for part in ("-c", setting)))
# Without a refresh of the index, a file with a new time and old content shows as a header and nothing else.
_UNCHANGED = re.compile(rb"^diff --git .*\n(?=diff --git |\Z)", re.MULTILINE)


def describe_git(directory: Path | None = None, timeout_s: float = TIMEOUT_S) -> tuple[dict[str, Any] | None, str]:
    """State of the repository that holds the code, and its uncommitted changes.

    Starts a handful of ``git`` processes, so it belongs into a background thread.

    Args:
        directory: a folder inside the repository; by default the folder of the main script, or else the current one.
        timeout_s: limit for each ``git`` process in seconds.

    Returns:
        ``{"commit", "branch", "dirty", "remote"}`` and the diff of the tracked files against the commit. ``branch`` and
        ``remote`` may be None; ``dirty`` is None when git did not answer in time. The remote carries no user or
        password; the diff is cut at `MAX_DIFF_BYTES`, says so, and holds no text assigned to a secret's name. Without
        git, a repository or a commit: ``(None, "")``.
    """
    for folder in [directory] if directory is not None else _folders_of_code():
        commit = _line(folder, timeout_s, "rev-parse", "--verify", "HEAD")
        if commit is None:
            continue
        diff = _run(folder, timeout_s, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
        diff = None if diff is None else _UNCHANGED.sub(b"", diff)
        remote = _line(folder, timeout_s, "config", "--get", "remote.origin.url")
        state = {
            "commit": commit,
            "branch": _line(folder, timeout_s, "symbolic-ref", "--short", "-q", "HEAD"),
            "dirty": None if diff is None else bool(diff),
            "remote": redact_text(remote) if remote else None,
        }
        return state, _diff_text(diff or b"")
    return None, ""


def _folders_of_code() -> list[Path]:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = [Path(script).parent] if script else []
    with contextlib.suppress(OSError):  # the current folder may be gone
        folders.append(Path.cwd())
    return folders


def _diff_text(diff: bytes) -> str:
    text = redact_code(diff[:MAX_DIFF_BYTES].decode("utf-8", errors="replace"))
    if len(diff) > MAX_DIFF_BYTES:
        text += f"\n[cut here: the diff is larger than {MAX_DIFF_BYTES:,} bytes]\n"
    return text


def _line(folder: Path, timeout_s: float, *arguments: str) -> str | None:
    output = _run(folder, timeout_s, *arguments)
    return output.decode("utf-8", errors="replace").strip() or None if output is not None else None


def _run(folder: Path, timeout_s: float, *arguments: str) -> bytes | None:
    """Output of one ``git`` call, at most one byte more than `MAX_DIFF_BYTES`; None when it failed or was too slow."""
    try:
        process = subprocess.Popen(
            [*_COMMAND, "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # the user's Ctrl-C is not for it, and the whole group can be stopped
        )
    except (OSError, ValueError):
        return None
    assert process.stdout is not None
    too_slow = threading.Event()

    def stop() -> None:
        with contextlib.suppress(OSError):  # it may have ended by itself
            os.killpg(process.pid, signal.SIGKILL)

    def give_up() -> None:
        too_slow.set()
        stop()

    timer = threading.Timer(timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        output = process.stdout.read(MAX_DIFF_BYTES + 1)
        cut = len(output) > MAX_DIFF_BYTES
        if cut:
            stop()
        return output if (process.wait() == 0 or cut) and not too_slow.is_set() else None
    except OSError:
        return None
    finally:
        timer.cancel()
        process.stdout.close()
