"""A Streamlit server and a browser's side of its websocket, without a browser: what is sent can be counted."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.VegaLiteChart_pb2 import VegaLiteChart
from websockets.sync.client import ClientConnection, connect

from benchmarks.trials import REPOSITORY, environment

START_LIMIT_S = 90.0
RUN_LIMIT_S = 300.0


@dataclass
class Chart:
    """One chart as it was sent: its data sets, and what they weigh with the specification."""

    tables: dict[str, pa.Table]
    num_bytes: int
    cpu_s: float

    @property
    def num_rows(self) -> int:
        """Rows of all its data sets."""
        return sum(table.num_rows for table in self.tables.values())


@dataclass
class Drawn:
    """What one run of the script sent."""

    charts: list[Chart] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    num_bytes: int = 0
    cpu_s: float = 0.0


@contextmanager
def server(script: Path, *arguments: str) -> Iterator[tuple[int, int]]:
    """A server on this machine; yields (pid, port) when it answers, and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--server.port={port}", "--server.headless=true"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options, "--", *arguments]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment(), stdout=quiet, stderr=quiet) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield process.pid, port
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    while time.monotonic() - began < START_LIMIT_S:
        if process.poll() is not None:
            raise RuntimeError("the server ended while it started")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"no server after {START_LIMIT_S:.0f} s")


@contextmanager
def session(port: int) -> Iterator[ClientConnection]:
    """A browser's connection."""
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    with connect(address, max_size=None, open_timeout=30, compression=None) as connection:
        yield connection


def run_script(connection: ClientConnection, page: str, query: str, cpu_s: object) -> Drawn:
    """Ask for a page and take everything until its script has finished. `cpu_s()` is read when a chart arrives."""
    message = BackMsg()
    message.rerun_script.CopyFrom(ClientState(query_string=query, page_name=page))
    connection.send(message.SerializeToString())
    drawn, began = Drawn(), time.monotonic()
    while time.monotonic() - began < RUN_LIMIT_S:
        data = connection.recv(RUN_LIMIT_S)
        answer = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
        drawn.num_bytes += len(data)
        kind = answer.WhichOneof("type")
        if kind == "delta" and answer.delta.WhichOneof("type") == "new_element":
            element = answer.delta.new_element
            if element.WhichOneof("type") == "vega_lite_chart":
                drawn.charts.append(_chart(element.vega_lite_chart, cpu_s()))  # type: ignore[operator]
            elif element.WhichOneof("type") == "exception":
                drawn.errors.append(element.exception.message)
        elif kind == "script_finished":
            drawn.cpu_s = cpu_s()  # type: ignore[operator]
            return drawn
    raise RuntimeError(f"the page was not drawn in {RUN_LIMIT_S:.0f} s")


def _chart(message: VegaLiteChart, cpu_s: float) -> Chart:
    parts = {part.name: part.data.data for part in message.datasets}
    if message.data.data:
        parts[""] = message.data.data
    tables = {name: pa.ipc.open_stream(data).read_all() for name, data in parts.items()}
    return Chart(tables, len(message.SerializeToString()), cpu_s)
