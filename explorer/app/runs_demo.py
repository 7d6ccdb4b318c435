"""The demo, recorded from the app: a process of its own, watched through the lines it prints."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Final, Literal, NamedTuple

import streamlit as st

import explorer

_PERCENT: Final = re.compile(r"^\s*(\d{1,3})%\s+(.*)$")
_KEPT_LINES: Final = 12

Phase = Literal["idle", "running", "done", "failed", "stopped"]


class Progress(NamedTuple):
    """How far the demo is: `share` is 0 to 1, `what` the last step it told, `lines` the last lines it printed."""

    phase: Phase
    share: float
    what: str
    lines: list[str]


class DemoJob:
    """The demo of one root: at most one process at a time, for all sessions."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._share = 0.0
        self._what = ""
        self._stopped = False

    def start(self, command: list[str] | None = None) -> None:
        """Begin recording; nothing happens while a recording is going on."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self._lines.clear()
            self._share, self._what, self._stopped = 0.0, "loading PyTorch and scikit-learn", False
            self._process = subprocess.Popen(
                command or _command(self._root),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=_environment(),
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            threading.Thread(target=self._follow, args=(self._process,), name="demo-lines", daemon=True).start()
            atexit.register(_end, self._process)

    def stop(self) -> None:
        """End the recording; what was recorded stays."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._stopped = True
                self._process.terminate()

    def forget(self) -> None:
        """Take the outcome of the last recording away."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._process = None

    def progress(self) -> Progress:
        """Return how far the demo is."""
        with self._lock:
            return Progress(self._phase(), self._share, self._what, list(self._lines))

    def _phase(self) -> Phase:
        if self._process is None:
            return "idle"
        code = self._process.poll()
        if code is None:
            return "running"
        return "stopped" if self._stopped else "done" if code == 0 else "failed"

    def _follow(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        for line in process.stdout:
            found = _PERCENT.match(line)
            with self._lock:
                if found:
                    self._share, self._what = min(int(found[1]), 100) / 100, found[2].strip()
                elif line.strip():
                    self._lines.append(line.rstrip())
        process.wait()


@st.cache_resource(show_spinner=False, max_entries=8)
def demo_job(root: str) -> DemoJob:
    """Return the demo of `root`, one for all sessions."""
    return DemoJob(root)


def _command(root: str) -> list[str]:
    return [sys.executable, "-m", "explorer", "demo", "--no-app", "--root", os.path.abspath(root)]


def _environment() -> dict[str, str]:
    package = str(Path(explorer.__file__).resolve().parents[1])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
