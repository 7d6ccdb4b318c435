"""A snapshot as a file to take away: safetensors, or what torch.save writes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

import explorer
from explorer.app.export_menu import file_name
from explorer.app.run_text import bytes_text
from explorer.errors import ExplorerError
from explorer.reading.snapshots import open_snapshot, write_safetensors

if TYPE_CHECKING:
    from explorer.reading.catalogue import RunInfo
    from explorer.reading.snapshots import Snapshot

MAX_DOWNLOAD_BYTES: Final = 1 << 30
_TIMEOUT_S: Final = 300


def downloads(info: RunInfo, label: str, snapshot: Snapshot, key: str) -> None:
    """Draw the two downloads of a snapshot; nothing is made before one of them is pressed."""
    size = sum(entry.num_bytes for entry in snapshot.entries.values())
    path, step = str(info.path), snapshot.step
    stem = f"{file_name(label)}-step-{step}"
    box = st.popover("Download", icon=":material/download:", key=f"take_{key}", on_change="rerun")
    if not box.open:
        return
    with box, st.container(width=480):
        if size <= MAX_DOWNLOAD_BYTES:
            with st.container(horizontal=True):
                st.download_button(
                    "safetensors", lambda: safetensors_bytes(path, step), f"{stem}.safetensors",
                    "application/octet-stream", key=f"safetensors_{key}", on_click="ignore",
                    help="Names, shapes and bytes; read by every framework, and it can hold no code",
                )  # fmt: skip
                st.download_button(
                    "state_dict", lambda: state_dict_bytes(path, step), f"{stem}.pt",
                    "application/octet-stream", key=f"state_dict_{key}", on_click="ignore",
                    help="For torch.load(file, weights_only=True). Made by a process of its own, which loads torch",
                )  # fmt: skip
            st.caption(f"Parameters and buffers, bit for bit, {bytes_text(size)}.")
        else:
            st.caption(
                f"This snapshot has {bytes_text(size)}; the browser gets files up to {bytes_text(MAX_DOWNLOAD_BYTES)}. "
                "These lines write it without the browser:"
            )
        st.code(lines(path, step), language="python")


def lines(path: str, step: int) -> str:
    """Return Python that writes the same file."""
    return (
        "from explorer import open_run\n"
        "from explorer.reading.snapshots import write_safetensors\n\n"
        f"write_safetensors(open_run({path!r}).snapshot({step}), 'step-{step}.safetensors')"
    )


def safetensors_bytes(path: str, step: int) -> bytes:
    """Return a snapshot as a safetensors file."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "snapshot.safetensors"
        write_safetensors(open_snapshot(path, step), target)
        return target.read_bytes()


def state_dict_bytes(path: str, step: int) -> bytes:
    """Return a snapshot as `torch.save` writes it, made by a process of its own so that this one never loads torch.

    Raises:
        ExplorerError: torch is not installed, or the snapshot cannot be read; the message says which.
    """
    package = str(Path(explorer.__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "snapshot.pt"
        command = [sys.executable, "-m", "explorer.inference.export", os.path.abspath(path), str(step), str(target)]
        try:
            # In a folder of ours: what lies in the current one must not be imported in place of a package.
            done = subprocess.run(
                command, cwd=package, capture_output=True, text=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExplorerError(f"the file could not be made: {error}") from error
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise ExplorerError(f"the file could not be made: {said[-1] if said else 'the process ended'}")
        return target.read_bytes()
